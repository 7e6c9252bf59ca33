"""Play: a person who explores what can go wrong instead of doing the task."""

from collections.abc import Mapping

import numpy as np

from lwd_core.fleet.robot import Action, Robot, State

_STRETCH = 25  # ticks, on average, until the person tries something else
_SKILFUL = 0.4  # share of stretches spent on the task, to get where things can go wrong


class Exploring:
    """A robot whose person wanders; implements ``Robot``.

    Stretches of the task's own motion alternate with pushes in a random direction with the gripper
    in a random position.
    """

    def __init__(self, robot: Robot, seed: int) -> None:
        self._robot = robot
        self._generator = np.random.default_rng(seed)
        self._push: Action | None = None

    @property
    def control_hz(self) -> float:
        """As the robot's."""
        return self._robot.control_hz

    def reset(self, seed: int) -> State:
        """As the robot's."""
        return self._robot.reset(seed)

    def step(self, action: Action) -> tuple[State, bool]:
        """As the robot's."""
        return self._robot.step(action)

    def person(self, state: State) -> Action:
        """The task's motion, or this stretch's push."""
        skilled = self._robot.person(state)
        if self._generator.random() < 1 / _STRETCH:
            skilful = self._generator.random() < _SKILFUL
            self._push = None if skilful else self._generator.uniform(-1, 1, skilled.shape)
        return skilled if self._push is None else self._push

    def photograph(self) -> Mapping[str, bytes]:
        """As the robot's."""
        return self._robot.photograph()
