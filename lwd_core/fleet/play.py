"""Play: a person who explores what can go wrong instead of doing the task."""

from collections.abc import Sequence

import numpy as np

from lwd_core.fleet.robot import Action, Person, State
from storage_schemas.embodiment import Dim

_STRETCH = 25  # ticks, on average, until the person tries something else
_SKILFUL = 0.4  # share of stretches spent on the task, to get where things can go wrong


class Exploring:
    """A person who wanders; implements ``Person``.

    Stretches of the task's own motion alternate with pushes: one action, drawn from the whole range of each
    of its dims (from -1 to 1 where the embodiment states no limit).
    """

    def __init__(self, person: Person, action: Sequence[Dim], seed: int) -> None:
        self._person = person
        self._low = np.array([-1.0 if dim.low is None else dim.low for dim in action])
        self._high = np.array([1.0 if dim.high is None else dim.high for dim in action])
        self._generator = np.random.default_rng(seed)
        self._push: Action | None = None

    def take_over(self, state: State) -> None:
        """As the other would."""
        self._person.take_over(state)

    def drive(self, state: State) -> Action:
        """The task's motion, or this stretch's push."""
        skilled = self._person.drive(state)
        if self._generator.random() < 1 / _STRETCH:
            skilful = self._generator.random() < _SKILFUL
            self._push = None if skilful else self._generator.uniform(self._low, self._high)
        return skilled if self._push is None else self._push
