"""The ``meta`` folder of a LeRobot v3.0 data set."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.exports.lerobot_columns import Feature
from lwd_core.exports.lerobot_stats import STATISTICS, vector_stats
from lwd_core.exports.lerobot_video import CameraVideo, VideoSpan

DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
DATA_FILE_MB, VIDEO_FILE_MB, CHUNKS_SIZE = 100, 200, 1000
#: What the lake knows of an episode and LeRobot has no place for; stands under ``lwd/``.
FACTS = (
    "episode_id",
    "log_id",
    "robot_id",
    "site",
    "day",
    "embodiment",
    "task",
    "policy_id",
    "source",
    "outcome",
    "outcome_from",
    "end",
    "human_steps",
    "interventions",
    "start_ns",
    "end_ns",
)
#: When people took over, a list an episode: frames from, to (exclusive), who and why.
INTERVENTIONS = {
    "lwd/intervention_from": pa.int64(),
    "lwd/intervention_to": pa.int64(),
    "lwd/intervention_who": pa.string(),
    "lwd/intervention_reason": pa.string(),
}


def video_key(camera: str) -> str:
    """The feature a camera becomes."""
    return f"observation.images.{camera}"


def task_text(episode: Mapping[str, Any]) -> str:
    """LeRobot's task is what the robot was told."""
    return episode["instruction"] or episode["task"]


def episode_row(
    episode: Mapping[str, Any],
    *,
    index: int,
    first: int,
    length: int,
    data_file: int,
    stats: Mapping[str, dict[str, list]],
    spans: Mapping[str, VideoSpan],
    interventions: Sequence[Mapping[str, Any]],
) -> dict[str, object]:
    """One row of ``meta/episodes``."""
    row: dict[str, object] = {
        "episode_index": index,
        "tasks": [task_text(episode)],
        "length": length,
        "dataset_from_index": first,
        "dataset_to_index": first + length,
        "data/chunk_index": 0,
        "data/file_index": data_file,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    for camera, span in spans.items():
        key = f"videos/{video_key(camera)}"
        row |= {f"{key}/chunk_index": 0, f"{key}/file_index": span.file_index}
        row |= {f"{key}/from_timestamp": span.from_timestamp, f"{key}/to_timestamp": span.to_timestamp}
    for name, figures in stats.items():
        row |= {f"stats/{name}/{statistic}": figures[statistic] for statistic in STATISTICS}
    row |= {f"lwd/{fact}": episode[fact] for fact in FACTS}
    # spans of frames, half-open like LeRobot's own
    return row | {
        "lwd/intervention_from": [s["first_step"] for s in interventions],
        "lwd/intervention_to": [min(s["last_step"] + 1, length) for s in interventions],
        "lwd/intervention_who": [s["who"] or "" for s in interventions],
        "lwd/intervention_reason": [s["reason"] or "" for s in interventions],
    }


def write_meta(
    root: Path,
    *,
    robot_type: str,
    fps: int,
    features: Mapping[str, Feature],
    rows: Sequence[dict[str, object]],
    tasks: Mapping[str, int],
    cameras: Mapping[str, CameraVideo],
    camera_stats: Mapping[str, dict[str, list]],
) -> None:
    """Write info.json, stats.json, tasks and episodes over finished data and video files."""
    meta = root / "meta"
    (meta / "episodes/chunk-000").mkdir(parents=True)
    table = pa.Table.from_pylist(list(rows))
    for name, kind in INTERVENTIONS.items():  # where no episode has any, nothing tells the type
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.list_(kind)))
    pq.write_table(table, meta / "episodes/chunk-000/file-000.parquet")
    pq.write_table(_tasks_table(tasks), meta / "tasks.parquet")
    stats = _stats(root, features) | {video_key(c): s for c, s in camera_stats.items()}
    (meta / "stats.json").write_text(json.dumps(stats, indent=1))
    info = {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": len(rows),
        "total_frames": rows[-1]["dataset_to_index"],
        "total_tasks": len(tasks),
        "chunks_size": CHUNKS_SIZE,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{len(rows)}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if cameras else None,
        "features": {**features, **{video_key(c): _video_feature(v, fps) for c, v in cameras.items()}},
    }
    (meta / "info.json").write_text(json.dumps(info, indent=1))


def _stats(root: Path, features: Mapping[str, Feature]) -> dict[str, dict[str, list]]:
    """Exact statistics over all rows, one feature in memory at a time."""
    files = sorted((root / "data").glob("*/*.parquet"))
    stats = {}
    for name in features:
        columns = [pq.read_table(file, columns=[name]).column(name).combine_chunks() for file in files]
        rows = [
            c.flatten().to_numpy(zero_copy_only=False).reshape(len(c), -1)
            if pa.types.is_fixed_size_list(c.type)
            else c.to_numpy(zero_copy_only=False).reshape(-1, 1)
            for c in columns
        ]
        stats[name] = vector_stats(np.concatenate(rows))
    return stats


def _video_feature(video: CameraVideo, fps: int) -> Feature:
    return {
        "dtype": "video",
        "shape": [video.height, video.width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": video.height,
            "video.width": video.width,
            "video.codec": str(video.codec),
            "video.pix_fmt": "yuv420p",
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
            "is_depth_map": False,
        },
    }


def _tasks_table(tasks: Mapping[str, int]) -> pa.Table:
    """What LeRobot reads as a pandas frame whose index is the task's text."""
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": n, "field_name": n, "pandas_type": p, "numpy_type": t, "metadata": None}
            for n, p, t in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
        ],
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
