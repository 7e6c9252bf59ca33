"""The rows of episodes as they stand in the lake, in the columns of ``storage_schemas.snapshot_row``."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.snapshots.frames import RowFrames
from lwd_core.snapshots.rule import REWARD_WORDS, layers_in, parts
from lwd_core.snapshots.select import require_labels
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas import snapshot_row
from storage_schemas.snapshot_row import FromFrames, FromLabels, FromSteps, RowColumn

Episode = Mapping[str, Any]


@dataclass(frozen=True)
class StoredRows:
    """R rows of one episode, T of them with an action.

    columns: by name, (R, …) or (T, …) as described; optional ones only where the lake says something.
    frames: what the spec's cameras show at them, None without cameras.
    """

    columns: dict[str, np.ndarray]
    frames: RowFrames | None

    @property
    def steps(self) -> int:
        """T."""
        return len(self.columns["action"])


def read_rows(
    lake: Lake, spec: SnapshotSpec, episodes: Sequence[Episode], versions: Mapping[str, int]
) -> Iterator[StoredRows]:
    """The rows of these episodes, one by one in the order given; all of them are held in memory once."""
    described = [(column, column.source) for column in snapshot_row.ROW]
    stored = {source.column for _, source in described if isinstance(source, FromSteps)}
    names = ["episode_id", "step", *sorted(stored), *(["frames"] if spec.cameras else [])]
    ids = [e["episode_id"] for e in episodes]
    table = lake.read("steps", columns=names, where="episode_id IN (SELECT unnest(?))", params=[ids],
                      versions=versions).combine_chunks()  # fmt: skip
    place = pc.index_in(table["episode_id"], value_set=pa.array(ids)).to_numpy()
    step = table["step"].to_numpy()
    order = np.lexsort((step, place))
    bounds = np.searchsorted(place[order], np.arange(len(ids) + 1))
    read = {column.name: _reader(column, source, table) for column, source in described
            if isinstance(source, FromSteps)}  # fmt: skip
    told = {column.name: _told(lake, spec, column, source, episodes, versions) for column, source in described
            if isinstance(source, FromLabels)}  # fmt: skip
    shown = pa.concat_arrays(table["frames"].chunks) if spec.cameras and table.num_rows else None
    t_ns = table["t_ns"].to_numpy() if spec.cameras else None
    for i, episode in enumerate(episodes):
        rows = order[bounds[i] : bounds[i + 1]]
        steps = episode["steps"]
        if not np.array_equal(step[rows], np.arange(len(rows))) or len(rows) - steps not in (0, 1):
            raise UserError(
                f"episode {episode['episode_id']}: {len(rows)} rows for {steps} steps; ingest it again"
            )
        columns: dict[str, np.ndarray] = {}
        for column in snapshot_row.ROW:
            if isinstance(column.source, FromFrames):
                continue
            if column.name in told:
                columns[column.name] = told[column.name][i]
                continue
            values = read[column.name].values(rows[:steps] if column.per_action else rows, episode, columns)
            if values is not None:
                columns[column.name] = values
        frames = None
        if shown is not None and t_ns is not None:
            frames = RowFrames.of(shown.take(pa.array(rows)), t_ns[rows], spec.cameras)
        yield StoredRows(columns, frames)


def _reader(column: RowColumn, source: FromSteps, table: pa.Table) -> "_Scalars | _Vectors":
    values = table[source.column]
    return _Vectors(column, values) if column.width else _Scalars(column, source.word, values)


class _Scalars:
    """A column of single values."""

    def __init__(self, column: RowColumn, word: str, values: pa.ChunkedArray) -> None:
        # None: every row says something
        self._said = values.is_valid().to_numpy() if column.optional and values.null_count else None
        if word:
            values = pc.equal(values, word)
        if values.null_count:
            values = values.fill_null(pa.scalar(column.absent).cast(values.type))
        self._values = values.to_numpy().astype(column.type.to_pandas_dtype(), copy=False)

    def values(self, rows: np.ndarray, episode: Episode, _: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Those at ``rows`` (n,); None where none says anything."""
        if self._said is not None and not self._said[rows].any():
            return None
        return self._values[rows]


