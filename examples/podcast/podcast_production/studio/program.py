"""The command line both programs share: arguments, signals, what goes to stdout, the exit code.

stdout carries data: with `--output-format json` NDJSON progress, a line at a time, and as its
last line the result; else text for a person. stderr carries what went wrong. Exit codes:
0 completed, 1 failed, 2 wrong usage, 130 interrupted (143 by SIGTERM).
"""

import argparse
import json
import math
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from .episode import FILES, METADATA, Episode, EpisodeError, checked_id
from .graph import Desk, Interrupted, State, build, spent
from .stages import ORDER

PROGRAM_FOLDER = Path(__file__).resolve().parent.parent
TOPIC_CHARS_MAX = 300


def parser(description: str, budget: float) -> argparse.ArgumentParser:
    """The options that every entry point has."""
    options = argparse.ArgumentParser(description=description, allow_abbrev=False)
    options.add_argument("--topic", type=_topic, help="the question the episode answers")
    options.add_argument("--episode-id", type=_episode_id, required=True, help="names the folder")
    options.add_argument(
        "--budget",
        type=_number(0, math.inf),
        default=budget,
        metavar="USD",
        help="stop before a stage that does not fit; default %(default)s",
    )
    options.add_argument("--output-format", choices=("text", "json"), default="text")
    options.add_argument(
        "--output-dir",
        type=Path,
        default=PROGRAM_FOLDER / "episodes",
        help="where episode folders go; default: episodes/ beside the program",
    )
    return options


def quality(options: argparse.ArgumentParser) -> None:
    """Adds `--quality-threshold`."""
    options.add_argument(
        "--quality-threshold",
        type=_number(0, 10),
        default=8.0,
        metavar="0..10",
        help="the least quality that counts as success; default %(default)s",
    )


@dataclass
class Order:
    """What to produce: `names` are the stages to run; no `threshold` means any quality will do."""

    episode_id: str
    topic: str | None
    names: list[str]
    budget: float
    threshold: float | None = None
    single: bool = False


@dataclass
class Printer:
    """Writes a line at a time; a reader that has gone away does not stop the work."""

    as_json: bool
    gone: bool = field(default=False)

    def event(self, event: dict) -> None:
        """An NDJSON line, or the few events a person wants to see."""
        if self.as_json:
            self.line(json.dumps(event, ensure_ascii=False))
        elif event["type"] == "start":
            self.line(f"Episode {event['episode_id']}: {', '.join(event['stages'])}")
        elif event["type"] == "usage":
            self.line(f"{event['stage']} done, ${event['cost_usd']:.2f}")

    def result(self, result: dict) -> None:
        """The result, in the form that was asked for."""
        if self.as_json:
            self.event({"type": "result", **result})
        else:
            self.line(human(result))

    def line(self, text: str) -> None:
        """Writes and flushes."""
        if self.gone:
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            self.gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def produce(order: Order, output_dir: Path, output_format: str) -> int:
    """Runs the graph, prints progress and result, and returns the exit code."""
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    began = time.monotonic()
    printer = Printer(output_format == "json")
    desk = Desk(Episode(output_dir, order.episode_id), order.budget, _stage_seconds())
    signals = _catch_signals(desk)
    state: State = {"stages": {}}
    if order.topic:
        state["topic"] = order.topic
    printer.event({"type": "start", "episode_id": order.episode_id, "stages": order.names})
    try:
        state = _prepared(desk.episode, order, state)
        for mode, chunk in build(desk, order.names).stream(
            state, stream_mode=["custom", "values"]
        ):
            if mode == "custom":
                printer.event(chunk)
            else:
                state = chunk
        error = state.get("error")
    except Interrupted:
        error = "interrupted"
    except (EpisodeError, OSError) as failure:
        error = str(failure)
    except Exception as failure:  # noqa: BLE001 - whatever it is, the caller gets a result
        traceback.print_exc()
        error = f"{type(failure).__name__}: {failure}"
    result = _result(order, desk, state, error, time.monotonic() - began)
    if result["error"]:
        print(result["error"], file=sys.stderr, flush=True)
    printer.result(result)
    if error == "interrupted":
        return 128 + signals[0]
    return 0 if result["status"] == "success" else 1


