"""LeRobot data sets, v2.0, v2.1 and v3.0, told apart by their files.

Metadata is often wrong about the data (counts, splits, cameras without files): the rows are believed.
Videos are read only for cameras the embodiment names, see `lwd_core.logs.video`.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.logs import video
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.lerobot_files import (
    INFO,
    V2_FILE,
    DataSet,
    is_data,
    lies_elsewhere,
    note_videos,
    open_set,
    video_of,
)
from lwd_core.logs.rows import Rows, check_rate, content_of_rows
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from storage_schemas.embodiment import Embodiment

_CAPTURED = "capture_time_ns"  # wall-clock time of a row, where a set holds it
_OWN = re.compile(r"^(lwd[./])?(outcome|outcome_from|robot_id|site|source|policy_id|operator|end|task)$")


class LeRobotReader:
    """Reads LeRobot data sets from their folder."""

    format = "lerobot"

    def recognises(self, source: LogSource, head: bytes) -> bool:
        return INFO in source.files and any(is_data(f) for f in source.files)

    def survey(self, source: LogSource) -> Survey:
        """Columns as the first readable data file has them, with names from the metadata."""
        with source.on_disk() as root:
            found = open_set(source, root)
            for file in found.files:
                try:
                    schema = pq.read_schema(root / file)
                    _ = schema.names  # damaged ones fail only when asked for
                    break
                except (pa.ArrowException, OSError, ValueError):
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
            found = open_set(source, root)
            check_rate(found.fps, embodiment)
            note_videos(found, source)
            sets = _rows(found, source, root, embodiment)
            return content_of_rows(sets, embodiment, frames, self.format, found.damage, found.notes)


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


def _rows(found: DataSet, source: LogSource, root: Path, embodiment: Embodiment) -> Iterator[Rows]:
    first, seen = 0, set()
    for file in found.files:
        try:
            table = pq.ParquetFile(root / file).read()
            _ = table.column_names
        except (pa.ArrowException, OSError, ValueError) as e:
            found.damage.append(f"{file} cannot be read ({str(e).splitlines()[0][:160]})")
            continue
        for number, part in _by_episode(table, file):
            meta = found.episodes.get(number, {})
            if number in seen or lies_elsewhere(meta, file):
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
    name = V2_FILE.search(file)
    if "episode_index" not in table.column_names:
        if name is None:
            raise UnreadableLog(f"{file}: no column episode_index")
        yield int(name[1]), table
        return
    column = _plain(table["episode_index"]).reshape(-1)
    for number in dict.fromkeys(column.tolist()):
        yield int(number), table.filter(pa.array(column == number))


def _episode(
    table: pa.Table,
    number: int,
    meta: dict[str, Any],
    found: DataSet,
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
        if place := video_of(topic, number, meta, source):
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


def _times(columns: dict[str, np.ndarray], n: int, found: DataSet, number: int) -> np.ndarray:
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


def _said(
    meta: dict[str, Any], columns: dict[str, np.ndarray], found: DataSet, number: int
) -> dict[str, str]:
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