class _Vectors:
    """A list column as flat values and offsets."""

    def __init__(self, column: RowColumn, lists: pa.ChunkedArray) -> None:
        self._column = column
        whole = pa.concat_arrays(lists.chunks) if lists.num_chunks != 1 else lists.chunk(0)
        self._offsets = whole.offsets.to_numpy()
        flat = whole.values.to_numpy(zero_copy_only=False)
        self._flat = flat.astype(column.type.to_pandas_dtype(), copy=False)

    def values(self, rows: np.ndarray, episode: Episode, read: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The lists at ``rows`` (n,) as (n, width); None where all are empty and may be.

        UserError where their lengths differ.
        """
        begin, end = self._offsets[rows], self._offsets[rows + 1]
        column, lengths = self._column, end - begin
        if column.optional:
            return self._sparse(rows, lengths, episode, read) if lengths.any() else None
        width = int(lengths[0])
        if not np.any(lengths):
            raise UserError(
                f"episode {episode['episode_id']}: it has no {column.name}; name its topic under "
                f"`{column.name}` in the embodiment file {episode['embodiment']} and `lwd logs remap`"
            )
        if width == 0 or np.any(lengths != width):
            raise UserError(
                f"episode {episode['episode_id']}: {column.name} is empty or changes its width; "
                "ingest it again"
            )
        if rows[-1] - rows[0] == len(rows) - 1 and np.all(np.diff(rows) == 1):
            return self._flat[begin[0] : end[-1]].reshape(len(rows), width)
        return self._flat[begin[:, None] + np.arange(width)]

    def _sparse(
        self, rows: np.ndarray, lengths: np.ndarray, episode: Episode, read: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """The lists where there are some, the column's ``absent`` elsewhere."""
        column, said = self._column, lengths > 0
        (width,) = column.shape(read["state"].shape[1], read["action"].shape[1])
        if np.any(lengths[said] != width):
            raise UserError(
                f"episode {episode['episode_id']}: {column.name} is not {width} wide; ingest it again"
            )
        found = np.full((len(rows), width), column.absent, column.type.to_pandas_dtype())
        found[said] = self._flat[self._offsets[rows[said]][:, None] + np.arange(width)]
        return found


def _told(
    lake: Lake,
    spec: SnapshotSpec,
    column: RowColumn,
    source: FromLabels,
    episodes: Sequence[Episode],
    versions: Mapping[str, int],
) -> list[np.ndarray]:
    """What the first label layer that speaks of an episode says of each action (T,), 0 where nothing."""
    values = [np.zeros(e["steps"], column.type.to_pandas_dtype()) for e in episodes]
    waiting = {e["episode_id"]: i for i, e in enumerate(episodes)}
    named = parts(getattr(spec.labels, source.field)) or REWARD_WORDS
    for layer in named:
        if layer in REWARD_WORDS:
            for i in waiting.values():
                values[i][-1] = episodes[i][source.otherwise]
            return values
        for episode_id in _fill(lake, layer, values, waiting, versions):
            del waiting[episode_id]
    require_labels(lake, ", ".join(named), episodes, {e["episode_id"] for e in episodes} - waiting.keys())
    return values


def _fill(
    lake: Lake,
    layer: str,
    values: Sequence[np.ndarray],
    waiting: Mapping[str, int],
    versions: Mapping[str, int],
) -> set[str]:
    """Put what a layer says of these episodes (id: place) into ``values``; the ids it speaks of."""
    found = lake.read("labels", columns=["episode_id", "step", "value"],
                      where=f"{layers_in(layer)} AND episode_id IN (SELECT unnest(?))",
                      params=[list(waiting)], versions=versions).to_pydict()  # fmt: skip
    for episode_id, step, value in zip(found["episode_id"], found["step"], found["value"], strict=True):
        told = values[waiting[episode_id]]
        at = len(told) - 1 if step is None else step
        if not 0 <= at < len(told) or value is None or not math.isfinite(value):
            raise UserError(
                f"label layer {layer}: episode {episode_id} has step {step}, value {value}; "
                f"its actions are 0 to {len(told) - 1}"
            )
        told[at] = value
    return set(found["episode_id"])
