"""One episode: facts, columns by name as numpy, Arrow tables, camera frames; read when asked for.

A list of episodes so costs one query, and whoever reads many gives them a common ``column``.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError, suggest
from lwd_core.lake.frames import SIGNATURES, extension, read_frame
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.storage.location import Location
from storage_schemas.embodiment import Dim, Embodiment
from storage_schemas.tables import STEPS

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

_VECTORS = ("state", "action", "proposed")
_OF_EPISODE = ("episode_id", "log_id", "site", "day", "reading")
COLUMNS = tuple(name for name in STEPS.names if name not in _OF_EPISODE)
_MEDIA = {"jpg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True)
class Frame:
    """One camera frame, as the robot sent it; a notebook shows it as a picture.

    ``step`` is the first tick that saw it, ``t_ns`` its own time, ns since epoch.
    """

    camera: str
    step: int
    t_ns: int
    place: Location = field(repr=False)
    at: Mapping[str, Any] = field(repr=False)

    @cached_property
    def data(self) -> bytes:
        """The encoded bytes: JPEG, PNG or WebP. ``PIL.Image.open(io.BytesIO(frame.data))`` opens them."""
        return read_frame(self.place, self.at)

    @property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """Pixels (height, width, 3) u8, RGB. Raises `UserError` where the bytes are damaged."""
        from lwd_core.lake.pictures import decoded  # decoders are costly to load

        pixels = decoded(self.data)
        if pixels is None:
            raise UserError(
                f"frame of {self.camera} at step {self.step}: {len(self.data)} bytes that are no picture "
                f"({', '.join(SIGNATURES.values())}); `lwd doctor` names what is damaged"
            )
        return pixels

    def _repr_mimebundle_(self, **_asked: Any) -> dict[str, Any]:
        media = _MEDIA.get(extension(self.data))
        return {media: self.data, "text/plain": repr(self)} if media else {"text/plain": repr(self)}


class Episode:
    """One attempt at one task by one robot. ``episode[name]`` is a column of its steps, as numpy.

    ``len(episode)`` is T, the number of its actions. ``episode["state"]`` is (R, S) f32, where R is T, or
    T + 1 if the state after the last action was recorded; like it ``t_ns`` (R,) i64, ``valid``, ``gap`` (R,)
    bool and the other columns of the table `steps`. ``action`` and ``proposed`` are (T, D) f32, NaN where
    nothing was proposed. ``episode["state.NAME"]`` is one dim by the embodiment file's name for it.

    ``facts`` is its row of the table ``episodes``: task, instruction, outcome, robot_id and so on.
    """

    def __init__(
        self,
        lake: "Lake",
        facts: Mapping[str, Any],
        embodiment: Embodiment | None = None,
        column: Callable[[str], pa.ChunkedArray] | None = None,
    ) -> None:
        self._lake, self._known, self._column = lake, embodiment, column or self._of_steps
        self.facts: dict[str, Any] = dict(facts)

    def __repr__(self) -> str:
        f = self.facts
        facts = f"{f['task']}, {f['outcome']}, {f['steps']} steps, {f['robot_id']}"
        return f"Episode({f['episode_id'][:12]}: {facts})"

    def __len__(self) -> int:
        return self.facts["steps"]

    @property
    def id(self) -> str:
        """Its ``episode_id``."""
        return self.facts["episode_id"]

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
        """Everything else its log said of it."""
        return json.loads(self.facts["attributes"])

    @cached_property
    def embodiment(self) -> Embodiment | None:
        """What its robot type measures and does, as its rows were read by; None where that isn't known."""
        digest = self.facts.get("embodiment_digest")
        if self._known or not digest:
            return self._known
        try:
            return parse_embodiment(self._lake.place.read("embodiments", f"{digest}.json").decode(), digest)
        except FileNotFoundError:
            return None

    def __getitem__(self, name: str) -> np.ndarray:
        """A column, or one dim of ``state``, ``action`` or ``proposed``. Raises `UserError`."""
        column, _, dim = name.partition(".")
        if column not in COLUMNS or (dim and column not in _VECTORS):
            raise UserError(f"episode[{name!r}]: no such column{suggest(column, COLUMNS)}")
        rows = self._column(column)
        if column in ("action", "proposed"):
            rows = rows.slice(0, len(self))
        if column not in _VECTORS:
            return rows.to_numpy()
        values = _matrix(rows, column)
        return values[:, self._place(column, dim, values.shape[1])] if dim else values

    @cached_property
    def steps(self) -> pa.Table:
        """Its rows of the table ``steps``, a control tick each, in order."""
        return self._rows("steps", "step")

    @cached_property
    def segments(self) -> pa.Table:
        """Spans of steps with one actor, in order: who acted, from which step to which, and why."""
        return self._rows("segments", "segment")

    @cached_property
    def labels(self) -> pa.Table:
        """What checks, models and people say of it, layer by layer, but for what somebody replaced since."""
        return self._rows("labels", 'layer_id, "check", step', "replaced_ns IS NULL")

    @property
    def state(self) -> npt.NDArray[np.float32]:
        """Observations (R, S), in the embodiment's units and order."""
        return self["state"]

    @property
    def action(self) -> npt.NDArray[np.float32]:
        """Executed actions (T, D), in the embodiment's units and order."""
        return self["action"]

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras that have frames, sorted."""
        return sorted({frame["camera"] for _, frame in self._shown()})

    def frames(self, camera: str | None = None) -> "list[Frame]":
        """The frames of a camera, of all by default, as they were seen; bytes are read when they are used.

        Raises `UserError` for a camera the episode has no frame of.
        """
        seen: dict[tuple[str, int], Frame] = {}
        for step, at in self._shown():
            if camera in (None, at["camera"]) and (place := (at["shard"], at["offset"])) not in seen:
                seen[place] = Frame(at["camera"], step, at["t_ns"], self._lake.place, at)
        if camera is not None and not seen:
            raise UserError(f"no frame of camera {camera!r}{suggest(camera, self.cameras)}")
        return list(seen.values())

    @cached_property
    def log_uri(self) -> str | None:
        """Where the raw log it came from lies; a path within the landing zone, or a full address."""
        uris = self._lake.read(
            "logs",
            columns=["uri"],
            where="log_id = ? AND state NOT IN ('duplicate', 'superseded')",
            params=(self.facts["log_id"],),
        )
        return uris.column("uri")[0].as_py() if uris.num_rows else None

    def _rows(self, table: str, order: str, condition: str = "true") -> pa.Table:
        here = tuple(self.facts[name] for name in ("day", "site", "episode_id"))
        where = f"day = ? AND site = ? AND episode_id = ? AND {condition} ORDER BY {order}"
        return self._lake.read(table, where=where, params=here)

    def _of_steps(self, name: str) -> pa.ChunkedArray:
        return self.steps[name]

    def _shown(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each camera's frame at each step."""
        for step, frames in enumerate(self._column("frames").to_pylist()):
            for frame in frames or ():
                yield step, frame

    def _place(self, column: str, dim: str, width: int) -> int:
        dims: Sequence[Dim] = ()
        if self.embodiment:
            dims = self.embodiment.state_dims if column == "state" else self.embodiment.action_dims
        names = [d.name for d in dims]
        if len(names) != width or names.count(dim) != 1:
            known = suggest(dim, names) if len(names) == width else "; its embodiment names no dims"
            raise UserError(
                f"episode[{column + '.' + dim!r}]: {names.count(dim)} of {width} dims are called so"
                f"{known}; episode[{column!r}][:, number] takes one by its number"
            )
        return names.index(dim)


def _matrix(rows: pa.ChunkedArray, name: str) -> npt.NDArray[np.float32]:
    """A column of lists of one width as (rows, width) f32; rows that are null are NaN. Raises `UserError`."""
    widths = pc.unique(pc.list_value_length(rows).drop_null()).to_pylist()
    if len(widths) > 1:
        raise UserError(f"column {name} changes its width, {widths[0]} to {widths[1]}; ingest the log again")
    width = widths[0] if widths else 0
    found = np.full((len(rows), width), np.nan, np.float32)
    told = pc.is_valid(rows).to_numpy()
    found[told] = pc.list_flatten(rows).to_numpy().reshape(-1, width) if width else 0
    return found
