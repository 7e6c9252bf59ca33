"""One episode as a person or a training loop wants it: Arrow tables, numpy arrays, camera frames.

Each part is read when it is first asked for, so that a list of episodes costs one query.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lwd_core.errors import UserError, did_you_mean
from lwd_core.lake.frames import SIGNATURES, extension, read_frame
from lwd_core.storage.location import Location

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

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
    """One attempt at one task by one robot, as the lake holds it.

    ``facts`` is its row of the table ``episodes``: task, instruction, outcome, robot_id, steps and so on.
    """

    def __init__(self, lake: "Lake", facts: Mapping[str, Any]) -> None:
        self._lake = lake
        self.facts: dict[str, Any] = dict(facts)

    def __repr__(self) -> str:
        f = self.facts
        facts = f"{f['task']}, {f['outcome']}, {f['steps']} steps, {f['robot_id']}"
        return f"Episode({f['episode_id'][:12]}: {facts})"

    @property
    def id(self) -> str:
        """Its ``episode_id``."""
        return self.facts["episode_id"]

    @property
    def task(self) -> str:
        """Short name of its task."""
        return self.facts["task"]

    @property
    def outcome(self) -> str:
        """success, failure or unknown."""
        return self.facts["outcome"]

    @cached_property
    def attributes(self) -> dict[str, str]:
        """What else its log said of it."""
        return json.loads(self.facts["attributes"])

    @cached_property
    def steps(self) -> pa.Table:
        """Its rows of the table ``steps``, a control tick each, in order.

        T rows of an episode of T actions, and one more where the state after the last action was recorded.
        """
        return self._rows("steps", "step")

    @cached_property
    def segments(self) -> pa.Table:
        """Spans of steps with one actor, in order: who acted, from which step to which, and why."""
        return self._rows("segments", "segment")

    @cached_property
    def labels(self) -> pa.Table:
        """What labellers and checks say of it, layer by layer."""
        return self._rows("labels", 'layer_id, "check", step')

    def __len__(self) -> int:
        """T, the number of its actions."""
        return self.facts["steps"]

    @property
    def state(self) -> npt.NDArray[np.float32]:
        """Observations (R, S), in the embodiment's units and order; R rows of ``steps``, S dims."""
        return _vectors(self.steps["state"])

    @property
    def action(self) -> npt.NDArray[np.float32]:
        """Executed actions (T, D), in the embodiment's units and order."""
        return _vectors(self.steps["action"])

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras that have frames, sorted."""
        return sorted({frame["camera"] for _, frame in self._shown()})

    def frames(self, camera: str | None = None) -> list[Frame]:
        """The frames of a camera, of all by default, as they were seen; bytes are read when they are used.

        Raises `UserError` for a camera the episode has no frame of.
        """
        seen: dict[tuple[str, int], Frame] = {}
        for step, at in self._shown():
            if camera in (None, at["camera"]):
                frame = Frame(at["camera"], step, at["t_ns"], self._lake.place, at)
                seen.setdefault((at["shard"], at["offset"]), frame)
        if camera is not None and not seen:
            names = self.cameras
            raise UserError(
                f"episode {self.id}: no frame of camera {camera!r}{did_you_mean(camera, names)}; "
                f"it has {', '.join(names) or 'no frames'}"
            )
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

    def _rows(self, table: str, order: str) -> pa.Table:
        here = tuple(self.facts[name] for name in ("day", "site", "episode_id"))
        where = f"day = ? AND site = ? AND episode_id = ? ORDER BY {order}"
        return self._lake.read(table, where=where, params=here)

    def _shown(self) -> list[tuple[int, dict[str, Any]]]:
        steps = self.steps.select(["step", "frames"]).to_pylist()
        return [(row["step"], frame) for row in steps for frame in row["frames"] or ()]


def _vectors(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """Rows that have a vector, as one array."""
    whole = column.combine_chunks()
    lengths = whole.value_lengths().to_numpy(zero_copy_only=False)
    rows = int(np.count_nonzero(lengths))
    return whole.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(rows, -1)
