"""Export episodes as a LeRobot v3.0 data set.

What the lake knows of an episode as a whole stands in ``meta/episodes`` under ``lwd/…``.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.errors import UserError
from lwd_core.exports import lerobot_columns as columns
from lwd_core.exports.export import Selection, Written
from lwd_core.exports.lerobot_meta import (
    DATA_FILE_MB,
    DATA_PATH,
    VIDEO_FILE_MB,
    episode_row,
    task_text,
    video_key,
    write_meta,
)
from lwd_core.exports.lerobot_stats import frame_stats, merge_stats, vector_stats
from lwd_core.exports.lerobot_video import CameraVideo, VideoSpan
from storage_schemas.embodiment import Embodiment


class LeRobotExporter:
    """Writes a set of one embodiment with a whole control rate; memory holds one episode."""

    def write(self, selected: Selection, folder: Path) -> Written:
        """Write the set. Raises UserError for episodes that make no set."""
        embodiment = selected.embodiment("a LeRobot set")
        if embodiment.control_hz != int(embodiment.control_hz):
            raise UserError(
                f"embodiment {embodiment.name}: control_hz {embodiment.control_hz:g}; LeRobot wants a whole "
                "number"
            )
        writer = _Writer(selected, folder, embodiment)
        for episode in selected:
            writer.add(episode)
        writer.finish()
        unshown = sum(camera.unshown for camera in writer.cameras.values())
        return Written(tuple(writer.cameras), unshown)


class _Writer:
    """Appends episodes one by one; ``finish`` closes the metadata over them."""

    def __init__(self, selected: Selection, root: Path, embodiment: Embodiment) -> None:
        self._selected, self._root, self._embodiment = selected, root, embodiment
        self._fps = int(embodiment.control_hz)
        self._features = columns.describe(embodiment)
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, object]] = []
        self._data: pq.ParquetWriter | None = None
        self._data_file = -1
        self._camera_stats: dict[str, list[dict[str, list]]] = {}
        self.cameras: dict[str, CameraVideo] = {}
        self.frames = 0

    def add(self, episode: dict) -> None:
        steps = self._selected.steps(episode)
        values = columns.values(
            episode,
            steps,
            self._fps,
            episode_index=len(self._rows),
            first_index=self.frames,
            task_index=self._tasks.setdefault(task_text(episode), len(self._tasks)),
        )
        stats = {name: vector_stats(column) for name, column in values.items()}
        self._write_data(values)
        spans, camera_stats = self._write_videos(episode, steps)
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
        self, episode: dict, steps: pa.Table
    ) -> tuple[dict[str, VideoSpan], dict[str, dict[str, list]]]:
        shown = self._selected.frames(steps)
        if not self._rows:
            for camera in shown:
                folder = self._root / "videos" / video_key(camera)
                self.cameras[camera] = CameraVideo(folder, self._fps, VIDEO_FILE_MB * 2**20)
        # LeRobot knows no episode without one of its set's cameras.
        if missing := self.cameras.keys() ^ shown.keys():
            raise UserError(
                f"episode {episode['episode_id']}: camera {', '.join(sorted(missing))} is in some episodes "
                "only; select robots with the same cameras or leave the videos out (--no-videos)"
            )
        spans, stats = {}, {}
        for camera, frames in shown.items():
            jpegs = list(frames)
            spans[camera] = self.cameras[camera].add_episode(jpegs, steps.num_rows)
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
