"""What lies where in a LeRobot data set: metadata, data files, videos.

Metadata is often wrong about the data (counts, splits, cameras without files): it is read for what
only it can know.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.folders import LEROBOT as INFO
from lwd_core.logs.formats import is_lerobot_data
from lwd_core.logs.notes import Notes
from lwd_core.logs.source import LogSource

V2_FILE = re.compile(r"episode_(\d+)\.parquet$")
DAMAGED = (pa.ArrowException, OSError, ValueError)
_LOOKED_AT = 64  # data files whose columns are compared for what the set's columns are


@dataclass
class DataSet:
    """What a set's metadata says, as far as it can be believed."""

    info: dict[str, Any]
    tasks: dict[int, str]
    episodes: dict[int, dict[str, Any]]
    files: list[str]
    v3: bool
    damage: Notes = field(default_factory=Notes)
    notes: Notes = field(default_factory=Notes)

    @property
    def fps(self) -> float:
        fps = self.info.get("fps")
        if not isinstance(fps, int | float) or not 0 < fps < 1e5:
            raise UnreadableLog(f"{INFO}: fps must be a number above 0, not {fps!r}")
        return float(fps)

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """Features by name, as info.json describes them."""
        features = self.info.get("features")
        return (
            {k: f for k, f in features.items() if isinstance(f, dict)} if isinstance(features, dict) else {}
        )


def open_set(source: LogSource, root: Path) -> DataSet:
    """A set's metadata. Raises `UnreadableLog` where even info.json cannot be read."""
    try:
        info = json.loads((root / INFO).read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise UnreadableLog(f"{INFO} cannot be read ({e})") from e
    if not isinstance(info, dict):
        raise UnreadableLog(f"{INFO} holds no object")
    if info.get("storage_format") not in (None, "parquet"):
        raise UnreadableLog(f"{INFO}: storage_format {info['storage_format']!r} is not known; use parquet")
    files = [f for f in source.files if is_lerobot_data(f)]
    v3 = 2 * sum(bool(V2_FILE.search(f)) for f in files) < len(files)
    found = DataSet(info, {}, {}, files, v3)
    for kind, load in (("tasks", _load_tasks), ("episodes", _load_episodes)):
        try:
            load(found, source, root)
        except (*DAMAGED, KeyError, TypeError) as e:
            found.damage.add(f"metadata of {kind} is damaged ({type(e).__name__}: {e})"[:300])
    said = str(info.get("codebase_version", ""))
    if said.startswith("v3") != v3:
        found.notes.add(f"says {said or 'no version'} but has the files of {'v3' if v3 else 'v2'}")
    return found


def _load_tasks(found: DataSet, source: LogSource, root: Path) -> None:
    if "meta/tasks.parquet" in source.files:
        table = pq.read_table(root / "meta/tasks.parquet").to_pydict()
        texts = table.get("task") or table.get("__index_level_0__") or []
        found.tasks = {int(i): str(t) for i, t in zip(table["task_index"], texts, strict=True)}
    else:
        lines = _lines(source, root, "meta/tasks.jsonl")
        found.tasks = {int(t["task_index"]): str(t["task"]) for t in lines}


def _load_episodes(found: DataSet, source: LogSource, root: Path) -> None:
    for file in source.files:
        if file.startswith("meta/episodes/") and file.endswith(".parquet"):
            names = [n for n in pq.read_schema(root / file).names if not n.startswith("stats/")]
            rows = pq.read_table(root / file, columns=names).to_pylist()
            found.episodes |= {int(e["episode_index"]): e for e in rows}
    lines = _lines(source, root, "meta/episodes.jsonl")
    found.episodes |= {int(e["episode_index"]): e for e in lines}


def _lines(source: LogSource, root: Path, file: str) -> Iterator[dict[str, Any]]:
    if file in source.files:
        for line in (root / file).read_bytes().splitlines():
            if line.strip():
                yield json.loads(line)


def usual_schema(found: DataSet, root: Path) -> tuple[str, pa.Schema]:
    """The file and schema that stand for the set's: columns as most of its files have them.

    Raises `UnreadableLog` where no file can be read.
    """
    met: list[tuple[str, pa.Schema]] = []
    for file in found.files:
        try:
            schema = pq.read_schema(root / file)
            _ = schema.names  # damaged ones fail only when asked for
            met.append((file, schema))
        except DAMAGED:
            continue
        if len(met) == _LOOKED_AT:
            break
    if not met:
        raise UnreadableLog("no data file of the set can be read")
    usual, _ = Counter(frozenset(schema.names) for _, schema in met).most_common(1)[0]
    return next(m for m in met if frozenset(m[1].names) == usual)


def lies_elsewhere(meta: dict[str, Any], file: str) -> bool:
    """Whether the metadata places the episode in another data file than this one."""
    place = (meta.get("data/chunk_index"), meta.get("data/file_index"))
    numbers = [int(n) for n in re.findall(r"(\d+)", file)[-2:]]
    return None not in place and len(numbers) == 2 and list(place) != numbers


def videos(found: DataSet) -> list[str]:
    """Features that are videos."""
    return [name for name, f in found.features.items() if f.get("dtype") == "video"]


def has_video(key: str, source: LogSource) -> bool:
    """Whether the set holds any video of this feature."""
    return any(f.startswith("videos/") and f"/{key}/" in f for f in source.files)


def note_videos(found: DataSet, source: LogSource) -> None:
    for key in videos(found):
        files = [f for f in source.files if f.startswith("videos/") and f"/{key}/" in f]
        expected = sum(bool(V2_FILE.search(f)) for f in found.files)
        if not files:
            found.notes.add(f"{key}: declared, but no video file is there")
        elif not found.v3 and len(files) < expected:
            found.notes.add(f"{key}: {expected - len(files)} of {expected} videos missing")


def video_of(key: str, number: int, meta: dict[str, Any], source: LogSource) -> tuple[str, float] | None:
    """The episode's video file and where in it the episode starts, in seconds."""
    chunk, index = meta.get(f"videos/{key}/chunk_index"), meta.get(f"videos/{key}/file_index")
    for file in source.files:
        if not file.startswith("videos/") or f"/{key}/" not in file:
            continue
        if file.endswith(f"episode_{number:06d}.mp4"):
            return file, 0.0
        numbers = [int(n) for n in re.findall(r"(\d+)", file.split(f"/{key}/")[-1])[:2]]
        if chunk is not None and numbers == [chunk, index]:
            return file, float(meta.get(f"videos/{key}/from_timestamp") or 0.0)
    return None
