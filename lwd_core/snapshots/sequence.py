"""Which transitions make which batch: a function of seed and step, on every machine.

Random numbers are the raw 64-bit stream of Philox, a counter-based generator whose output is fixed; the
counter names what is drawn, so any batch can be drawn without those before it.
"""

from dataclasses import dataclass

import numpy as np

_STREAMS = {"balanced": 1, "shuffle": 2, "shards": 3, "mix": 4}


def raw(seed: int, stream: str, place: tuple[int, int], count: int) -> np.ndarray:
    """``count`` u64 numbers that depend on seed, stream and place alone."""
    key = np.array([seed & (2**64 - 1), _STREAMS[stream]], np.uint64)
    counter = np.array([0, place[0], place[1], 0], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def below(numbers: np.ndarray, limits: np.ndarray | int) -> np.ndarray:
    """u64 numbers to integers in [0, limit), uniform to 2^-53."""
    scaled = (numbers >> np.uint64(11)).astype(np.float64)
    scaled *= 1.0 / 2**53
    scaled *= limits
    whole = scaled.astype(np.int64)
    return np.minimum(whole, np.asarray(limits) - 1, out=whole)


def shuffled(seed: int, stream: str, place: tuple[int, int], count: int) -> np.ndarray:
    """A permutation of ``count``."""
    return np.argsort(raw(seed, stream, place, count), kind="stable")


@dataclass(frozen=True)
class Strata:
    """Transitions grouped, so that a group is drawn by its share and a member uniformly within it.

    order (N,): transition ids, group after group; begin, size (G,); edge (G,): cumulated shares as u64;
    even: the groups there are, if their shares are equal.
    """

    order: np.ndarray
    begin: np.ndarray
    size: np.ndarray
    edge: np.ndarray
    even: np.ndarray | None

    @classmethod
    def of(cls, group: np.ndarray, share: np.ndarray) -> "Strata":
        """group (N,): group of each transition; share (groups,): relative share, of those present."""
        size = np.bincount(group, minlength=len(share))
        weight = np.where(size > 0, share, 0.0)
        present = np.flatnonzero(weight)
        edge = np.cumsum(weight) / weight.sum()
        edge[present[-1] :] = 1.0
        order = np.argsort(group, kind="stable")
        return cls(
            order=order.astype(np.int32) if len(order) < 2**31 else order,
            begin=np.cumsum(size) - size,
            size=size,
            edge=(edge * 2.0**53).astype(np.uint64),
            even=present if np.all(weight[present] == weight[present[0]]) else None,
        )

    def draw(self, seed: int, place: tuple[int, int], count: int) -> np.ndarray:
        """``count`` transition ids, with replacement."""
        numbers = raw(seed, "balanced", place, 2 * count)
        if len(self.size) == 1:
            return self.order.take(below(numbers[count:], int(self.size[0])))
        if self.even is not None:  # the same draw as by edges, quicker
            group = self.even.take(below(numbers[:count], len(self.even)))
        else:
            group = np.searchsorted(self.edge, numbers[:count] >> np.uint64(11), side="right")
        member = below(numbers[count:], self.size.take(group))
        member += self.begin.take(group)
        return self.order.take(member)
