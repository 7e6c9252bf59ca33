"""Which rows of a LeRobot set's files are which episode, and in what order.

The rows are believed over the metadata: an episode is read from where its rows are. What is left over
where metadata and rows both know better is named.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.logs.columns import numbers
from lwd_core.logs.lerobot_files import DAMAGED, V2_FILE, DataSet, lies_elsewhere

EPISODE = "episode_index"


@dataclass(frozen=True)
class Part:
    """Rows of a file that carry this ``label`` as episode_index; None: all of the file's."""

    file: str
    label: int | None
    rows: int


def tables(found: DataSet, root: Path, needed: frozenset[str]) -> Iterator[tuple[int, pa.Table]]:
    """Episodes by number, each with its rows as they lie in the files.

    A file without the ``needed`` columns, or that cannot be read, is named in the set's damage.
    """
    opened = _Opened(found, root)
    planned = _plan(found, root, needed)
    for number, parts in planned:
        pieces = [piece for part in parts if (piece := opened.rows(part)) is not None]
        if len(pieces) == 1:
            yield number, pieces[0]
        elif pieces:
            yield number, pa.concat_tables(pieces, promote_options="permissive")
    if missing := len(found.episodes.keys() - dict(planned).keys()):
        found.damage.add(f"{missing} of {len(found.episodes)} episodes have no rows")


def arrange(
    columns: Mapping[str, np.ndarray], n: int, note: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) rows of an episode in order, their frame numbers from 0, and whether the set is at one on them."""
    as_they_lie = np.arange(n)
    name, key = next(
        ((k, v) for k in ("frame_index", "index") if (v := _whole(columns, k, n)) is not None), ("", None)
    )
    if key is None or n == 0:
        return as_they_lie, as_they_lie, np.full(n, True)
    order = as_they_lie
    if not _ascends(key):
        others = [columns.get(k) for k in ("index", "timestamp") if k != name]
        if 2 * len(np.unique(key)) < n or all(o is not None and o.size == n and _ascends(o) for o in others):
            note(f"{name} does not number the rows, the order of the file counts")
            return as_they_lie, as_they_lie, np.full(n, True)
        order = np.argsort(key, kind="stable")
        if (order != as_they_lie).any():
            note(f"rows ordered by {name}")
        key = key[order]
    first = np.append(True, np.diff(key) > 0)
    sound = np.full(n, True)
    if not first.all():
        twins = np.flatnonzero(~first)
        unlike = ~_alike(columns, order[twins], order[twins - 1])
        sound[np.searchsorted(key, key[twins[unlike]])] = False
        note(f"{len(twins)} rows come twice, {int(unlike.sum())} of them with other values (masked)")
        order, key, sound = order[first], key[first], sound[first]
    frame = key - key[0]
    if len(frame) > 1 and (stride := int(np.median(np.diff(frame)))) > 1:
        frame = np.append(0, np.cumsum(np.maximum(1, np.diff(frame) // stride)))
    if missing := int(frame[-1]) + 1 - len(frame):
        note(f"{missing} frames missing by {name}")
    return order, frame, sound


def _whole(columns: Mapping[str, np.ndarray], name: str, n: int) -> np.ndarray | None:
    """(N,) int64 of a column that counts, None where it does not."""
    column = columns.get(name)
    if column is None or column.size != n or column.dtype.kind not in "iuf":
        return None
    values = column.reshape(n)
    if (
        not np.isfinite(values).all()
        or (np.rint(values) != values).any()
        or np.abs(values).max(initial=0) > 1e15
    ):
        return None
    return values.astype(np.int64)


def _ascends(column: np.ndarray) -> bool:
    return bool((column.reshape(-1)[1:] > column.reshape(-1)[:-1]).all())


def _alike(columns: Mapping[str, np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(K,) whether rows hold the same numbers, their running index apart."""
    same = np.full(len(one), True)
    for name, column in columns.items():
        if name != "index" and column.dtype.kind in "bifu":
            flat = column.reshape(len(column), -1)
            same &= ((flat[one] == flat[other]) | (flat[one] != flat[one])).all(axis=1)
    return same


