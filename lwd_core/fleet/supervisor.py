"""When a person drives instead of the policy: stated rules, each with its reason.

A person watches several robots, so only a share of the episodes is watched at all. In those:

- *no progress*: nothing that is watched has moved for a while; the person drives for a stint and
  gives the robot back;
- *overdue*: the robot has been after one goal for longer than it takes somebody practised; the person
  drives until that goal is reached and gives the robot back;
- *time running out*: past a share of the limit the person takes over for good.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.robot import State
from lwd_core.fleet.task import Task
from storage_schemas.vocabulary import InterventionReason


class Watch(Protocol):
    """One person's eye on one episode."""

    def decide(self, tick: int, state: State) -> InterventionReason | None:
        """Why a person drives this tick; None while the policy does. Called once a tick, in order."""
        ...


class Watcher(Protocol):
    """Whoever may take over, over all episodes."""

    @property
    def operator(self) -> str:
        """Who it is; empty for nobody."""
        ...

    def watch(self, task: Task, generator: np.random.Generator) -> Watch:
        """Turn to an episode of this task."""
        ...


@dataclass(frozen=True)
class _Constant:
    reason: InterventionReason | None

    def decide(self, tick: int, state: State) -> InterventionReason | None:
        return self.reason


@dataclass(frozen=True)
class Unattended:
    """Nobody: the policy drives throughout."""

    operator: str = ""

    def watch(self, task: Task, generator: np.random.Generator) -> Watch:
        """Never take over."""
        return _Constant(None)


@dataclass(frozen=True)
class Demonstrator:
    """A person drives throughout."""

    operator: str = "demonstrator"

    def watch(self, task: Task, generator: np.random.Generator) -> Watch:
        """Take over from the first tick on."""
        return _Constant(InterventionReason.DEMONSTRATION)


@dataclass(frozen=True)
class Supervisor:
    """The rules above, with their figures.

    ``rate`` is the share of episodes watched; ``deadline`` the share of the limit at which time is
    running out; ``overdue`` how many times a practised person's ``Task.usual`` the robot is given for a
    goal, 0 for any time; ``patience`` ticks within which nothing moved more than ``still`` (in the state's
    units: metres, and a gripper's opening from 0 to 1) are no progress; ``stint`` ticks are driven then.
    """

    rate: float = 0.5
    deadline: float = 0.45
    overdue: float = 0.0
    patience: int = 40
    still: float = 0.01
    stint: int = 30
    operator: str = "operator-1"

    def __post_init__(self) -> None:
        for name in ("rate", "deadline"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"supervisor: {name} must lie in [0, 1]")
        if self.overdue and self.overdue < 1:
            raise UserError("supervisor: overdue must be 0 or at least 1, a practised person's own time")
        if self.patience < 2 or self.stint < 1:
            raise UserError("supervisor: patience must be at least 2 ticks and stint at least 1")

    def watch(self, task: Task, generator: np.random.Generator) -> Watch:
        """Watch this episode, or be busy elsewhere."""
        if generator.random() >= self.rate:
            return _Constant(None)
        return _Attention(self, task)


class _Attention:
    """The rules applied to one episode."""

    def __init__(self, rules: Supervisor, task: Task) -> None:
        self._rules = rules
        self._watched, self._shows_goal = task.watched, task.goal
        self._deadline = round(task.limit * rules.deadline)
        self._overdue = round(task.usual * rules.overdue)
        self._goal: State | None = None
        self._goal_since = 0
        self._recent: deque[State] = deque(maxlen=rules.patience)
        self._driving_until = 0

    def decide(self, tick: int, state: State) -> InterventionReason | None:
        if tick >= self._deadline:
            return InterventionReason.TIME_RUNNING_OUT
        if self._overdue and self._ticks_on_goal(tick, state) >= self._overdue:
            self._recent.clear()
            return InterventionReason.OVERDUE
        if tick < self._driving_until:
            return InterventionReason.NO_PROGRESS
        self._recent.append(state[self._watched])
        if len(self._recent) == self._rules.patience and self._stands_still():
            self._recent.clear()  # patience starts anew when the robot has been given back
            self._driving_until = tick + self._rules.stint
            return InterventionReason.NO_PROGRESS
        return None

    def _ticks_on_goal(self, tick: int, state: State) -> int:
        goal = state[self._shows_goal]
        if self._goal is None or not np.array_equal(self._goal, goal):
            self._goal, self._goal_since = goal, tick
        return tick - self._goal_since

    def _stands_still(self) -> bool:
        # The oldest view is compared first: a robot that moves on is dismissed by one subtraction.
        if np.abs(self._recent[0] - self._recent[-1]).max() > self._rules.still:
            return False
        return bool(np.ptp(np.asarray(self._recent), axis=0).max() <= self._rules.still)
