"""An episode's folder: its id, its four files, and that no reader ever sees half of one.

Owns names and formats on disk. A new file of one stage removes the files of later stages, for
they were made from what is gone. Knows neither graph nor prices.
"""

import json
import os
import re
import tempfile
from pathlib import Path

from .stages import ORDER

FILES = {"research": "research.json", "script": "script.md", "audio": "episode.wav"}
METADATA = "metadata.json"
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class EpisodeError(Exception):
    """What a stage needs is not there or cannot be read."""


def checked_id(text: str) -> str:
    """`text` if it is a safe name for a folder.

    Raises `ValueError` otherwise: slashes, dots, blanks, emptiness, more than 64 characters.
    """
    if not ID_PATTERN.fullmatch(text):
        raise ValueError(
            f"invalid episode id {text!r}: use 1 to 64 letters, digits, `_` and `-`, "
            "beginning with a letter or a digit"
        )
    return text


class Episode:
    """The folder `ROOT/<episode id>`; made at the first write."""

    def __init__(self, root: Path, episode_id: str) -> None:
        self.folder = root / checked_id(episode_id)

    def path(self, name: str) -> Path:
        """Where the file of that name is."""
        return self.folder / name

    def keep(self, stage: str, content: bytes) -> None:
        """Writes a stage's file whole, and removes the files of the stages after it."""
        self._write(FILES[stage], content)
        for later in ORDER[ORDER.index(stage) + 1 :]:
            self.path(FILES[later]).unlink(missing_ok=True)

    def keep_metadata(self, metadata: dict) -> None:
        """Writes `metadata.json` whole."""
        self._write(METADATA, json_bytes(metadata))

    def research(self) -> dict:
        """The finished research: `topic`, `synthesis`, `sources`."""
        document = self._read_json("research", FILES["research"])
        wanted = {"topic": str, "synthesis": dict, "sources": list}
        for key, kind in wanted.items():
            if not isinstance(document.get(key), kind):
                raise EpisodeError(f"`{self.path(FILES['research'])}` has no valid `{key}`")
        return document

    def segments(self) -> list[dict]:
        """The script as it stands in `script.md`, also if a person has edited it."""
        text = self._read("script", FILES["script"])
        parts = re.split(r"^## +(.+)$", text, flags=re.MULTILINE)[1:]
        pairs = zip(parts[::2], parts[1::2], strict=True)
        segments = [{"title": title.strip(), "text": body.strip()} for title, body in pairs]
        if not any(segment["text"] for segment in segments):
            raise EpisodeError(f"`{self.path(FILES['script'])}` has no segments (`## Title`)")
        return segments

    def stages(self) -> dict:
        """Cost and quality of the stages made so far; empty if nothing is known."""
        try:
            stages = json.loads(self.path(METADATA).read_text(encoding="utf-8"))["stages"]
            return {name: stages[name] for name in ORDER if name in stages}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _read(self, stage: str, name: str) -> str:
        try:
            return self.path(name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise EpisodeError(f"no `{self.path(name)}`: run the {stage} stage first") from None
        except (OSError, ValueError) as error:
            raise EpisodeError(f"cannot read `{self.path(name)}`: {error}") from error

    def _read_json(self, stage: str, name: str) -> dict:
        text = self._read(stage, name)
        try:
            document = json.loads(text)
        except ValueError as error:
            raise EpisodeError(f"`{self.path(name)}` is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise EpisodeError(f"`{self.path(name)}` is not a JSON object")
        return document

    def _write(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path(name))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def json_bytes(document: dict) -> bytes:
    """Readable JSON with a final newline."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def markdown(topic: str, segments: list[dict]) -> bytes:
    """The script as a page: the topic, then one section per segment."""
    sections = [f"## {segment['title']}\n\n{segment['text']}\n" for segment in segments]
    return (f"# {topic}\n\n" + "\n".join(sections)).encode()
