"""An episode as checks and labels see it: facts, columns by name, frames; read when asked for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError
from lwd_core.storage.location import Location
from storage_schemas.embodiment import Dim, Embodiment
from storage_schemas.tables import STEPS

if TYPE_CHECKING:
    from lwd_core.labels.batches import Batch

_VECTORS = ("state", "action", "proposed")
_OF_EPISODE = ("episode_id", "log_id", "site", "day", "reading")
COLUMNS = tuple(name for name in STEPS.names if name not in _OF_EPISODE)


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
    _batch: "Batch"

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
