"""Transitions as docs/snapshots.md defines them, for all rows at once.

A *run* is a maximal span of actions with one actor and no gap before any but its first. Chunks start in a
run every ``stride`` frames, counted from the run's first, and end with the run. A window of ``n_step``
chunks is cut at the end of its run too, since the chunk there bootstraps.

Where a window of m frames from t bootstraps: at row t + m, if that row continues the recording; else (a
gap, or no final state) at row t + m - 1, the last continuous observation, still with γ^m. A window that
reaches the end of a terminated episode does not bootstrap. Rows that aren't valid start no chunk, are
masked within one, and are stepped back over where one would be bootstrapped from; their rewards count.
Rows at which a camera shows nothing that counts start no chunk and are stepped back over alike; their
actions count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lwd_core.snapshots.episode_arrays import Rows
from storage_schemas.snapshot_row import Take, uses

_FIELDS = [
    ("row", np.int32),
    ("boot", np.int32),
    ("episode", np.int32),
    ("frame", np.int32),
    ("length", np.int32),
    ("discount", np.float32),
]
#: Numpy takes items of so many bytes at random in one move.
_MOVE = 32


def transition_type() -> np.dtype:
    """One transition: ``row`` and ``boot`` are rows of the pool, ``length`` frames of the chunk."""
    returns = [(use.name, np.float32) for _, use in uses() if use.take is Take.RETURN]
    return aligned([*_FIELDS, *returns], _MOVE)


def aligned(fields: Sequence[tuple[Any, ...]], size: int) -> np.dtype:
    """Fields one after the other, in a record of a multiple of ``size`` bytes."""
    packed = np.dtype(list(fields))
    found = packed.fields or {}
    return np.dtype(
        {
            "names": list(found),
            "formats": [field[0] for field in found.values()],
            "offsets": [field[1] for field in found.values()],
            "itemsize": -(-packed.itemsize // size) * size,
        }
    )


@dataclass(frozen=True)
class Expansion:
    """How rows become transitions: H, chunks of a return, γ per frame, frames between starts."""

    chunk: int
    n_step: int
    gamma: float
    stride: int

    def of(self, rows: Rows) -> np.ndarray:
        """All transitions of the rows."""
        return expand(rows, chunk=self.chunk, n_step=self.n_step, gamma=self.gamma, stride=self.stride)


def expand(rows: Rows, *, chunk: int, n_step: int, gamma: float, stride: int) -> np.ndarray:
    """Every transition of the rows, in order, as an array of ``transition_type()``.

    ``episode`` is the episode's place in the manifest; a return is Σ γ^i r over the window and ``discount``
    γ^m, 0 where the episode terminated within it.
    """
    count = len(rows)
    if count >= 2**31 - chunk * n_step:
        raise ValueError("a pool holds at most 2^31 rows")
    episode = np.repeat(np.arange(len(rows.rows), dtype=np.int32), rows.rows)
    at = np.arange(count, dtype=np.int32)
    after_last = (rows.first + rows.steps).astype(np.int32)
    acts = at < after_last[episode]

    human, valid, gap = rows["human"], rows["valid"], rows["gap"]
    breaks = gap | ~acts
    breaks[1:] |= human[1:] != human[:-1]
    breaks[rows.first] = True
    begins = np.flatnonzero(breaks).astype(np.int32)
    ends = np.append(begins[1:], np.int32(count))
    lengths = ends - begins

    usable = valid & rows["seen"]
    chosen = acts & usable
    if stride > 1:
        chosen &= (at - np.repeat(begins, lengths)) % stride == 0
    start = np.flatnonzero(chosen).astype(np.int32)
    left = np.repeat(ends, lengths)[start] - start
    frames = np.minimum(left, np.int32(n_step * chunk))

    where = episode[start]
    ended = start + frames
    exists = ended < (rows.first + rows.rows).astype(np.int32)[where]
    continues = exists & ~gap[np.minimum(ended, count - 1)]
    boot = ended - ~continues
    if not usable.all():
        boot = np.maximum.accumulate(np.where(usable, at, 0))[boot]

    powers = gamma ** np.arange(n_step * chunk + 1)
    terminal = rows.terminated[where] & (ended == after_last[where])
    found = np.empty(len(start), transition_type())
    found["row"] = start
    found["boot"] = boot
    found["episode"] = rows.member[where]
    found["frame"] = start - rows.first[where]
    found["length"] = np.minimum(left, np.int32(chunk))
    for column, use in uses():
        if use.take is Take.RETURN:
            found[use.name] = _returns(rows[column.name], start, frames, gamma)
    found["discount"] = np.where(terminal, 0.0, powers[frames])
    return found


def _returns(reward: np.ndarray, start: np.ndarray, frames: np.ndarray, gamma: float) -> np.ndarray:
    """Σ_{i<m} γ^i r[t+i] for windows (t, m), by sums over 1, 2, 4, 8 … frames.

    A window is cut into blocks of falling powers of two; what a block's sum holds beyond its run is never
    used, as no window reaches there.
    """
    result = np.zeros(len(start))
    rewarded = np.concatenate(([0], np.cumsum(reward != 0)))
    some = np.flatnonzero(rewarded[start + frames] > rewarded[start])
    if not len(some):
        return result
    left, total = frames[some], np.zeros(len(some))
    sums = [reward.astype(np.float64)]
    size = 1
    while 2 * size <= left.max():
        longer = sums[-1].copy()
        longer[:-size] += gamma**size * sums[-1][size:]
        sums.append(longer)
        size *= 2
    place, weight = start[some].astype(np.int64), np.ones(len(some))
    for level in range(len(sums) - 1, -1, -1):
        fits = (left >> level) & 1 == 1
        total[fits] += weight[fits] * sums[level][place[fits]]
        place[fits] += 1 << level
        weight[fits] *= gamma ** (1 << level)
    result[some] = total
    return result
