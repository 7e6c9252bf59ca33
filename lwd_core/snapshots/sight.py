"""Which rows can be learned from by what the cameras show there.

A policy that sees acts on fresh pictures of every camera its robot has, or not at all. So a row counts, as
the start of a chunk or as what one leads to, where each camera of the spec that the embodiment file names
shows a picture that is whole, young enough and of the usual size. Why others do not is counted; a camera that
the embodiment has not is no fault, and masked where networks look.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.lake.frames import extension, jpeg_size
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.snapshots.episode_rows import StoredRows
from lwd_core.snapshots.frames import RowFrames
from lwd_core.snapshots.spec import SnapshotSpec

#: Height and width of each camera's pictures, by embodiment.
Sizes = Mapping[str, Mapping[str, tuple[int, int]]]
_END = b"\xff\xd9"
_PADDING = 64  # what some cameras leave behind the end


class Sight:
    """Looks through episodes of a spec with cameras.

    ``sizes`` are what pictures must measure, as far as that is known; the first of each camera decides what
    is not. ``unseen`` counts rows that do not count, by reason. ``strict``: another size is an error.
    """

    def __init__(self, lake: Lake, spec: SnapshotSpec, sizes: Sizes | None = None, *, strict: bool) -> None:
        self._lake, self._spec, self._strict = lake, spec, strict
        self._has: dict[str | None, tuple[str, ...]] = {}
        self.sizes = {name: dict(cameras) for name, cameras in (sizes or {}).items()}
        self._known_by: dict[tuple[str, str], str] = {}
        self.unseen: Counter[str] = Counter()

    def of(self, rows: StoredRows, episode: Mapping[str, Any]) -> StoredRows:
        """The rows with the column ``seen``, which is left out where all are.

        Raises `UserError` for an embodiment that has none of the cameras and, if strict, for a picture of
        another size.
        """
        frames = rows.frames
        if frames is None:
            return rows
        seen = np.ones(len(frames.shard), bool)
        for camera in self._needs(episode):
            seen &= self._seen(frames, self._spec.cameras.index(camera), camera, episode)
        return rows if seen.all() else replace(rows, columns=rows.columns | {"seen": seen})

    def facts(self) -> dict[str, Any]:
        """For a manifest's counts: what pictures measure, and rows that do not count by reason."""
        sizes = {
            e: {c: list(size) for c, size in cameras.items()} for e, cameras in sorted(self.sizes.items())
        }
        facts: dict[str, Any] = {"frame_sizes": sizes} if sizes else {}
        return facts | ({"unseen": dict(sorted(self.unseen.items()))} if self.unseen else {})

    def _needs(self, episode: Mapping[str, Any]) -> tuple[str, ...]:
        """The spec's cameras that its embodiment has; all where its file is not known."""
        digest = episode["embodiment_digest"]
        if digest not in self._has:
            wanted = self._spec.cameras
            try:
                data = self._lake.place.read("embodiments", f"{digest}.json").decode()
            except FileNotFoundError:
                self._has[digest] = wanted
            else:
                names = [camera.name for camera in parse_embodiment(data, str(digest)).cameras]
                self._has[digest] = tuple(camera for camera in wanted if camera in names)
                if not self._has[digest]:
                    raise UserError(
                        f"spec {self._spec.name!r}: embodiment {episode['embodiment']} has none of cameras "
                        f"{', '.join(wanted)}, but {', '.join(names) or 'none at all'}; name its own under "
                        "`cameras`, or others under `embodiments`"
                    )
        return self._has[digest]

    def _seen(self, frames: RowFrames, column: int, camera: str, episode: Mapping[str, Any]) -> np.ndarray:
        """(R,) whether a camera shows what it must; counts why not."""
        there = frames.shard[:, column] >= 0
        self._count(f"camera {camera}: no frame", ~there)
        limit = self._spec.frame_age_ms
        if limit is not None:
            young = frames.age[:, column] <= limit * 1e6
            self._count(f"camera {camera}: a frame older than {limit:g} ms", there & ~young)
            there &= young
        shown = np.flatnonzero(there)
        where = np.stack([frames.shard[shown, column], frames.offset[shown, column]])
        _, first, which = np.unique(where, axis=1, return_index=True, return_inverse=True)
        wrong = self._wrong(frames, shown[first], column, camera, episode)
        for place, why in wrong.items():
            faulty = np.zeros_like(there)
            faulty[shown[which.reshape(-1) == place]] = True
            self._count(f"camera {camera}: {why}", faulty)
            there &= ~faulty
        return there

    def _count(self, why: str, rows: np.ndarray) -> None:
        if count := int(rows.sum()):
            self.unseen[why] += count

    def _wrong(
        self, frames: RowFrames, rows: np.ndarray, column: int, camera: str, episode: Mapping[str, Any]
    ) -> dict[int, str]:
        """What is wrong with the pictures at these rows, by their place among them."""
        wrong: dict[int, str] = {}
        sizes: list[int] = frames.size[rows, column].tolist()
        fs, place = self._lake.place.fs, self._lake.place
        shards: list[int] = np.unique(frames.shard[rows, column]).tolist()
        for number in shards:
            with fs.open(place.path(frames.uris[number]), "rb") as stream:
                for i in np.flatnonzero(frames.shard[rows, column] == number).tolist():
                    stream.seek(int(frames.offset[rows[i], column]))
                    why = self._fault(stream.read(sizes[i]), camera, episode)
                    if why:
                        wrong[i] = why
        return wrong

    def _fault(self, data: bytes, camera: str, episode: Mapping[str, Any]) -> str | None:
        try:
            height, width = jpeg_size(data)
        except ValueError:
            return f"no JPEG, but {extension(data)}"
        if _END not in data[-_PADDING:]:
            return "a JPEG without its end"
        name, size = episode["embodiment"], (height, width)
        usual = self.sizes.setdefault(name, {}).setdefault(camera, size)
        by = self._known_by.setdefault((name, camera), episode["episode_id"])
        if size == usual:
            return None
        said = f"{width}x{height} pixels instead of {usual[1]}x{usual[0]}"
        if self._strict:
            raise UserError(
                f"spec {self._spec.name!r}: camera {camera} of {name} shows {said} in episode "
                f"{episode['episode_id']} (as in {by}); a network must not take one for the other: leave one "
                "out by `where`, `days` or `robots`"
            )
        return said
