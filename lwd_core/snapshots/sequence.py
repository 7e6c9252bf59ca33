"""Which transitions make which batch: a function of seed and step, on every machine.

Random numbers are the raw 64-bit stream of Philox, a counter-based generator whose output is fixed; the
counter names what is drawn, so any batch can be drawn without those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_STREAMS = {"balanced": 1, "shuffle": 2, "shards": 3, "mix": 4}


def raw(seed: int, stream: str, place: tuple[int, int], count: int) -> np.ndarray:
    """``count`` u64 numbers that depend on seed, stream and place alone."""
    key = np.array([seed & (2**64 - 1), _STREAMS[stream]], np.uint64)
    counter = np.array([0, place[0], place[1], 0], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


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
    be drawn: begin, size; edge, cumulated shares as whole numbers to 2^53; even, whether they are equal.
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
        edge = (np.cumsum(weight) / weight.sum())[present]
        edge[-1] = 1.0
        order = None
        if np.any(group[1:] < group[:-1]):
            order = np.argsort(group, kind="stable").astype(np.int32 if len(group) < 2**31 else np.int64)
        return cls(
            order=order,
            begin=(np.cumsum(size) - size)[present],
            size=size[present].astype(np.float64),
            edge=(edge * 2.0**53).astype(np.int64),
            even=bool(np.all(weight[present] == weight[present[0]])),
        )

    def draw(self, seed: int, place: tuple[int, int], count: int) -> np.ndarray:
        """``count`` transition ids, with replacement."""
        return self.draw_many(seed, [place], count)[0]

    def draw_many(self, seed: int, places: Sequence[tuple[int, int]], count: int) -> np.ndarray:
        """``draw`` for several places at a time: (places, count)."""
        numbers = np.stack([raw(seed, "balanced", place, 2 * count) for place in places])
        numbers >>= np.uint64(11)
        whole = numbers.view(np.int64)  # which processors turn into floats several times as fast as u64
        # In [0, 1), to 2^-53. Times a whole number it never rounds up to that number: the largest falls short
        # of it by at least half of what a float can tell apart there, and by exactly half only at powers of
        # two, whose products are exact.
        unit = whole * 2.0**-53
        if self.even:  # the same draw as by edges, quicker
            group = (unit[:, :count] * float(len(self.size))).astype(np.intp)
        else:
            group = np.searchsorted(self.edge, whole[:, :count], side="right")
        place_in = unit[:, count:]
        place_in *= self.size.take(group, mode="clip")  # which checks nothing: no group lies outside
        member = place_in.astype(np.intp)
        member += self.begin.take(group, mode="clip")
        return member if self.order is None else self.order.take(member)
