"""A person's first moves after taking over: an empty hand is opened before anything else.

The scripted experts assume the hand they began with. Given a robot that a policy has left with its
fingers closed on nothing, they push the object about and fail; a person would open the hand.
"""

from typing import Protocol

import numpy as np

from lwd_core.fleet.robot import Action, State

OPENING = 8  # control ticks until the fingers are apart
NEAR = 0.06  # metres: an object this close to the hand may be held, and is not let go
_HAND, _OBJECT = slice(0, 3), slice(4, 7)
_OPEN = np.array([0.0, 0.0, 0.0, -1.0])


class Skilled(Protocol):
    """A robot that comes with an expert."""

    def person(self, state: State) -> Action: ...


class Teleoperator:
    """Somebody at the controls of one arm, for one episode; implements the fleet's ``Person``."""

    def __init__(self, robot: Skilled) -> None:
        self._robot = robot
        self._opening = 0

    def take_over(self, state: State) -> None:
        """Take the controls from a policy."""
        empty = np.linalg.norm(state[_HAND] - state[_OBJECT]) > NEAR
        self._opening = OPENING if empty else 0

    def drive(self, state: State) -> Action:
        """The action of this tick."""
        if self._opening:
            self._opening -= 1
            return _OPEN
        return self._robot.person(state)
