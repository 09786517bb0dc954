"""What the steps share: the course's folder, and lines of the program contract.

No step calls a model; what each would have cost is computed from the length of its text.
"""

import json
import pathlib

INPUT_USD_PER_TOKEN = 3 / 1_000_000
OUTPUT_USD_PER_TOKEN = 15 / 1_000_000


def course_folder(out: str, course_id: str) -> pathlib.Path:
    folder = pathlib.Path(out) / course_id
    if not (folder / "course.json").is_file():
        raise SystemExit(f"no course {course_id} in {out}: run the seed step first")
    return folder


def read(path: pathlib.Path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: pathlib.Path, text: str) -> None:
    """Whole or not at all, so that a killed step leaves no half of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def say(kind: str, **fields) -> None:
    print(json.dumps({"type": kind, **fields}), flush=True)


def say_usage(prompt: str, answer: str) -> None:
    input_tokens, output_tokens = len(prompt) // 4 + 1, len(answer) // 4 + 1
    cost = input_tokens * INPUT_USD_PER_TOKEN + output_tokens * OUTPUT_USD_PER_TOKEN
    say(
        "usage",
        model="none",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=round(cost, 6),
    )
