"""Long tasks: several manipulations of one scene in sequence, success at the very end.

Each stage has a goal (shown in the state's last three numbers, so that the state tells the stage),
a person who knows how to reach it, and a test of whether it is reached. The goal moves on when a
stage is done; nothing else tells the robot.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lwd_core.fleet.robot import Action, State
from lwd_core.fleet.sim.metaworld import expert

# Places in the state: see the embodiment file.
_HAND, _GRIPPER, _OBJECT, _GOAL = slice(0, 3), 3, slice(4, 7), slice(36, 39)
_HAND_X, _OBJECT_X, _GOAL_X = 0, 4, 36

# Farther out the arm cannot reach down to the table; nearer, a new goal would be no task.
_TABLE_LOW, _TABLE_HIGH = (-0.12, 0.6), (0.12, 0.8)
_AWAY = 0.12

Drive = Callable[[State], Action]
Goal = Callable[[State, np.random.Generator], State]


class Aimed(Protocol):
    """A robot whose goal can be moved."""

    @property
    def control_hz(self) -> float: ...
    @property
    def goal(self) -> State: ...
    def aim(self, goal: State) -> None: ...
    def reset(self, seed: int) -> State: ...
    def step(self, action: Action) -> tuple[State, bool]: ...
    def photograph(self, size: int = 0) -> Mapping[str, bytes]: ...


@dataclass(frozen=True)
class Manipulation:
    """One stage of a long task.

    ``goal`` gives the goal from the state in which the stage begins; that state's own goal is still
    the one of the stage before.
    """

    goal: Goal
    person: Drive
    done: Callable[[State], bool]


class Tour:
    """A robot before a long task; implements ``SimulatedRobot`` and ``Scene``."""

    def __init__(self, robot: Aimed, stages: Sequence[str]) -> None:
        self._robot = robot
        self._stages = tuple(STAGES[name] for name in stages)
        self._at = 0
        self._generator = np.random.default_rng(0)

    @property
    def control_hz(self) -> float:
        """As the robot's."""
        return self._robot.control_hz

    def reset(self, seed: int) -> State:
        """The scene of a seed, and the goals that belong to it."""
        self._generator = np.random.default_rng(seed)
        self._at = 0
        return self._begin(self._robot.reset(seed))

    def step(self, action: Action) -> tuple[State, bool]:
        """One control tick; done when the last stage is."""
        state, _ = self._robot.step(action)
        state[_GOAL] = self._robot.goal
        if not self._stages[self._at].done(state):
            return state, False
        if self._at + 1 == len(self._stages):
            return state, True
        self._at += 1
        return self._begin(state), False

    def person(self, state: State) -> Action:
        """What a person does about the stage at hand."""
        return np.clip(self._stages[self._at].person(state.copy()), -1.0, 1.0).astype(np.float64)

    def photograph(self, size: int = 0) -> Mapping[str, bytes]:
        """As the robot's."""
        return self._robot.photograph(size)

    def _begin(self, state: State) -> State:
        state = state.copy()
        state[_GOAL] = self._stages[self._at].goal(state, self._generator)
        self._robot.aim(state[_GOAL].copy())
        return state


def _spot(low_z: float, high_z: float) -> Goal:
    """A random spot some way from the object, at a height between the two."""

    def goal(state: State, generator: np.random.Generator) -> State:
        while True:
            spot = generator.uniform((*_TABLE_LOW, low_z), (*_TABLE_HIGH, high_z))
            if np.linalg.norm(spot[:2] - state[_OBJECT][:2]) >= _AWAY:
                return spot

    return goal


def _as_before(state: State, generator: np.random.Generator) -> State:
    return state[_GOAL]


def _moved(x: float, y: float, z: float) -> Goal:
    """The goal of the stage before, shifted."""
    return lambda state, generator: state[_GOAL] + np.array([x, y, z])


def _bin(x: float) -> Goal:
    return lambda state, generator: np.array([x, 0.7, 0.0])


def _within(near: float) -> Callable[[State], bool]:
    return lambda state: bool(np.linalg.norm(state[_OBJECT] - state[_GOAL]) <= near)


def _withdrawn(state: State) -> bool:
    return bool(state[_HAND][2] - state[_OBJECT][2] > 0.12 and state[_GRIPPER] > 0.8)


def _withdraw(state: State) -> Action:
    """Open the gripper, then rise."""
    holding = state[_GRIPPER] < 0.85 and state[_HAND][2] - state[_OBJECT][2] < 0.12
    return np.array([0.0, 0.0, 0.0 if holding else 1.0, -1.0])


def _mirrored(person: Drive) -> Drive:
    """The same to the other side."""

    def act(state: State) -> Action:
        state[[_HAND_X, _OBJECT_X, _GOAL_X]] *= -1
        action = np.array(person(state))
        action[0] *= -1
        return action

    return act


_PUSH, _PICK, _BIN, _OPEN, _CLOSE = (
    expert(f"{name}-v3").get_action
    for name in ("push", "pick-place", "bin-picking", "drawer-open", "drawer-close")
)

# Metres as in Meta-World: a held puck hangs 4 cm below the hand that is at the goal.
STAGES: dict[str, Manipulation] = {
    "push": Manipulation(_spot(0.015, 0.015), _PUSH, _within(0.05)),
    "lift": Manipulation(_spot(0.12, 0.22), _PICK, _within(0.07)),
    "set-down": Manipulation(_spot(0.03, 0.03), _PICK, _within(0.07)),
    "withdraw": Manipulation(_as_before, _withdraw, _withdrawn),
    "to-right-bin": Manipulation(_bin(0.12), _BIN, _within(0.05)),
    "to-left-bin": Manipulation(_bin(-0.12), _mirrored(_BIN), _within(0.05)),
    "open": Manipulation(_as_before, _OPEN, _within(0.03)),
    "close": Manipulation(_moved(0.0, 0.2, 0.0), _CLOSE, _within(0.03)),
    "open-again": Manipulation(_moved(0.0, -0.2, 0.0), _OPEN, _within(0.03)),
}
