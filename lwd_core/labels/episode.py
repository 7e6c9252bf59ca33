"""An episode as checks and labels see it: facts, columns by name, frames; read when asked for.

Episodes are read many at a time: the first that asks for a column reads it for all of its batch.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import StorageError, UserError
from lwd_core.storage.location import Location
from storage_schemas.embodiment import Dim, Embodiment
from storage_schemas.tables import EPISODES, STEPS

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

#: Episodes and steps read at a time: memory is bounded by these, not by the lake.
EPISODES_AT_ONCE, STEPS_AT_ONCE = 1024, 100_000
#: Episodes of the first batch, and how long a batch should take.
FIRST_EPISODES, MOMENT_S = 32, 1.0
_VECTORS = ("state", "action", "proposed")
_OF_EPISODE = ("episode_id", "log_id", "site", "day", "reading")
COLUMNS = tuple(name for name in STEPS.names if name not in _OF_EPISODE)

Answer = TypeVar("Answer")


class Moved(Exception):
    """The versions a batch was read at are gone; read it again."""


@dataclass(frozen=True)
class Frame:
    """A camera frame. ``step`` is the first that shows it, ``t_ns`` its own time, ns since epoch."""

    camera: str
    step: int
    t_ns: int
    place: Location = field(repr=False)
    at: Mapping[str, Any] = field(repr=False)

    @property
    def rgb(self) -> np.ndarray:
        """Pixels, (height, width, 3) u8. Raises `UserError` where the frame is damaged."""
        from lwd_core.lake.pictures import Pictures  # decoders are costly to load

        pictures = Pictures(self.place)
        pixels = pictures.pixels(pictures.bytes_of(self.at))
        if pixels is None:
            raise UserError(f"camera {self.camera}: the frame of step {self.step} is damaged")
        return pixels


@dataclass(frozen=True, eq=False)
class Episode:
    """One attempt at one task. ``episode[name]`` is a column of its steps; ``len(episode)`` counts them.

    Columns, of T steps: ``state`` (T or T+1, S) f32, with the final state where one was recorded, and like it
    ``t_ns`` i64, ``valid``, ``gap`` bool and the others of the table `steps`; ``action`` and ``proposed``
    (T, D) f32, NaN where nothing was proposed; ``frames`` lists of where the bytes lie. ``state.NAME`` and
    ``action.NAME`` are single dims by the names of the embodiment file.
    """

    id: str
    steps: int
    facts: Mapping[str, Any]
    embodiment: Embodiment | None
    _batch: "_Batch"

    def __len__(self) -> int:
        return self.steps

    @property
    def task(self) -> str:
        """Short name of the task."""
        return self.facts["task"]

    @property
    def instruction(self) -> str:
        """What the robot was told."""
        return self.facts["instruction"]

    @property
    def outcome(self) -> str:
        """success, failure or unknown."""
        return self.facts["outcome"]

    @property
    def fps(self) -> float:
        """Control rate, Hz."""
        return self.facts["control_hz"]

    @cached_property
    def attributes(self) -> dict[str, str]:
        """Everything else the log said of the episode."""
        return json.loads(self.facts["attributes"])

    def __getitem__(self, name: str) -> np.ndarray:
        """A column, or one dim of ``state``, ``action`` or ``proposed``. Raises `UserError`."""
        column, _, dim = name.partition(".")
        if column not in COLUMNS or (dim and column not in _VECTORS):
            raise UserError(f"episode[{name!r}]: no such column; there are {', '.join(COLUMNS)}")
        values = self._column(column)
        return values[:, self._place(column, dim, values.shape[1])] if dim else values

    def _column(self, name: str) -> np.ndarray:
        rows = self._batch.column(name, self.id)
        if name in ("action", "proposed"):
            rows = rows.slice(0, self.steps)
        if name in _VECTORS:
            return matrix(rows, name)
        return _listed(rows) if name == "frames" else rows.to_numpy()

    def _place(self, column: str, dim: str, width: int) -> int:
        dims: Sequence[Dim] = ()
        if self.embodiment:
            dims = self.embodiment.state_dims if column == "state" else self.embodiment.action_dims
        name, names = f"{column}.{dim}", [d.name for d in dims]
        if len(names) != width or names.count(dim) != 1:
            known = f"they are {', '.join(names)}" if len(names) == width else "its embodiment names no dims"
            raise UserError(
                f"episode[{name!r}]: {names.count(dim)} of {width} dims have that name, {known}; "
                f"episode[{column!r}][:, number] takes one by its number"
            )
        return names.index(dim)

    @property
    def state(self) -> np.ndarray:
        """``episode["state"]``."""
        return self["state"]

    @property
    def action(self) -> np.ndarray:
        """``episode["action"]``."""
        return self["action"]

    @property
    def cameras(self) -> list[str]:
        """Cameras that have frames."""
        return sorted({frame.camera for frame in self._frames()})

    def frames(self, camera: str) -> list[Frame]:
        """Every frame of a camera once, by the step that first shows it; decoded when asked for.

        Raises `UserError` for a camera the episode has no frame of.
        """
        found = [frame for frame in self._frames() if frame.camera == camera]
        if not found:
            raise UserError(f"no frame of camera {camera!r}; there are {', '.join(self.cameras) or 'none'}")
        return found

    def _frames(self) -> list[Frame]:
        seen: dict[tuple[str, int], Frame] = {}
        for step, shown in enumerate(self["frames"]):
            for at in shown or ():
                frame = Frame(at["camera"], step, at["t_ns"], self._batch.lake.place, at)
                seen.setdefault((at["shard"], at["offset"]), frame)
        return list(seen.values())


def each_batch(
    lake: "Lake",
    wanted: pa.Table,
    embodiments: Mapping[str, Embodiment],
    answer: Callable[[list[Episode]], Answer],
) -> Iterator[Answer]:
    """What ``answer`` makes of episodes, many at a time. ``wanted``: episode_id, day, site, steps.

    An episode that is gone meanwhile is passed over. ``answer`` is asked again where an erasure takes
    away what was read. A batch holds as many as take a moment, so that something is there soon.
    """
    ends = np.cumsum(wanted.column("steps").to_numpy())
    first, size, asked = 0, FIRST_EPISODES, set[str]()
    while first < wanted.num_rows:
        before = ends[first - 1] if first else 0
        end = int(np.searchsorted(ends, before + STEPS_AT_ONCE, side="right"))
        end = min(max(end, first + 1), first + size)
        began = time.monotonic()
        try:
            found = answer(_Batch(lake, wanted.slice(first, end - first), asked).episodes(embodiments))
        except Moved:
            continue
        yield found
        first, took = end, time.monotonic() - began
        if took < MOMENT_S:
            size = min(2 * size, EPISODES_AT_ONCE)
        elif took > 4 * MOMENT_S:
            size = max(size // 2, 1)


class _Batch:
    """``asked`` are the columns that batches before were asked for: they are read together."""

    def __init__(self, lake: "Lake", wanted: pa.Table, asked: set[str]) -> None:
        self.lake, self._asked = lake, asked
        self._versions = {name: v for name in ("episodes", "steps") if (v := lake.version(name)) is not None}
        self._where, self._params = [], []
        for name in ("day", "site", "episode_id"):
            values = pc.unique(wanted.column(name)).to_pylist()
            self._where.append(f"{name} IN ({', '.join('?' * len(values))})")
            self._params += values
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._bounds: dict[str, tuple[int, int]] = {}

    def episodes(self, embodiments: Mapping[str, Embodiment]) -> list[Episode]:
        facts = self._read("episodes", EPISODES.names, "episode_id").to_pylist()
        return [
            Episode(row["episode_id"], row["steps"], row, embodiments.get(row["embodiment"]), self)
            for row in facts
        ]

    def column(self, name: str, episode_id: str) -> pa.ChunkedArray:
        if name not in self._columns:
            self._asked |= {name} - {"frames"}  # the largest of all, and often asked of a few only
            names = [name, *sorted(self._asked - self._columns.keys() - {name})]
            rows = self._read("steps", ("episode_id", *names), "episode_id, step")
            self._columns |= dict(zip(names, rows.columns[1:], strict=True))
            if not self._bounds:
                runs = pc.run_end_encode(rows.column(0).combine_chunks())
                ends = runs.run_ends.to_pylist()
                self._bounds = dict(
                    zip(runs.values.to_pylist(), zip([0, *ends], ends, strict=False), strict=True)
                )
        first, end = self._bounds.get(episode_id, (0, 0))
        return self._columns[name].slice(first, end - first)

    def _read(self, table: str, columns: Sequence[str], order: str) -> pa.Table:
        from lwd_core.lake.delta import VersionGone

        where = f"{' AND '.join(self._where)} ORDER BY {order}"
        try:
            return self.lake.read(
                table, columns=columns, where=where, params=self._params, versions=self._versions
            )
        except (VersionGone, StorageError) as error:
            if any(self.lake.version(name) != version for name, version in self._versions.items()):
                raise Moved from error
            raise


def matrix(rows: pa.ChunkedArray, name: str) -> np.ndarray:
    """A column of lists of one width as (rows, width) f32; rows that are null are NaN. Raises `UserError`."""
    widths = pc.unique(pc.list_value_length(rows).drop_null()).to_pylist()
    if len(widths) > 1:
        raise UserError(f"column {name} changes its width, {widths[0]} to {widths[1]}; ingest the log again")
    width = widths[0] if widths else 0
    found = np.full((len(rows), width), np.nan, np.float32)
    told = pc.is_valid(rows).to_numpy()
    found[told] = pc.list_flatten(rows).to_numpy().reshape(-1, width) if width else 0
    return found


def _listed(rows: pa.ChunkedArray) -> np.ndarray:
    """A column of lists as an array (rows,) of them."""
    found = np.empty(len(rows), object)
    found[:] = rows.to_pylist()
    return found
