"""A pool of simulated arms, so that each is built once and used for many episodes."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from lwd_core.fleet.sim.metaworld import Arm, Studio
from lwd_core.fleet.sim.tasks import Task
from lwd_core.fleet.sim.tours import Tour


class Arms:
    """A pool of arms: building one takes 0.05 s or more, setting up its next scene 0.01 s."""

    def __init__(self) -> None:
        self._idle: dict[str, list[Arm | Tour]] = defaultdict(list)
        self._studio = Studio()

    @contextmanager
    def borrow(self, task: Task) -> Iterator[Arm | Tour]:
        """An arm before this task, for the length of a block."""
        idle = self._idle[task.name]
        arm = idle.pop() if idle else self._make(task)
        try:
            yield arm
        finally:
            idle.append(arm)

    def _make(self, task: Task) -> Arm | Tour:
        arm = Arm(task, self._studio)
        return Tour(arm, task.stages) if task.stages else arm

    def close(self) -> None:
        """Free what rendering holds."""
        self._studio.close()
        self._idle.clear()
