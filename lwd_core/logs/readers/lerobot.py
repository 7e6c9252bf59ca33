"""LeRobot data sets, v2.0, v2.1 and v3.0, told apart by their files.

Metadata is often wrong about the data (counts, splits, cameras without files): the rows are believed.
Videos are read only for cameras the embodiment names, see `lwd_core.logs.video`.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.logs import video
from lwd_core.logs.columns import numbers
from lwd_core.logs.content import FrameSink, LogContent
from lwd_core.logs.readers.lerobot_files import (
    DAMAGED,
    INFO,
    DataSet,
    has_video,
    is_data,
    note_videos,
    open_set,
    usual_schema,
    video_of,
    videos,
)
from lwd_core.logs.readers.lerobot_order import arrange
from lwd_core.logs.readers.lerobot_rows import tables
from lwd_core.logs.row_facts import SUCCESS_FACTS, instructions, verdict
from lwd_core.logs.rows import EpisodeRows, check_rate, content_of_rows
from lwd_core.logs.source import LogSource
from lwd_core.logs.stamps import times
from lwd_core.logs.survey import Survey, Topic
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import Outcome

_PEEKED = 16  # rows that tell how wide a column of lists is
_CAPTURED = "capture_time_ns"  # wall-clock time of a row, where a set holds it
_OWN = re.compile(r"^(lwd[./])?(outcome|outcome_from|robot_id|site|source|policy_id|operator|end|task)$")
_TEXTS = ("task", "instruction", "language_instruction")  # columns that say per row what to do


class LeRobotReader:
    """Reads LeRobot data sets from their folder."""

    format = "lerobot"

    def recognises(self, source: LogSource, head: bytes) -> bool:
        return INFO in source.files and any(is_data(f) for f in source.files)

    def survey(self, source: LogSource) -> Survey:
        """Columns as most data files have them, with names from the metadata."""
        with source.on_disk() as root:
            found = open_set(source, root)
            file, schema = usual_schema(found, root)
            widths = _widths(root / file)
        topics = {n: _topic(n, schema, found.features.get(n) or {}, widths.get(n)) for n in schema.names}
        for name in videos(found):
            if name not in topics:
                topics[name] = Topic("video", "mp4", messages=int(has_video(name, source)))
        known = ((k, found.info.get(k)) for k in ("robot_type", "codebase_version", "fps"))
        return Survey(topics, {k: str(v) for k, v in known if v not in (None, "")})

    def peek(self, source: LogSource, episodes: int) -> list[dict[str, np.ndarray]]:
        """Number columns of the first episodes."""
        with source.on_disk() as root:
            found = open_set(source, root)
            usual = frozenset(usual_schema(found, root)[1].names)
            some = tables(found, root, usual & {"action", "observation.state"})
            return [_columns(table) for _, table in islice(some, episodes)]

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The set's episodes. Raises `UnreadableLog`."""
        with source.on_disk() as root:
            found = open_set(source, root)
            check_rate(found.fps, embodiment)
            note_videos(found, source)
            sets = _rows(found, source, root, embodiment)
            return content_of_rows(sets, embodiment, frames, self.format, found.damage, found.notes)


def _topic(name: str, schema: pa.Schema, feature: dict[str, Any], seen: int | None) -> Topic:
    kind = schema.field(name).type
    scalar = not pa.types.is_nested(kind)
    width = 1 if scalar else kind.list_size if pa.types.is_fixed_size_list(kind) else seen
    return Topic(str(kind), "parquet", width=width, names=tuple(_flat(feature.get("names"))))


def _widths(path: Path) -> dict[str, int]:
    """How many numbers most of the first rows have in each column of lists, by its name."""
    try:
        with pq.ParquetFile(path) as file:
            names = [f.name for f in file.schema_arrow if pa.types.is_list(f.type)]
            head = list(islice(file.iter_batches(batch_size=_PEEKED, columns=names), 1)) if names else []
    except (*DAMAGED, IndexError):
        return {}
    table = pa.Table.from_batches(head) if head else pa.table({})
    return {name: column[0].size for name, column in _columns(table).items() if len(column)}


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


