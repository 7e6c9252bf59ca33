"""A policy that takes a stated time to think, in a simulated time: what late plans do to a task can be seen
before there is a robot, or a network that slow."""

import numpy as np

from lwd_core.fleet.batching import Request
from lwd_core.fleet.pace import Timekeeper
from lwd_core.fleet.planner import PromptPlanner
from lwd_core.fleet.robot import Chunk


class LatePlanner:
    """Answers ``latency_ns`` after it was asked, by the keeper's time; implements ``Planner``.

    A plan is made of what was seen when it was asked for, whatever happens until it is there.
    """

    def __init__(self, keeper: Timekeeper, latency_ns: int, seed: int) -> None:
        self._keeper, self._latency_ns = keeper, latency_ns
        self._prompt, self._due_ns = PromptPlanner(seed), 0

    def ask(self, request: Request) -> None:
        """Begin a plan; an earlier one is not wanted any more."""
        self._prompt.ask(request)
        self._due_ns = self._keeper.monotonic_ns() + self._latency_ns

    def answer(self, wait_ns: int = 0) -> Chunk | None:
        """The plan, once it is due; no time passes here for being waited in."""
        return self._prompt.answer() if self._keeper.monotonic_ns() >= self._due_ns else None

    def close(self) -> None:
        """Nothing to end."""


def jerk(actions: np.ndarray) -> float:
    """Mean size of the change from one action (T, D) to the next."""
    return float(np.linalg.norm(np.diff(actions, axis=0), axis=-1).mean()) if len(actions) > 1 else 0.0
