"""Norm statistics that come out the same on every machine.

Sums are taken by halving: row i is added to row i + n/2, element by element. IEEE arithmetic fixes
every such addition, where the order inside ``np.sum`` depends on the width of the processor's
vector registers. Blocks are merged by Chan's formula in the order they come.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lwd_core.errors import UserError
from storage_schemas import snapshot_row
from storage_schemas.snapshot import Moments

_BLOCK = 1 << 14


class NoRows(ValueError):
    """There is nothing to take statistics of; ``names`` whose."""

    def __init__(self, *names: str) -> None:
        super().__init__("no valid rows to take statistics of")
        self.names = names


class Statistics:
    """Moments per embodiment of the columns that have some, over valid rows."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, MomentsAccumulator]] = {}

    def add(self, embodiment: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Take in an episode's sample. UserError if its widths are not those of the others."""
        parts = self._parts.setdefault(embodiment, {})
        for column in snapshot_row.ROW:
            name = column.name
            if not column.statistics or name not in tensors:
                continue
            values = tensors[name].reshape(len(tensors[name]), -1)
            part = parts.setdefault(name, MomentsAccumulator(values.shape[1]))
            if part.width != values.shape[1]:
                raise UserError(
                    f"embodiment {embodiment}: {name} is {part.width} wide in one episode and "
                    f"{values.shape[1]} in another; give the changed robot an embodiment of its own"
                )
            part.add(values[tensors["valid"][: len(values)]])

    def result(self) -> dict[str, dict[str, Moments]]:
        """By embodiment and column. `NoRows` names the embodiments without a valid row."""
        empty = [e for e, parts in self._parts.items() if not all(part.count for part in parts.values())]
        if empty:
            raise NoRows(*empty)
        return {e: {name: part.result() for name, part in parts.items()} for e, parts in self._parts.items()}


@dataclass
class MomentsAccumulator:
    """Mean, spread and quantiles of vectors that arrive in blocks.

    Quantiles are exact up to ``reservoir`` rows; beyond, they are over every 2nd, 4th, 8th … row.
    """

    width: int
    reservoir: int = 1 << 20
    count: int = 0
    _seen: int = 0
    _every: int = 1
    _kept: int = 0
    _mean: np.ndarray = field(init=False)
    _m2: np.ndarray = field(init=False)
    _min: np.ndarray = field(init=False)
    _max: np.ndarray = field(init=False)
    _rows: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._mean = np.zeros(self.width)
        self._m2 = np.zeros(self.width)
        self._min = np.full(self.width, np.inf)
        self._max = np.full(self.width, -np.inf)

    def add(self, rows: np.ndarray) -> None:
        """Take in rows (n, width)."""
        for begin in range(0, len(rows), _BLOCK):
            self._merge(rows[begin : begin + _BLOCK].astype(np.float64))
        self._keep(rows)

    def _merge(self, block: np.ndarray) -> None:
        n = len(block)
        mean = _sum(block) / n
        deviation = block - mean
        delta = mean - self._mean
        total = self.count + n
        self._m2 += _sum(deviation * deviation) + delta * delta * (self.count * n / total)
        self._mean += delta * (n / total)
        self.count = total
        np.minimum(self._min, block.min(axis=0), out=self._min)
        np.maximum(self._max, block.max(axis=0), out=self._max)

    def _keep(self, rows: np.ndarray) -> None:
        first = -self._seen % self._every
        self._seen += len(rows)
        kept = rows[first :: self._every]
        self._rows.append(kept.astype(np.float32, copy=True))
        self._kept += len(kept)
        while self._kept > self.reservoir:
            self._every *= 2
            self._rows = [np.concatenate(self._rows)[::2].copy()]
            self._kept = len(self._rows[0])

    def result(self) -> Moments:
        """The statistics; `NoRows` before the first row."""
        if not self.count:
            raise NoRows
        rows = np.concatenate(self._rows)
        q01, q99 = _quantiles(rows, (0.01, 0.99))
        return Moments(
            count=self.count,
            quantile_rows=len(rows),
            mean=_floats(self._mean),
            std=_floats(np.sqrt(self._m2 / self.count)),
            min=_floats(self._min),
            max=_floats(self._max),
            q01=_floats(q01),
            q99=_floats(q99),
        )


def _sum(block: np.ndarray) -> np.ndarray:
    """Sum over rows, by halving."""
    block = block.copy()
    n = len(block)
    while n > 1:
        half = (n + 1) // 2
        block[: n - half] += block[half:n]
        n = half
    return block[0]


def _quantiles(rows: np.ndarray, shares: tuple[float, ...]) -> list[np.ndarray]:
    last = len(rows) - 1
    out = [np.empty(rows.shape[1]) for _ in shares]
    places = [(int(last * s), min(int(last * s) + 1, last), last * s % 1.0) for s in shares]
    needed = sorted({p for low, high, _ in places for p in (low, high)})
    for dim in range(rows.shape[1]):
        column = np.partition(rows[:, dim], needed).astype(np.float64)
        for values, (low, high, part) in zip(out, places, strict=True):
            values[dim] = column[low] + (column[high] - column[low]) * part
    return out


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())
