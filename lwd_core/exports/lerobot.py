"""Export episodes as a LeRobot v3.0 data set.

What the lake knows of an episode as a whole stands in ``meta/episodes`` under ``lwd/…``.
"""

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lwd_core.errors import UserError
from lwd_core.exports import lerobot_columns as columns
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
from lwd_core.exports.lerobot_video import CameraVideo, VideoSpan, jpegs_of, shown_frames
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Embodiment


@dataclass(frozen=True)
class ExportResult:
    """What was written. ``unshown`` frames could not be decoded: a card stands in their place."""

    folder: Path
    episodes: int
    frames: int
    cameras: tuple[str, ...]
    unshown: int = 0


def export_lerobot(
    lake: Lake,
    out: Path,
    *,
    embodiments: Mapping[str, Embodiment],
    where: str = "true",
    params: Sequence[object] = (),
    videos: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Write the episodes for which the SQL condition ``where`` holds to the new folder ``out``.

    All of one embodiment with a whole control rate. The folder appears complete or not at all;
    memory holds one episode. Raises UserError.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; name a new folder")
    condition = f"({where}) AND steps > 0 ORDER BY start_ns, log_id, index_in_log"
    episodes = lake.read("episodes", where=condition, params=params)
    if episodes.num_rows == 0:
        raise UserError(f"no episode where {where}; look with `lwd sql 'SELECT * FROM episodes'`")
    embodiment = _embodiment(episodes, embodiments)
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        writer = _Writer(lake, temporary, embodiment, videos)
        for i, episode in enumerate(episodes.to_pylist()):
            writer.add(episode)
            if progress:
                progress(i + 1, episodes.num_rows)
        writer.finish()
        lake.tombstones.refuse(episodes["episode_id"].to_pylist(), f"{out}")
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    unshown = sum(camera.unshown for camera in writer.cameras.values())
    return ExportResult(out, episodes.num_rows, writer.frames, tuple(writer.cameras), unshown)


def _embodiment(episodes: pa.Table, embodiments: Mapping[str, Embodiment]) -> Embodiment:
    names = pc.unique(episodes.column("embodiment")).to_pylist()
    if len(names) > 1:
        raise UserError(f"episodes of {', '.join(names)}: a LeRobot set holds one; select `embodiment = '…'`")
    if names[0] not in embodiments:
        raise UserError(
            f"embodiment {names[0]}: no such embodiment file; put {names[0]}.yaml beside the others"
        )
    embodiment = embodiments[names[0]]
    if embodiment.control_hz != int(embodiment.control_hz):
        raise UserError(
            f"embodiment {names[0]}: control_hz {embodiment.control_hz:g}; LeRobot wants a whole number"
        )
    return embodiment


class _Writer:
    """Appends episodes one by one; ``finish`` closes the metadata over them."""

    def __init__(self, lake: Lake, root: Path, embodiment: Embodiment, videos: bool) -> None:
        self._lake, self._root, self._embodiment, self._videos = lake, root, embodiment, videos
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
        steps = self._lake.read(
            "steps",
            where="day = ? AND site = ? AND episode_id = ? AND step < ? ORDER BY step",
            params=(episode["day"], episode["site"], episode["episode_id"], episode["steps"]),
        )
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
        spans: dict[str, VideoSpan] = {}
        if self._videos:
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
        shown = shown_frames(steps)
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
            jpegs = list(jpegs_of(self._lake, frames))
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
