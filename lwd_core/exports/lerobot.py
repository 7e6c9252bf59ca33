"""Export episodes as a LeRobot v3.0 data set.

What the lake knows of an episode as a whole stands in ``meta/episodes`` under ``lwd/…``.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.errors import UserError
from lwd_core.exports import lerobot_columns as columns
from lwd_core.exports.choices import MixedCameras
from lwd_core.exports.export import Kind, Selection, Written, kind_folder
from lwd_core.exports.lerobot_meta import (
    DATA_FILE_MB,
    DATA_PATH,
    VIDEO_FILE_MB,
    episode_row,
    task_text,
    video_key,
    write_meta,
)
from lwd_core.exports.lerobot_stats import ABSENT, frame_stats, merge_stats, vector_stats
from lwd_core.exports.lerobot_video import CameraVideo, VideoSpan
from storage_schemas.embodiment import Embodiment


class LeRobotExporter:
    """Writes a set of one embodiment with a whole control rate; memory holds one episode.

    Where cameras differ between episodes: one set in which an episode stands in black for a camera it lacks,
    and the feature ``present.CAMERA`` says so (``pad``); or a set for each kind, in a folder named after its
    cameras (``group``).
    """

    def write(self, selected: Selection, folder: Path) -> Written:
        """Write the set. Raises UserError for episodes that make no set."""
        embodiment = selected.embodiment("a LeRobot set")
        if embodiment.control_hz != int(embodiment.control_hz):
            raise UserError(
                f"embodiment {embodiment.name}: control_hz {embodiment.control_hz:g}; LeRobot wants a whole "
                "number"
            )
        kinds = selected.groups() if selected.videos and selected.mixed is not MixedCameras.REFUSE else {}
        if selected.mixed is MixedCameras.GROUP and len(kinds) > 1:
            parts = [
                _write(part, folder / kind_folder(kind), embodiment, dict(kind))
                for kind, part in kinds.items()
            ]
            names = dict.fromkeys(camera for part in parts for camera in part.cameras)
            return Written(tuple(names), sum(part.unshown for part in parts))
        return _write(selected, folder, embodiment, _largest(kinds) if kinds else None, mixed=len(kinds) > 1)


def _write(
    selected: Selection,
    folder: Path,
    embodiment: Embodiment,
    sizes: Mapping[str, tuple[int, int]] | None,
    *,
    mixed: bool = False,
) -> Written:
    writer = _Writer(selected, folder, embodiment, sizes, mixed=mixed)
    for episode in selected:
        writer.add(episode)
    writer.finish()
    return Written(tuple(writer.cameras), sum(camera.unshown for camera in writer.cameras.values()))


def _largest(kinds: Iterable[Kind]) -> dict[str, tuple[int, int]]:
    """Every camera of any kind, with the size into which each of its kinds fits."""
    found: dict[str, tuple[int, int]] = {}
    for camera, (height, width) in sorted(part for kind in kinds for part in kind):
        most = found.get(camera, (0, 0))
        found[camera] = (max(height, most[0]), max(width, most[1]))
    return found


class _Writer:
    """Appends episodes one by one; ``finish`` closes the metadata over them.

    ``sizes``: (height, width) of each camera's film; None for what the first episode has. ``mixed``: whether
    an episode may lack some of them.
    """

    def __init__(
        self,
        selected: Selection,
        root: Path,
        embodiment: Embodiment,
        sizes: Mapping[str, tuple[int, int]] | None,
        *,
        mixed: bool,
    ) -> None:
        self._selected, self._root, self._embodiment = selected, root, embodiment
        self._fps = int(embodiment.control_hz)
        self._features = columns.describe(embodiment)
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, object]] = []
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1
        self._camera_stats: dict[str, list[dict[str, list[Any]]]] = {}
        self.cameras = {camera: self._film(camera, size) for camera, size in (sizes or {}).items()}
        self._mixed = mixed
        if mixed:
            self._features = columns.with_presence(self._features, self.cameras)
        self.frames = 0

    def _film(self, camera: str, size: tuple[int, int] | None) -> CameraVideo:
        folder = self._root / "videos" / video_key(camera)
        return CameraVideo(folder, self._fps, VIDEO_FILE_MB * 2**20, self._selected.codec, size)

    def add(self, episode: Mapping[str, Any]) -> None:
        steps = self._selected.steps(episode)
        values = columns.values(
            episode,
            steps,
            self._fps,
            episode_index=len(self._rows),
            first_index=self.frames,
            task_index=self._tasks.setdefault(task_text(episode), len(self._tasks)),
        )
        shown = self._selected.frames(steps)
        if self._mixed:
            values |= columns.presence(self.cameras, shown, steps.num_rows)
        stats = {name: vector_stats(column) for name, column in values.items()}
        self._write_data(values)
        spans, camera_stats = self._write_videos(episode, shown, steps.num_rows)
        stats |= camera_stats
        self._rows.append(
            episode_row(
                episode,
                index=len(self._rows),
                first=self.frames,
                length=steps.num_rows,
                data_file=self._data_file,
                stats=stats,
                spans=spans,
                interventions=self._selected.interventions(episode),
            )
        )
        self.frames += steps.num_rows

    def _write_data(self, values: dict[str, np.ndarray]) -> None:
        table = pa.table({name: columns.arrow(self._features[name], v) for name, v in values.items()})
        if self._data is None or self._data_path().stat().st_size + table.nbytes > DATA_FILE_MB * 2**20:
            if self._data is not None:
                self._data.close()
            self._data_file += 1
            self._data_path().parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(
                self._data_path(), table.schema, compression="snappy", use_dictionary=True
            )
        # One row group an episode: that is what LeRobot's own tools cut by.
        self._data.write_table(table, row_group_size=table.num_rows)

    def _data_path(self) -> Path:
        return self._root / DATA_PATH.format(chunk_index=0, file_index=self._data_file)

    def _write_videos(
        self, episode: Mapping[str, Any], shown: Mapping[str, Iterable[bytes]], length: int
    ) -> tuple[dict[str, VideoSpan], dict[str, dict[str, list[Any]]]]:
        if not self._rows and not self.cameras:
            self.cameras |= {camera: self._film(camera, None) for camera in shown}
        # LeRobot knows no episode without one of its set's cameras.
        missing = self.cameras.keys() ^ shown.keys()
        if missing and not self._mixed:
            raise UserError(
                f"episode {episode['episode_id']}: camera {', '.join(sorted(missing))} is in some episodes "
                "only; choose --cameras pad or group, or leave the videos out (--no-videos)"
            )
        spans: dict[str, VideoSpan] = {}
        stats: dict[str, dict[str, list[Any]]] = {}
        for camera, film in self.cameras.items():
            if camera not in shown:
                spans[camera] = film.add_absent(length)
                stats[video_key(camera)] = ABSENT
                continue
            jpegs = list(shown[camera])
            spans[camera] = film.add_episode(jpegs, length)
            seen = frame_stats(list({id(jpeg): jpeg for jpeg in jpegs}.values()))
            stats[video_key(camera)] = seen
            self._camera_stats.setdefault(camera, []).append(seen)
        return spans, stats

    def finish(self) -> None:
        assert self._data is not None
        self._data.close()
        for video in self.cameras.values():
            video.close()
        write_meta(
            self._root,
            robot_type=self._embodiment.name,
            fps=self._fps,
            features=self._features,
            rows=self._rows,
            tasks=self._tasks,
            cameras=self.cameras,
            camera_stats={camera: merge_stats(parts) for camera, parts in self._camera_stats.items()},
        )
