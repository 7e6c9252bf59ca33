"""What lies where in a LeRobot data set: metadata, data files, videos.

Metadata is often wrong about the data (counts, splits, cameras without files): it is read for what
only it can know.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.source import LogSource

INFO = "meta/info.json"
V2_FILE = re.compile(r"episode_(\d+)\.parquet$")


@dataclass
class DataSet:
    """What a set's metadata says, as far as it can be believed."""

    info: dict[str, Any]
    tasks: dict[int, str]
    episodes: dict[int, dict[str, Any]]
    files: list[str]
    v3: bool
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def fps(self) -> float:
        fps = self.info.get("fps")
        if not isinstance(fps, int | float) or not 0 < fps < 1e5:
            raise UnreadableLog(f"{INFO}: fps must be a number above 0, not {fps!r}")
        return float(fps)


def is_data(file: str) -> bool:
    return file.startswith("data/") and file.endswith(".parquet")


def open_set(source: LogSource, root: Path) -> DataSet:
    try:
        info = json.loads((root / INFO).read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise UnreadableLog(f"{INFO} cannot be read ({e})") from e
    if not isinstance(info, dict):
        raise UnreadableLog(f"{INFO} holds no object")
    if info.get("storage_format") not in (None, "parquet"):
        raise UnreadableLog(f"{INFO}: storage_format {info['storage_format']!r} is not known; use parquet")
    files = [f for f in source.files if is_data(f)]
    v3 = not all(V2_FILE.search(f) for f in files)
    found = DataSet(info, {}, {}, files, v3)
    try:
        found.tasks = _tasks(source, root)
        found.episodes = {int(e["episode_index"]): e for e in _episodes(source, root)}
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as e:
        found.damage.append(f"metadata of tasks or episodes is damaged ({type(e).__name__}: {e})"[:300])
    said = str(info.get("codebase_version", ""))
    if said.startswith("v3") != v3:
        found.notes.append(f"says {said or 'no version'} but has the files of {'v3' if v3 else 'v2'}")
    return found


def _tasks(source: LogSource, root: Path) -> dict[int, str]:
    if "meta/tasks.parquet" in source.files:
        table = pq.read_table(root / "meta/tasks.parquet").to_pydict()
        texts = table.get("task") or table.get("__index_level_0__") or []
        return {int(i): str(t) for i, t in zip(table["task_index"], texts, strict=True)}
    return {int(t["task_index"]): str(t["task"]) for t in _lines(source, root, "meta/tasks.jsonl")}


def _episodes(source: LogSource, root: Path) -> Iterator[dict[str, Any]]:
    for file in source.files:
        if file.startswith("meta/episodes/") and file.endswith(".parquet"):
            names = [n for n in pq.read_schema(root / file).names if not n.startswith("stats/")]
            yield from pq.read_table(root / file, columns=names).to_pylist()
    yield from _lines(source, root, "meta/episodes.jsonl")


def _lines(source: LogSource, root: Path, file: str) -> Iterator[dict[str, Any]]:
    if file in source.files:
        for line in (root / file).read_bytes().splitlines():
            if line.strip():
                yield json.loads(line)


def lies_elsewhere(meta: dict[str, Any], file: str) -> bool:
    """Whether the metadata places the episode in another data file than this one."""
    place = (meta.get("data/chunk_index"), meta.get("data/file_index"))
    numbers = [int(n) for n in re.findall(r"(\d+)", file)[-2:]]
    return None not in place and len(numbers) == 2 and list(place) != numbers


def note_videos(found: DataSet, source: LogSource) -> None:
    features = found.info.get("features") or {}
    videos = [k for k, f in features.items() if isinstance(f, dict) and f.get("dtype") == "video"]
    for key in videos:
        files = [f for f in source.files if f.startswith("videos/") and f"/{key}/" in f]
        if not files:
            found.notes.append(f"{key}: declared, but no video file is there")
        elif not found.v3 and len(files) < len(found.files):
            found.notes.append(f"{key}: {len(found.files) - len(files)} of {len(found.files)} videos missing")


def video_of(key: str, number: int, meta: dict[str, Any], source: LogSource) -> tuple[str, float] | None:
    """The episode's video file and where in it the episode starts, in seconds."""
    chunk, index = meta.get(f"videos/{key}/chunk_index"), meta.get(f"videos/{key}/file_index")
    for file in source.files:
        if not file.startswith("videos/") or f"/{key}/" not in file:
            continue
        if file.endswith(f"episode_{number:06d}.mp4"):
            return file, 0.0
        numbers = [int(n) for n in re.findall(r"(\d+)", file.split(key)[-1])[:2]]
        if chunk is not None and numbers == [chunk, index]:
            return file, float(meta.get(f"videos/{key}/from_timestamp") or 0.0)
    return None
