"""The LangGraph graph: research → script → audio, one node a stage, each priced and kept.

A node announces its progress through LangGraph's stream writer, stops between two steps when it
is told to, and keeps its file only if the budget bears its price. An `error` in the state leads
to the end; what was finished before stays. Knows no command line and no stdout.
"""

import os
import threading
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

# The program computes alone: no tracing service is contacted, whatever the environment says.
for _name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2"):
    os.environ[_name] = "false"

from langgraph.config import get_stream_writer  # noqa: E402
from langgraph.graph import END, START, StateGraph  # noqa: E402

from .episode import Episode, EpisodeError, json_bytes, markdown  # noqa: E402
from .sound import audio  # noqa: E402
from .stages import Product, research, script  # noqa: E402

MODEL = "studio-compute"


class Interrupted(Exception):
    """A signal asked the program to stop."""


class State(TypedDict, total=False):
    """What flows through the graph; `error` ends it."""

    topic: str
    synthesis: dict
    sources: list
    segments: list
    stages: Annotated[dict, lambda old, new: {**old, **new}]
    error: str


@dataclass
class Desk:
    """What the nodes share: the folder, the money, and the wish to stop."""

    episode: Episode
    budget: float
    stage_seconds: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def pause(self, total: int) -> None:
        """Waits out one of `total` steps of a stage. Raises `Interrupted` when told to stop."""
        if self.stop.wait(self.stage_seconds / total) or self.stop.is_set():
            raise Interrupted


def build(desk: Desk, names: list[str]):
    """Compiles the graph of the stages `names`, in this order."""
    graph = StateGraph(State)
    for name in names:
        graph.add_node(f"{name}_stage", _node(desk, name))
    graph.add_edge(START, f"{names[0]}_stage")
    for name, following in zip(names, [*names[1:], None], strict=True):
        target = f"{following}_stage" if following else END
        graph.add_conditional_edges(
            f"{name}_stage",
            lambda state, target=target: END if state.get("error") else target,
            [END] if target is END else [END, target],
        )
    return graph.compile()


def _node(desk: Desk, name: str):
    stage = {"research": _research, "script": _script, "audio": _audio}[name]

    def node(state: State) -> State:
        write = get_stream_writer()

        def tick(done: int, total: int) -> None:
            desk.pause(total)
            write({"type": "progress", "stage": name, "done": done, "total": total})

        try:
            product, content, update = stage(desk, state, tick)
        except EpisodeError as error:
            return {"error": str(error)}
        left = round(desk.budget - spent(state.get("stages", {})), 4)
        if product.cost > left:
            return {
                "error": f"budget exceeded: the {name} stage costs ${product.cost:.2f}, "
                f"${left:.2f} of ${desk.budget:.2f} is left"
            }
        desk.episode.keep(name, content)
        write(
            {
                "type": "usage",
                "stage": name,
                "model": MODEL,
                "input_tokens": product.input_tokens,
                "output_tokens": product.output_tokens,
                "cost_usd": product.cost,
            }
        )
        return {**update, "stages": {name: {"cost": product.cost, "quality": product.quality}}}

    return node


def _research(desk: Desk, state: State, tick) -> tuple[Product, bytes, State]:
    product = research(state["topic"], tick)
    content = json_bytes({"topic": state["topic"], **product.document})
    return product, content, product.document


def _script(desk: Desk, state: State, tick) -> tuple[Product, bytes, State]:
    product = script(state["topic"], state["synthesis"], tick)
    segments = product.document["segments"]
    return product, markdown(state["topic"], segments), {"segments": segments}


def _audio(desk: Desk, state: State, tick) -> tuple[Product, bytes, State]:
    product, content = audio(desk.episode.segments(), tick)
    return product, content, {}


def spent(stages: dict) -> float:
    """What the stages have cost, in US dollars."""
    return round(sum(stage["cost"] for stage in stages.values()), 4)