def _plan(found: DataSet, root: Path, needed: frozenset[str]) -> list[tuple[int, list[Part]]]:
    met: dict[int, list[Part]] = {}
    for file in found.files:
        for number, part in _parts(found, root, file, needed):
            met.setdefault(number, []).append(part)
    place = {file: i for i, file in enumerate(found.files)}
    chosen: dict[int, list[Part]] = {}
    left: list[tuple[int, Part]] = []
    for number, parts in met.items():
        meta = found.episodes.get(number, {})
        chosen[number] = _chosen(meta, parts)
        left += [(number, part) for part in parts if part not in chosen[number]]
        if len(chosen[number]) > 1:
            found.notes.add(f"rows lie in {len(chosen[number])} files", _name(number))
        if all(lies_elsewhere(meta, part.file) for part in chosen[number]):
            found.notes.add("rows lie in another file than metadata says", _name(number))
        length, rows = meta.get("length"), sum(part.rows for part in chosen[number])
        if length not in (None, rows):
            found.notes.add(f"{rows} rows, metadata says {length}", _name(number))
    for number, part in left:
        if (known := _claimed(found, part, chosen)) is not None:
            chosen[known] = [part]
            found.notes.add(f"its rows are marked as episode {number} in {part.file}", _name(known))
        else:
            found.notes.add(f"rows in {part.file} are left over from an edit, not read", _name(number))
    if found.episodes and (more := [_name(n) for n in chosen if n not in found.episodes]):
        found.notes.add(f"{len(more)} episodes are not in the metadata ({', '.join(more[:3])})")
    return sorted(chosen.items(), key=lambda c: place[c[1][0].file])


def _chosen(meta: Mapping[str, Any], parts: list[Part]) -> list[Part]:
    """The parts that are the episode: of several, those that metadata's place and length agree with."""
    if len(parts) == 1 or meta.get("length") == sum(part.rows for part in parts):
        return parts
    named = [part for part in parts if not lies_elsewhere(dict(meta), part.file)] or parts
    return [next((part for part in named if part.rows == meta.get("length")), named[0])]


def _claimed(found: DataSet, part: Part, chosen: Mapping[int, list[Part]]) -> int | None:
    """The episode without rows that metadata places in just this file, with just this length."""
    for number, meta in found.episodes.items():
        placed = meta.get("data/file_index") is not None and not lies_elsewhere(meta, part.file)
        if placed and number not in chosen and meta.get("length") == part.rows:
            return number
    return None


def _parts(found: DataSet, root: Path, file: str, needed: frozenset[str]) -> Iterator[tuple[int, Part]]:
    """Episodes of a file by number. A v2 file is one episode, the one its name says."""
    try:
        with pq.ParquetFile(root / file) as opened:
            names, rows = opened.schema_arrow.names, opened.metadata.num_rows
            labels = numbers(opened.read([EPISODE])[EPISODE]) if EPISODE in names else None
    except DAMAGED as e:
        found.damage.add(f"{file} cannot be read ({_line(e)})")
        return
    if absent := sorted(needed - set(names)):
        found.damage.add(f"{file} has no column {', '.join(absent)} ({rows} rows), left out")
        return
    values: list[int] = []
    if labels is not None and labels.dtype.kind in "iuf":
        values = [int(v) for v in dict.fromkeys(labels.reshape(-1).tolist()) if v == v]
    name = V2_FILE.search(file)
    if name and len(values) <= 1:
        if values and values[0] != int(name[1]):
            found.notes.add(
                "episode_index says another number than the file's name, which counts", _name(int(name[1]))
            )
        yield int(name[1]), Part(file, None, rows)
    elif not values:
        found.damage.add(f"{file} has no episode_index ({rows} rows), left out")
    else:
        assert labels is not None
        for value in values:
            yield value, Part(file, value, int((labels == value).sum()))


class _Opened:
    """The last file's table: parts of a file follow each other."""

    def __init__(self, found: DataSet, root: Path) -> None:
        self._found, self._root = found, root
        self._file, self._table = "", pa.table({})

    def rows(self, part: Part) -> pa.Table | None:
        """A part's rows, None where the file cannot be read after all."""
        if part.file != self._file:
            self._file = part.file
            try:
                with pq.ParquetFile(self._root / part.file) as opened:
                    self._table = opened.read()
                _ = self._table.column_names
            except DAMAGED as e:
                self._table = None
                self._found.damage.add(f"{part.file} cannot be read ({_line(e)})")
        if self._table is None or part.label is None:
            return self._table
        at = np.flatnonzero(numbers(self._table[EPISODE]).reshape(-1) == part.label)
        if len(at) and at[-1] - at[0] + 1 == len(at):
            return self._table.slice(int(at[0]), len(at))
        return self._table.take(pa.array(at))


def _name(number: int) -> str:
    return f"episode {number}"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
