"""LeRobot data sets, v2.0, v2.1 and v3.0, told apart by their files.

Metadata is often wrong about the data (counts, splits, cameras without files): the rows are believed.
Videos are read only for cameras the embodiment names, see `lwd_core.logs.video`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.logs import video
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.rows import Rows, check_rate, content_of_rows
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from storage_schemas.embodiment import Embodiment

_INFO = "meta/info.json"
_V2_FILE = re.compile(r"episode_(\d+)\.parquet$")
_BOOKKEEPING = frozenset({"timestamp", "frame_index", "episode_index", "index", "task_index"})
_CAPTURED = "capture_time_ns"  # wall-clock time of a row, where a set holds it
_OWN = re.compile(r"^(lwd[./])?(outcome|outcome_from|robot_id|site|source|policy_id|operator|end|task)$")


@dataclass
class _Set:
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
            raise UnreadableLog(f"{_INFO}: fps must be a number above 0, not {fps!r}")
        return float(fps)


class LeRobotReader:
    """Reads LeRobot data sets from their folder."""

    format = "lerobot"

    def recognises(self, source: LogSource, head: bytes) -> bool:
        return _INFO in source.files and any(_is_data(f) for f in source.files)

    def survey(self, source: LogSource) -> Survey:
        """Columns as the first readable data file has them, with names from the metadata."""
        with source.on_disk() as root:
            found = _open(source, root)
            for file in found.files:
                try:
                    schema = pq.read_schema(root / file)
                    break
                except (pa.ArrowException, OSError):
                    continue
            else:
                raise UnreadableLog("no data file of the set can be read")
        features = found.info.get("features") or {}
        topics = {name: _topic(name, schema, features.get(name)) for name in schema.names}
        for name, feature in features.items():
            if name not in topics and isinstance(feature, dict) and feature.get("dtype") == "video":
                topics[name] = Topic("video", "mp4")
        facts = {k: str(found.info[k]) for k in ("robot_type", "codebase_version", "fps") if k in found.info}
        return Survey(topics, facts)

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The set's episodes. Raises `UnreadableLog`."""
        with source.on_disk() as root:
            found = _open(source, root)
            check_rate(found.fps, embodiment)
            _note_videos(found, source)
            sets = _rows(found, source, root, embodiment)
            return content_of_rows(sets, embodiment, frames, self.format, found.damage, found.notes)


def _is_data(file: str) -> bool:
    return file.startswith("data/") and file.endswith(".parquet")


