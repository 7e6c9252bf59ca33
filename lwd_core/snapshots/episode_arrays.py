"""Many episodes as a few long arrays: the pool that transitions are taken from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from storage_schemas import snapshot_row
from storage_schemas.snapshot import Member
from storage_schemas.snapshot_row import RowColumn, Take
from storage_schemas.vocabulary import EpisodeEnd

#: Zero rows behind the last action, so that a chunk window never runs off the array; spec.chunk is no longer.
PADDING = 1024


@dataclass(frozen=True)
class Rows:
    """N rows of E episodes, one after the other; an episode's row T, if it has one, is its final state.

    columns: those of ``storage_schemas.snapshot_row`` a loader holds, (N, …), by name; ``rows["state"]`` is
    one. Those taken by chunks have ``PADDING`` rows more. In final rows, in dims an episode hasn't, and where
    a sample lacks a column, they hold what it has where it is ``absent``. Per episode (E,): first row, action
    steps T, rows R, terminated, and ``member``, its place in the manifest.
    """

    columns: dict[str, np.ndarray]
    first: np.ndarray
    steps: np.ndarray
    rows: np.ndarray
    terminated: np.ndarray
    member: np.ndarray

    def __len__(self) -> int:
        return len(self.columns["valid"])

    def __getitem__(self, column: str) -> np.ndarray:
        return self.columns[column]


def row_bytes(state_width: int, action_width: int) -> int:
    """Bytes of one row in memory.

    Columns that may be missing don't count: what a seed draws from a streamed set depends on this, and a new
    column must not change it.
    """
    return sum(
        np.dtype(column.type.to_pandas_dtype()).itemsize * math.prod(column.shape(state_width, action_width))
        for column in _held()
        if not column.optional
    )


def allocate(count: int, state_width: int, action_width: int) -> dict[str, np.ndarray]:
    """Unfilled row arrays for ``count`` rows."""
    return {
        column.name: np.empty(
            (count + PADDING * column.takes(Take.CHUNK), *column.shape(state_width, action_width)),
            column.type.to_pandas_dtype(),
        )
        for column in _held()
    }


def fill(arrays: dict[str, np.ndarray], samples: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Copy the tensors of samples into the arrays, one episode after the other."""
    at, held = 0, _held()
    for tensors in samples:
        count = len(tensors["valid"])
        for column in held:
            source, target = tensors.get(column.name), arrays[column.name][at : at + count]
            if source is None:
                target[...] = column.absent
            elif source.shape == target.shape:
                target[...] = source
            else:
                target[len(source) :] = column.absent
                if source.ndim == 2:
                    target[:, source.shape[1] :] = column.absent
                    target = target[:, : source.shape[1]]
                target[: len(source)] = source
        at += count
    for column in held:
        arrays[column.name][at:] = column.absent


def _held() -> list[RowColumn]:
    return [column for column in snapshot_row.ROW if column.held]


def assemble(arrays: dict[str, np.ndarray], members: Sequence[Member], places: Sequence[int]) -> Rows:
    """Rows over filled arrays; ``places`` are the members' indices in the manifest."""
    rows = np.array([m.rows for m in members], np.int64)
    return Rows(
        arrays,
        first=np.cumsum(rows) - rows,
        steps=np.array([m.steps for m in members], np.int64),
        rows=rows,
        terminated=np.array([m.end == EpisodeEnd.TERMINATED for m in members], bool),
        member=np.asarray(places, np.int64),
    )