def _columns(table: pa.Table) -> dict[str, np.ndarray]:
    """Columns of numbers or texts. One that is no array matters only if the embodiment maps it."""
    columns = {}
    for name in table.column_names:
        if not pa.types.is_struct(table.schema.field(name).type):
            try:
                columns[name] = numbers(table[name])
            except (ValueError, TypeError, pa.ArrowException):
                continue
    return columns


def _rows(found: DataSet, source: LogSource, root: Path, embodiment: Embodiment) -> Iterator[EpisodeRows]:
    first = 0
    for number, table in tables(found, root, embodiment.topics):
        yield _episode(table, number, found, source, root, embodiment, first)
        first += table.num_rows


def _episode(
    table: pa.Table,
    number: int,
    found: DataSet,
    source: LogSource,
    root: Path,
    embodiment: Embodiment,
    first: int,
) -> EpisodeRows:
    name = f"episode {number}"
    meta = found.episodes.get(number, {})
    columns, n = _columns(table), table.num_rows
    note = partial(found.notes.add, episode=name)
    order, frame, sound = arrange(columns, n, note)
    if len(order) < n or (order != np.arange(n)).any():
        columns = {k: v[order] for k, v in columns.items()}
        table = table.take(pa.array(order))
    frames = {}
    for topic in {c.topic for c in embodiment.cameras}:
        if topic in table.column_names:
            if pa.types.is_struct(table.schema.field(topic).type):
                frames[topic] = partial(_images, table[topic], source, root)
        elif place := video_of(topic, number, meta, source):
            file, start = place
            frames[topic] = partial(video.frames, root / file, start, frame, found.fps, note)
        elif has_video(topic, source):
            note(f"no video of {topic}")
    t = _captured(columns, len(frame), note)
    if t is None:
        stamps = columns.get("timestamp")
        t = times(None if stamps is None else stamps.reshape(-1), frame, found.fps, note)
    said = _said(meta, columns, found, number)
    return EpisodeRows(columns, t, first, frames=frames, said=said, name=name, sound=sound)


def _captured(columns: dict[str, np.ndarray], n: int, note: Any) -> np.ndarray | None:
    """(N,) ns at which the rows were captured, where the set has it."""
    for name, column in columns.items():
        if name.endswith(_CAPTURED) and column.size == n and column.dtype.kind == "i":
            captured = column.reshape(n).astype(np.int64)
            if (np.diff(captured) > 0).all() and (captured >= 0).all():
                return captured
            note(f"{name} does not ascend, frame / fps counts")
    return None


def _said(
    meta: dict[str, Any], columns: dict[str, np.ndarray], found: DataSet, number: int
) -> dict[str, str]:
    said: dict[str, str] = {"episode_index": str(number)}
    for key, value in meta.items():
        own = _OWN.match(key)
        if own and value is not None:
            said[own[2]] = str(value)
        elif key in SUCCESS_FACTS or (key == "outcome" and value is None):  # asked of, and left open
            said.setdefault("outcome", verdict(value) or str(Outcome.UNKNOWN))
        elif "/" not in key and key not in ("episode_index", "length", "tasks") and np.isscalar(value):
            said[key] = str(value)
    said.pop("dataset_from_index", None)
    said.pop("dataset_to_index", None)
    texts = meta.get("tasks") or []
    if texts:
        said["instruction"] = str(texts[0])
    return said | instructions(_texts(columns, found), found.notes, f"episode {number}")


def _texts(columns: dict[str, np.ndarray], found: DataSet) -> np.ndarray:
    """(N,) what the robot was told at each row; (0,) where rows do not say."""
    column = columns.get("task_index")
    if column is not None and column.dtype.kind in "iu" and column.ndim <= 2:
        values, places = np.unique(column.reshape(-1), return_inverse=True)
        if all(int(v) in found.tasks for v in values):
            return np.array([found.tasks[int(v)] for v in values], dtype=object)[places]
    for name in _TEXTS:
        if name in columns and columns[name].dtype.kind in "OU" and columns[name].ndim == 1:
            return columns[name]
    return np.empty(0, dtype=object)


def _images(column: pa.ChunkedArray, source: LogSource, root: Path) -> Iterator[bytes | None]:
    """Encoded images of a column, from its bytes or from the set's own files, never from outside."""
    for value in column:
        image = value.as_py() or {}
        data, path = image.get("bytes"), image.get("path")
        if not data and path in source.files:
            data = (root / path).read_bytes()
        yield data or None
