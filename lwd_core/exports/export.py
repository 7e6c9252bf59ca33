"""Episodes in the formats of others: what an exporter is, and the one way out: `export`.

A package adds one by the entry point ``lwd.exporters``, a class that implements `Exporter`.
"""

import shutil
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError
from lwd_core.exports.choices import MixedCameras, VideoCodec
from lwd_core.lake.pictures import Pictures, size
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake
from lwd_core.plugins import Door, PluginError, theirs
from storage_schemas.embodiment import Embodiment


@dataclass(frozen=True)
class Selection:
    """The episodes to be written, in order of time; iterating gives each one's row of ``episodes``.

    ``videos``: whether camera frames are wanted. ``embodiments``: files in use, by name. ``mixed`` and
    ``codec`` are what a person chose; a format they say nothing to leaves them.
    """

    lake: Lake
    episodes: pa.Table
    embodiments: Mapping[str, Embodiment]
    videos: bool
    progress: Callable[[int, int], None] | None = None
    mixed: MixedCameras = MixedCameras.REFUSE
    codec: VideoCodec = VideoCodec.H264

    def __len__(self) -> int:
        return self.episodes.num_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One at a time: memory needs to hold no more."""
        for i, episode in enumerate(self.episodes.to_pylist()):
            yield episode
            if self.progress:
                self.progress(i + 1, len(self))

    def steps(self, episode: Mapping[str, Any]) -> pa.Table:
        """The T rows of ``steps`` that an episode of T actions has, without its final state."""
        return self.lake.read(
            "steps",
            where="day = ? AND site = ? AND episode_id = ? AND step < ? ORDER BY step",
            params=(episode["day"], episode["site"], episode["episode_id"], episode["steps"]),
        )

    def interventions(self, episode: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Its segments in which a person took over, in order."""
        return self.lake.read(
            "segments",
            columns=("first_step", "last_step", "who", "reason"),
            where="day = ? AND site = ? AND episode_id = ? AND kind = 'intervention' ORDER BY first_step",
            params=(episode["day"], episode["site"], episode["episode_id"]),
        ).to_pylist()

    def sizes(self, episode: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
        """By camera with frames in the episode, sorted: (height, width) of the first that can be shown."""
        if not self.videos:
            return {}
        pictures, shown = Pictures(self.lake.place), shown_frames(self.steps(episode))
        return {
            camera: next((s for f in frames if (s := size(pictures.bytes_of(f)))), UNSHOWN)
            for camera, frames in shown.items()
        }

    def groups(self) -> "dict[Kind, Selection]":
        """The episodes by the cameras they have and their `sizes`, in the order of each kind's first."""
        rows: dict[Kind, list[int]] = {}
        for i, episode in enumerate(self.episodes.to_pylist()):
            rows.setdefault(tuple(self.sizes(episode).items()), []).append(i)
        return {kind: self._part(part) for kind, part in rows.items()}

    def _part(self, rows: Sequence[int]) -> "Selection":
        """Some of the episodes; progress tells of all."""
        told = self.progress
        if told is None:
            return replace(self, episodes=self.episodes.take(rows))
        return replace(
            self,
            episodes=self.episodes.take(rows),
            progress=lambda done, _: told(rows[done - 1] + 1, len(self)),
        )

    def frames(self, steps: pa.Table) -> dict[str, Iterable[bytes]]:
        """By camera the JPEG shown at each of these steps: the newest so far; before the first, the first.

        The same object again while the same frame is shown; empty where no frames are wanted.
        """
        shown = shown_frames(steps) if self.videos else {}
        return {camera: self._bytes(frames) for camera, frames in shown.items()}

    def embodiment(self, whose: str) -> Embodiment:
        """The only one, for a format (``whose``) that holds no two. Raises UserError."""
        names = pc.unique(self.episodes.column("embodiment")).to_pylist()
        if len(names) > 1:
            raise UserError(f"episodes of {', '.join(names)}: {whose} holds one; select `embodiment = '…'`")
        if names[0] not in self.embodiments:
            raise UserError(
                f"embodiment {names[0]}: no such embodiment file; put {names[0]}.yaml beside the others"
            )
        return self.embodiments[names[0]]

    def _bytes(self, frames: Iterable[dict]) -> Iterator[bytes]:
        last, data, pictures = None, b"", Pictures(self.lake.place)
        for frame in frames:
            place = (frame["shard"], frame["offset"])
            if place != last:
                last, data = place, pictures.bytes_of(frame)
            yield data


#: Cameras with (height, width), sorted: what episodes of one group have in common.
Kind = tuple[tuple[str, tuple[int, int]], ...]


def kind_folder(kind: Kind) -> str:
    """``front-640x480+wrist-320x240``"""
    return "+".join(f"{camera}-{width}x{height}" for camera, (height, width) in kind) or "no-cameras"


#: What is taken for the size of a camera none of whose frames can be shown: a card's.
UNSHOWN = (240, 320)


@dataclass(frozen=True)
class Written:
    """What an exporter wrote besides numbers. ``unshown`` frames could not be decoded."""

    cameras: tuple[str, ...] = ()
    unshown: int = 0


class Exporter(Protocol):
    """Writes one format. A member of the door is a class that is made without arguments."""

    def write(self, selected: Selection, folder: Path) -> Written:
        """Write the selected episodes into ``folder``, which is new and empty.

        It gets its name when this returns, so it appears whole or not at all: whatever is raised takes it
        away again. Raises UserError for what the format can't hold, naming the remedy.
        """
        ...


EXPORTERS: Door[Any] = Door(
    "lwd.exporters",
    {
        "lerobot": "lwd_core.exports.lerobot:LeRobotExporter",
        "rlds": "lwd_core.exports.rlds:RldsExporter",
    },
    needs=("write",),
    kind="exporter",
)


@dataclass(frozen=True)
class ExportResult:
    """What was written. ``unshown`` frames could not be decoded: a card stands in their place."""

    folder: Path
    episodes: int
    frames: int
    cameras: tuple[str, ...]
    unshown: int = 0


def export(
    name: str,
    lake: Lake,
    out: Path,
    *,
    embodiments: Mapping[str, Embodiment],
    where: str = "true",
    params: Sequence[object] = (),
    videos: bool = True,
    mixed: MixedCameras = MixedCameras.REFUSE,
    codec: VideoCodec = VideoCodec.H264,
    progress: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Write the episodes for which the SQL condition ``where`` holds to the new folder ``out``.

    ``name``: of the exporter, as in the door ``lwd.exporters``, or ``module:Class``. ``mixed``, ``codec``:
    see `Selection`. The folder appears complete or not at all. Raises UserError.
    """
    exporter: Any = EXPORTERS.made(name)
    with _written(out):
        if out.exists():
            raise UserError(f"{out}: exists already; name a new folder")
    asked = f"{condition(where)} AND steps > 0 ORDER BY start_ns, log_id, index_in_log"
    episodes = lake.read("episodes", where=asked, params=params)
    if episodes.num_rows == 0:
        raise UserError(f"no episode where {where}; look with `lwd sql 'SELECT * FROM episodes'`")
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with _written(out):
            temporary.mkdir(parents=True)
        with theirs():
            written: object = exporter.write(
                Selection(lake, episodes, embodiments, videos, progress, mixed, codec), temporary
            )
        if not isinstance(written, Written):
            raise PluginError(f"exporter {name}: its write gave {type(written).__name__}, no Written")
        lake.tombstones.refuse(episodes["episode_id"].to_pylist(), f"{out}")
        with _written(out):
            temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    steps = pc.sum(episodes["steps"]).as_py()
    return ExportResult(out, episodes.num_rows, steps, written.cameras, written.unshown)


@contextmanager
def _written(out: Path) -> Generator[None, None, None]:
    """Where the folder itself is looked at or made, not what is written in it."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{out}: no folder can be written there ({error}); name another") from error


def shown_frames(steps: pa.Table) -> dict[str, list[dict]]:
    """For each camera the frame shown at every step: the newest so far; before the first, the first."""
    per_step = steps.column("frames").to_pylist()
    cameras = sorted({frame["camera"] for frames in per_step for frame in frames or ()})
    shown: dict[str, list[dict]] = {}
    for camera in cameras:
        here = [next((f for f in frames or () if f["camera"] == camera), None) for frames in per_step]
        now = next(frame for frame in here if frame)
        line = []
        for frame in here:
            now = frame or now
            line.append(now)
        shown[camera] = line
    return shown
