"""Transitions in memory, gathered into batches: here from rows, which are small.

`records` has the other way, which is quick.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from lwd_core.loader.episode_columns import EpisodeColumns
from lwd_core.loader.order import Strata
from lwd_core.snapshots.episode_arrays import PADDING, Rows
from storage_schemas import snapshot_row
from storage_schemas.snapshot_row import Take, batch_columns, uses

Arrays = dict[str, np.ndarray]
T = TypeVar("T")
Wrap = Callable[[np.ndarray], T]

#: Names, of ``storage_schemas.snapshot_row``; None is all.
Columns = Sequence[str] | None


def named(columns: Columns) -> tuple[str, ...]:
    """The columns of a batch that are asked for."""
    return tuple(column.name for column in batch_columns()) if columns is None else tuple(columns)


class Pool(Protocol):
    """N transitions with ids 0 to N - 1."""

    def __len__(self) -> int: ...

    def strata(self) -> Strata:
        """Groups to draw tasks and buffers evenly."""
        ...

    def ids(self, ranks: np.ndarray) -> np.ndarray:
        """Ids of transitions by their rank: episode after episode, frame after frame."""
        ...

    def gather(self, ids: np.ndarray, columns: Columns = None) -> Arrays:
        """The batch of these transitions (n,), in fresh memory."""
        ...

    def batches(self, ids: np.ndarray, columns: Sequence[str], wrap: Wrap[T]) -> Iterator[dict[str, T]]:
        """The batches of these transitions (batches, B), as quick as they can be had one after the other.

        ``wrap`` makes of each array what the batch holds.
        """
        ...


class RowPool:
    """Gathers from rows: little more memory than the rows themselves, whatever the chunk."""

    def __init__(
        self, rows: Rows, transitions: np.ndarray, episode_columns: EpisodeColumns, chunk: int
    ) -> None:
        self._rows, self._transitions, self._episode_columns = rows, transitions, episode_columns
        valid = rows["valid"]
        self._valid = None if valid.all() else np.append(valid, np.zeros(PADDING, bool))
        self._masks = length_masks(chunk)
        self._windows = {
            column.name: _windows(rows[column.name], len(rows), chunk)
            for column in snapshot_row.ROW
            if column.takes(Take.CHUNK)
        }

    def __len__(self) -> int:
        return len(self._transitions)

    @property
    def masked(self) -> bool:
        """Whether masks are more than the chunk's length."""
        return self._valid is not None

    def strata(self) -> Strata:
        return self._episode_columns.strata(self._transitions["episode"])

    def ids(self, ranks: np.ndarray) -> np.ndarray:
        return ranks

    def gather(self, ids: np.ndarray, columns: Columns = None) -> Arrays:
        names = named(columns)
        chosen = self._transitions.take(ids)
        row, length = chosen["row"].astype(np.intp), chosen["length"]
        mask = self._masks.take(length, axis=0)
        short = np.flatnonzero(length < mask.shape[1])
        if self._valid is not None:
            mask *= self._valid[row[:, None] + np.arange(mask.shape[1])]
            short = np.arange(len(ids))
        found = {
            "mask": mask,
            "discount": chosen["discount"],
            "frame": chosen["frame"].astype(np.int64),
            "next_frame": chosen["frame"] + (chosen["boot"] - row),
            **self._episode_columns.of_episodes(chosen["episode"], names),
        }
        for column, use in uses():
            if use.name not in names:
                continue
            if use.take is Take.CHUNK:
                found[use.name] = self._chunks(column.name, row, mask, short)
            elif use.take is Take.RETURN:
                found[use.name] = chosen[use.name]
            else:
                at = row if use.take is Take.START else chosen["boot"]
                found[use.name] = self._rows[column.name].take(at, axis=0)
        return {name: found[name] for name in names}

    def _chunks(self, column: str, row: np.ndarray, mask: np.ndarray, short: np.ndarray) -> np.ndarray:
        """Windows (n, H, …) from ``row`` (n,) on, 0 where ``mask`` (n, H) is; ``short``: where it may be."""
        values = self._rows[column]
        found = self._windows[column][row].view(values.dtype).reshape(*mask.shape, *values.shape[1:])
        counts = mask[short].reshape(len(short), mask.shape[1], *[1] * (values.ndim - 1)) > 0
        # chosen, not multiplied: a masked frame may hold what is not a number
        found[short] = np.where(counts, found[short], values.dtype.type(0))
        return found

    def batches(self, ids: np.ndarray, columns: Sequence[str], wrap: Wrap[T]) -> Iterator[dict[str, T]]:
        # all in one go: these are many small steps of numpy, whose fixed cost is shared
        found = self.gather(ids.reshape(-1), columns)
        parts = [a.reshape(*ids.shape, *a.shape[1:]) for a in found.values()]
        for part in zip(*parts, strict=True):
            yield dict(zip(columns, map(wrap, part), strict=True))


def _windows(values: np.ndarray, count: int, chunk: int) -> np.ndarray:
    """Item t is the memory of values[t : t + chunk] as one opaque value, so that numpy copies it whole."""
    row = values[0].nbytes
    return np.ndarray(count, f"V{row * chunk}", values.data, strides=(row,))


def length_masks(chunk: int) -> np.ndarray:
    """Row n: ones on the first n of ``chunk`` frames."""
    return np.tri(chunk + 1, chunk, -1, dtype=np.float32)
