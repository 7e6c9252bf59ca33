"""Which message of a feature a control tick has, and why some have none."""

from dataclasses import dataclass

import numpy as np

from lwd_core.logs.clock import Timed
from lwd_core.logs.pairing import Following
from storage_schemas.embodiment import Feature


@dataclass(frozen=True)
class AtTicks:
    """One feature at N ticks.

    ``place`` (N,) in its series, -1 where there is none; ``age`` (N,) ns, negative where it follows the
    tick; ``why``: ticks (N,) it masks, by reason. ``last``: ticks up to the last that has a
    message of its own, None where messages are held.
    """

    place: np.ndarray
    age: np.ndarray
    why: dict[str, np.ndarray]
    last: int | None = None

    def first(self, n: int) -> "AtTicks":
        """The same of the first ``n`` ticks."""
        return AtTicks(self.place[:n], self.age[:n], {k: v[:n] for k, v in self.why.items()}, self.last)


def last_known(feature: Feature, timed: Timed, ticks: np.ndarray, limit: float, what: str) -> AtTicks:
    """What was last known at each tick, not valid where older than ``limit`` ns."""
    place, age = timed.latest(ticks)
    why = {
        f"{feature.topic}: no {what} yet": place < 0,
        f"{feature.topic}: {what} older than its staleness of {limit / 1e6:g} ms": age > limit,
    }
    return AtTicks(place, age, why)


def own_command(
    feature: Feature,
    timed: Timed,
    follows: Following,
    given: tuple[int, int],
    states: np.ndarray,
    ticks: np.ndarray,
) -> AtTicks:
    """The command computed from each tick's state, of those at ``given`` places; ``states`` (R,): times."""
    state = np.searchsorted(states, ticks, side="right") - 1
    known = state >= 0
    known[1:] &= state[1:] != state[:-1]  # of ticks with one state the first has its command
    at = np.full(len(ticks), -1)
    several = np.zeros(len(ticks), dtype=bool)
    at[known], several[known] = follows.command[state[known]], follows.several[state[known]]
    paired = (at >= given[0]) & (at < given[1])
    place, age = timed.latest(ticks)  # what was last known, where no command is the state's
    place[paired], age[paired] = timed.at[at[paired]], ticks[paired] - timed.t[at[paired]]
    if follows.delay.why:
        why = {f"{feature.topic}: {follows.delay.why}": ~paired}
    else:
        why = {
            f"{feature.topic}: several commands where a state has one": ~paired & several,
            f"{feature.topic}: no command of that state": ~paired & ~several,
        }
    if feature.staleness_ms is not None:
        late = paired & (np.abs(age) > feature.staleness_ms * 1e6)
        why[f"{feature.topic}: command further than {feature.staleness_ms:g} ms from its state"] = late
    last = int(np.flatnonzero(paired)[-1]) + 1 if paired.any() else None
    return AtTicks(place, age, why, last)
