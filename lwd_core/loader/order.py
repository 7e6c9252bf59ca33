"""Which transitions make which batch: a function of seed and step, on every machine.

Random numbers are the raw 64-bit stream of Philox, a counter-based generator whose output is fixed; the
counter names what is drawn, so any batch can be drawn without those before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwd_core.errors import UserError

#: Counts changes of what a seed draws, so that a state from before is not taken for one of now.
SEQUENCE = 2
_STREAMS = {"balanced": 1, "shuffle": 2, "shards": 3, "mix": 4}
_AT_ONCE = 4  # numbers a counter gives


def agree(state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """UserError unless a loader with ``settings`` draws on as the one whose ``state`` it is."""
    for name, value in settings.items():
        if (was := state.get(name)) != value:
            remedy = "keep the settings"
            if name == "sequence":
                remedy = "another version of LWD drew those samples: go on with that one, or begin a new run"
            raise UserError(f"loader state: {name} was {was!r}, is {value!r}; {remedy}")


def raw(seed: int, stream: str, place: tuple[int, int], count: int, begin: int = 0) -> np.ndarray:
    """Numbers ``begin`` to ``begin + count`` (u64) of those that seed, stream and place give."""
    key = np.array([seed & (2**64 - 1), _STREAMS[stream]], np.uint64)
    counter, skipped = divmod(begin, _AT_ONCE)
    generator = np.random.Philox(key=key, counter=np.array([counter, *place, 0], np.uint64))
    return generator.random_raw(skipped + count)[skipped:]


def shuffled(seed: int, stream: str, place: tuple[int, int], count: int) -> np.ndarray:
    """A permutation of ``count``: the stable order of as many random numbers."""
    numbers = raw(seed, stream, place, count)
    order = np.argsort(numbers)  # several times as fast as the stable kind, and the same unless two are equal
    ranked = numbers.take(order)
    return np.argsort(numbers, kind="stable") if np.any(ranked[1:] == ranked[:-1]) else order


@dataclass(frozen=True)
class Strata:
    """Transitions grouped, so that a group is drawn by its share and a member uniformly within it.

    order (N,): transition ids, group after group, None where they already lie so. Of the groups (G) that can
    be drawn: begin, size; edge (G + 1,), cumulated shares in whole 2^-53; even, whether they are equal.
    """

    order: np.ndarray | None
    begin: np.ndarray
    size: np.ndarray
    edge: np.ndarray
    even: bool

    @classmethod
    def of(cls, group: np.ndarray, share: np.ndarray) -> "Strata":
        """group (N,): group of each transition; share (groups,): relative share, of those present."""
        size = np.bincount(group, minlength=len(share))
        weight = np.where(size > 0, share, 0.0)
        present = np.flatnonzero(weight)
        edge = np.append(0.0, (np.cumsum(weight) / weight.sum())[present])
        edge[-1] = 1.0
        order = None
        if np.any(group[1:] < group[:-1]):
            order = np.argsort(group, kind="stable").astype(np.int32 if len(group) < 2**31 else np.int64)
        return cls(
            order=order,
            begin=(np.cumsum(size) - size)[present],
            size=size[present].astype(np.float64),
            edge=np.floor(edge * 2.0**53) * 2.0**-53,
            even=bool(np.all(weight[present] == weight[present[0]])),
        )

    def draw(self, seed: int, place: tuple[int, int], count: int, begin: int = 0) -> np.ndarray:
        """Samples ``begin`` to ``begin + count`` of a place: transition ids, with replacement.

        One number u in [0, 1) draws both: what is left of it within its group is as uniform there.
        """
        numbers = raw(seed, "balanced", place, count, begin)
        numbers >>= np.uint64(11)
        unit = numbers.view(np.int64) * 2.0**-53  # processors make floats of i64 much quicker than of u64
        # Multiples of 2^-53 below 1 times a whole number never round up to that number: the largest falls
        # short of it by at least half of what a float can tell apart there, and by exactly half only at
        # powers of two, whose products are exact. Nor do the differences here round, or their quotients to 1.
        if self.even:
            unit *= float(len(self.size))
            group = unit.astype(np.intp)
            unit -= group
        else:
            group = np.searchsorted(self.edge[1:], unit, side="right")
            unit -= self.edge.take(group)
            unit /= np.diff(self.edge).take(group)
        unit *= self.size.take(group, mode="clip")  # which checks nothing: no group lies outside
        member = unit.astype(np.intp)
        member += self.begin.take(group, mode="clip")
        return member if self.order is None else self.order.take(member)