def human(result: dict) -> str:
    """The result for a person; files and error only where there are any."""
    lines = [
        f"✅ **Execution Status**: {result['status']}",
        f"💰 **Total Cost**: ${result['total_cost']:.2f}",
        f"⏱️ **Duration**: {result['duration']:.1f}s",
        f"📊 **Quality Score**: {result['overall_quality']:.1f}/10",
    ]
    if result["output_files"]:
        lines.append(f"📁 **Output Files**: {', '.join(result['output_files'])}")
    if result["error"]:
        lines.append(f"❌ **Error**: {result['error']}")
    return "\n".join(lines)


def _prepared(episode: Episode, order: Order, state: State) -> State:
    """The state to start from; a single stage takes what the episode has."""
    if not order.single:
        return state
    found = episode.research()
    if order.topic and order.topic != found["topic"]:
        raise EpisodeError(
            f"episode {order.episode_id} is about {found['topic']!r}, not {order.topic!r}"
        )
    taken = {key: found[key] for key in ("topic", "synthesis", "sources")}
    return {**state, **taken}


def _result(order: Order, desk: Desk, state: State, error: str | None, seconds: float) -> dict:
    """Judges the quality, keeps `metadata.json`, and gives the program's result."""
    stages = state.get("stages", {})
    scores = [stage["quality"] for stage in stages.values()]
    overall = round(sum(scores) / len(scores), 2) if scores else 0.0
    if not error and order.threshold is not None and overall < order.threshold:
        error = f"quality {overall:g} is below the threshold {order.threshold:g}"
    result = {
        "status": "error" if error else "success",
        "episode_id": order.episode_id,
        "topic": state.get("topic"),
        "total_cost": spent(stages),
        "overall_quality": overall,
        "output_files": [],
        "duration": round(seconds, 3),
        "research_synthesis": state.get("synthesis", {}),
        "sources": state.get("sources", []),
        "stages": stages,
        "error": error,
    }
    if stages:
        first = ORDER.index(order.names[0])
        earlier = {k: v for k, v in desk.episode.stages().items() if ORDER.index(k) < first}
        kept = ("status", "episode_id", "topic", "total_cost", "overall_quality", "error")
        metadata = {key: result[key] for key in kept}
        metadata |= {"budget": order.budget, "quality_threshold": order.threshold}
        try:
            desk.episode.keep_metadata({**metadata, "stages": {**earlier, **stages}})
        except OSError as failure:
            return {**result, "status": "error", "error": error or str(failure)}
        names = [FILES[name] for name in stages] + [METADATA]
        result["output_files"] = [os.path.relpath(desk.episode.path(name)) for name in names]
    return result


def _catch_signals(desk: Desk) -> list[int]:
    """The first SIGINT or SIGTERM stops between two steps, the second one at once."""
    caught: list[int] = []

    def handle(number: int, _frame: object) -> None:
        caught.append(number)
        desk.stop.set()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, handle)
    return caught


def _stage_seconds() -> float:
    """`PODCAST_STAGE_SECONDS`, what every stage takes longer; 0 if unset or no such number."""
    try:
        seconds = float(os.environ.get("PODCAST_STAGE_SECONDS") or 0)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds <= 86_400 else 0.0


def _topic(text: str) -> str:
    topic = text.strip()
    if not 1 <= len(topic) <= TOPIC_CHARS_MAX or not topic.isprintable():
        raise argparse.ArgumentTypeError(
            f"a topic is 1 to {TOPIC_CHARS_MAX} printable characters on one line"
        )
    return topic


def _episode_id(text: str) -> str:
    try:
        return checked_id(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(low: float, high: float):
    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    return number