def _open(source: LogSource, root: Path) -> _Set:
    try:
        info = json.loads((root / _INFO).read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise UnreadableLog(f"{_INFO} cannot be read ({e})") from e
    if not isinstance(info, dict):
        raise UnreadableLog(f"{_INFO} holds no object")
    if info.get("storage_format") not in (None, "parquet"):
        raise UnreadableLog(f"{_INFO}: storage_format {info['storage_format']!r} is not known; use parquet")
    files = [f for f in source.files if _is_data(f)]
    v3 = not all(_V2_FILE.search(f) for f in files)
    found = _Set(info, {}, {}, files, v3)
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


def _topic(name: str, schema: pa.Schema, feature: Any) -> Topic:
    kind = schema.field(name).type
    names: tuple[str, ...] = ()
    width = None
    if isinstance(feature, dict):
        shape = feature.get("shape")
        if isinstance(shape, list) and len(shape) == 1:
            width = int(shape[0])
        names = tuple(_flat(feature.get("names")))
    if width is None and pa.types.is_fixed_size_list(kind):
        width = kind.list_size
    scalar = not pa.types.is_nested(kind)
    return Topic(str(kind), "parquet", width=1 if scalar else width, names=names)


def _flat(names: Any) -> Iterable[str]:
    """Names as sets write them: a list, a list in a list, an object of lists."""
    if isinstance(names, str):
        yield names
    elif isinstance(names, dict):
        for inner in names.values():
            yield from _flat(inner)
    elif isinstance(names, list):
        for inner in names:
            yield from _flat(inner)


def _note_videos(found: _Set, source: LogSource) -> None:
    features = found.info.get("features") or {}
    videos = [k for k, f in features.items() if isinstance(f, dict) and f.get("dtype") == "video"]
    for key in videos:
        files = [f for f in source.files if f.startswith("videos/") and f"/{key}/" in f]
        if not files:
            found.notes.append(f"{key}: declared, but no video file is there")
        elif not found.v3 and len(files) < len(found.files):
            found.notes.append(f"{key}: {len(found.files) - len(files)} of {len(found.files)} videos missing")


def _rows(found: _Set, source: LogSource, root: Path, embodiment: Embodiment) -> Iterator[Rows]:
    first, seen = 0, set()
    for file in found.files:
        try:
            table = pq.ParquetFile(root / file).read()
        except (pa.ArrowException, OSError) as e:
            found.damage.append(f"{file} cannot be read ({str(e).splitlines()[0][:160]})")
            continue
        for number, part in _by_episode(table, file):
            meta = found.episodes.get(number, {})
            if number in seen or _lies_elsewhere(meta, file):
                found.notes.append(f"{file}: rows of episode {number} are left over from an edit, not read")
                continue
            seen.add(number)
            if meta.get("length") not in (None, part.num_rows):
                found.notes.append(f"episode {number}: {part.num_rows} rows, metadata says {meta['length']}")
            yield _episode(part, number, meta, found, source, root, embodiment, first)
            first += part.num_rows
    if missing := len(found.episodes.keys() - seen):
        found.damage.append(f"{missing} of {len(found.episodes)} episodes have no rows")


def _by_episode(table: pa.Table, file: str) -> Iterator[tuple[int, pa.Table]]:
    """Rows by episode, in the order of the file."""
    name = _V2_FILE.search(file)
    if "episode_index" not in table.column_names:
        if name is None:
            raise UnreadableLog(f"{file}: no column episode_index")
        yield int(name[1]), table
        return
    column = _plain(table["episode_index"]).reshape(-1)
    for number in dict.fromkeys(column.tolist()):
        yield int(number), table.filter(pa.array(column == number))


def _lies_elsewhere(meta: dict[str, Any], file: str) -> bool:
    """Whether the metadata places the episode in another data file than this one."""
    place = (meta.get("data/chunk_index"), meta.get("data/file_index"))
    numbers = [int(n) for n in re.findall(r"(\d+)", file)[-2:]]
    return None not in place and len(numbers) == 2 and list(place) != numbers


def _episode(
    table: pa.Table,
    number: int,
    meta: dict[str, Any],
    found: _Set,
    source: LogSource,
    root: Path,
    embodiment: Embodiment,
    first: int,
) -> Rows:
    columns, frames = {}, {}
    cameras = {c.topic for c in embodiment.cameras}
    for name in table.column_names:
        kind = table.schema.field(name).type
        if name in cameras and pa.types.is_struct(kind):
            frames[name] = partial(_images, table[name], source, root)
        elif not pa.types.is_struct(kind):
            try:
                columns[name] = _plain(table[name])
            except (ValueError, TypeError, pa.ArrowException):
                continue  # a column of ragged rows; it matters only if the embodiment maps it
    for topic in cameras - frames.keys():
        if place := _video(topic, number, meta, source):
            file, start = place
            frames[topic] = partial(video.frames, root / file, start, table.num_rows, found.fps, found.notes)
    said = _said(meta, columns, found, number)
    return Rows(columns, _times(columns, table.num_rows, found, number), first, frames=frames, said=said)


def _plain(column: pa.ChunkedArray) -> np.ndarray:
    """A column as (N,) or (N, W)."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    shape: list[int] = [len(array)]
    while pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        if array.null_count:
            raise ValueError("null rows")
        rows = int(np.prod(shape))
        flat = array.flatten()
        if rows and len(flat) % rows:
            raise ValueError("rows of different lengths")
        if pa.types.is_list(array.type) and len(set(np.diff(array.offsets.to_numpy()).tolist())) > 1:
            raise ValueError("rows of different lengths")
        shape.append(len(flat) // rows if rows else 0)
        array = flat
    values = array.to_numpy(zero_copy_only=False)
    return values.reshape(shape)


def _times(columns: dict[str, np.ndarray], n: int, found: _Set, number: int) -> np.ndarray:
    """(N,) ns: captured time where the set has it, else frame / fps from 0.

    Stamps that are not frame / fps are kept as they are, if they ascend.
    """
    nominal = np.rint(np.arange(n) * (1e9 / found.fps)).astype(np.int64)
    for name, column in columns.items():
        if name.endswith(_CAPTURED) and column.size == n and column.dtype.kind == "i":
            captured = column.reshape(n).astype(np.int64)
            if (np.diff(captured) > 0).all() and (captured >= 0).all():
                return captured
            found.notes.append(f"episode {number}: {name} does not ascend, frame / fps counts")
    stamps = columns.get("timestamp")
    if stamps is None or stamps.size != n or stamps.dtype.kind not in "fiu":
        return nominal
    seconds = stamps.reshape(n).astype(np.float64)
    if not np.isfinite(seconds).all() or np.abs(seconds).max() > 1e9:
        found.notes.append(f"episode {number}: timestamps are not finite, frame / fps counts")
        return nominal
    # float32 seconds resolve a few microseconds; what is that near to nominal was meant to be
    if np.abs(seconds - seconds[0] - nominal / 1e9).max() < 1e-3 / found.fps + 1e-5 * (1 + seconds[-1]):
        return nominal + max(0, round(seconds[0] * found.fps)) * round(1e9 / found.fps)
    if (np.diff(seconds) > 0).all() and seconds[0] >= 0:
        return np.rint(seconds * 1e9).astype(np.int64)
    found.notes.append(f"episode {number}: timestamps do not ascend, frame / fps counts")
    return nominal


def _said(meta: dict[str, Any], columns: dict[str, np.ndarray], found: _Set, number: int) -> dict[str, str]:
    said: dict[str, str] = {"episode_index": str(number)}
    for key, value in meta.items():
        own = _OWN.match(key)
        if own and value is not None:
            said[own[2]] = str(value)
        elif "/" not in key and key not in ("episode_index", "length", "tasks") and np.isscalar(value):
            said[key] = str(value)
    said.pop("dataset_from_index", None)
    said.pop("dataset_to_index", None)
    texts = meta.get("tasks") or []
    column = columns.get("task_index")
    if column is not None and column.dtype.kind in "iu" and column.size:
        values, counts = np.unique(column, return_counts=True)
        if (text := found.tasks.get(int(values[counts.argmax()]))) is not None:
            texts = [text]
    if texts:
        said["instruction"] = str(texts[0])
    return said


def _images(column: pa.ChunkedArray, source: LogSource, root: Path) -> Iterator[bytes | None]:
    """Encoded images of a column, from its bytes or from the set's own files, never from outside."""
    for value in column:
        image = value.as_py() or {}
        data, path = image.get("bytes"), image.get("path")
        if not data and path in source.files:
            data = (root / path).read_bytes()
        yield data or None


def _video(key: str, number: int, meta: dict[str, Any], source: LogSource) -> tuple[str, float] | None:
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
