"""Which rows of a LeRobot set's files are which episode.

The rows are believed over the metadata: an episode is read from where its rows are. What is left over
where metadata and rows both know better is named.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.logs.arrow_numbers import numbers
from lwd_core.logs.readers.lerobot_files import DAMAGED, V2_FILE, DataSet, lies_elsewhere

EPISODE = "episode_index"


@dataclass(frozen=True)
class RowRange:
    """``rows`` rows of a file that carry this ``label`` as episode_index; None: of all the file's.

    The first ``skip`` of them are of other episodes.
    """

    file: str
    label: int | None
    rows: int
    skip: int = 0


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


def _plan(found: DataSet, root: Path, needed: frozenset[str]) -> list[tuple[int, list[RowRange]]]:
    met: dict[int, list[RowRange]] = {}
    for file in found.files:
        for number, part in _parts(found, root, file, needed):
            met.setdefault(number, []).append(part)
    place = {file: i for i, file in enumerate(found.files)}
    chosen: dict[int, list[RowRange]] = {}
    left: list[tuple[int, RowRange]] = []
    for number, parts in met.items():
        meta = found.episodes.get(number, {})
        chosen[number] = _chosen(meta, parts)
        left += [(number, part) for part in parts if part not in chosen[number]]
        if len(chosen[number]) > 1:
            found.notes.add(f"rows lie in {len(chosen[number])} files", _name(number))
        if all(lies_elsewhere(meta, part.file) for part in chosen[number]):
            found.notes.add("rows lie in another file than metadata says", _name(number))
    for number in list(chosen):
        if shared := _shared(found, number, chosen):
            chosen |= shared
            for other in shared.keys() - {number}:
                found.notes.add(f"its rows are marked as {_name(number)}, told apart by length", _name(other))
    for number, part in left:
        if (known := _claimed(found, part, chosen)) is not None:
            chosen[known] = [part]
            found.notes.add(f"its rows are marked as episode {number} in {part.file}", _name(known))
        else:
            found.notes.add(f"rows in {part.file} are left over from an edit, not read", _name(number))
    for number, parts in chosen.items():
        length, rows = found.episodes.get(number, {}).get("length"), sum(part.rows for part in parts)
        if length not in (None, rows):
            found.notes.add(f"{rows} rows, metadata says {length}", _name(number))
    if found.episodes and (more := [_name(n) for n in chosen if n not in found.episodes]):
        found.notes.add(f"{len(more)} episodes are not in the metadata ({', '.join(more[:3])})")
    return sorted(chosen.items(), key=lambda c: place[c[1][0].file])


def _chosen(meta: Mapping[str, Any], parts: list[RowRange]) -> list[RowRange]:
    """The parts that are the episode: of several, those that metadata's place and length agree with."""
    if len(parts) == 1 or meta.get("length") == sum(part.rows for part in parts):
        return parts
    named = [part for part in parts if not lies_elsewhere(dict(meta), part.file)] or parts
    return [next((part for part in named if part.rows == meta.get("length")), named[0])]


def _shared(found: DataSet, number: int, chosen: Mapping[int, list[RowRange]]) -> dict[int, list[RowRange]]:
    """Episodes that lie one after the other under one number: those without rows, if their lengths fit."""
    (part, *more), meta = chosen[number], found.episodes.get(number, {})
    orphans = sorted(n for n in found.episodes if n not in chosen or n == number)
    lengths = [int(found.episodes[n].get("length") or 0) for n in orphans]
    if more or meta.get("length") == part.rows or len(orphans) < 2:
        return {}
    if not all(lengths) or sum(lengths) != part.rows:
        return {}
    skips = np.cumsum([0, *lengths]).tolist()
    return {
        n: [RowRange(part.file, part.label, length, skip)]
        for n, length, skip in zip(orphans, lengths, skips[:-1], strict=True)
    }


def _claimed(found: DataSet, part: RowRange, chosen: Mapping[int, list[RowRange]]) -> int | None:
    """The episode without rows that metadata places in just this file, with just this length."""
    for number, meta in found.episodes.items():
        placed = meta.get("data/file_index") is not None and not lies_elsewhere(meta, part.file)
        if placed and number not in chosen and meta.get("length") == part.rows:
            return number
    return None


def _parts(found: DataSet, root: Path, file: str, needed: frozenset[str]) -> Iterator[tuple[int, RowRange]]:
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
        yield int(name[1]), RowRange(file, None, rows)
    elif not values:
        found.damage.add(f"{file} has no episode_index ({rows} rows), left out")
    else:
        assert labels is not None
        for value in values:
            yield value, RowRange(file, value, int((labels == value).sum()))


class _Opened:
    """The last file's table: parts of a file follow each other."""

    def __init__(self, found: DataSet, root: Path) -> None:
        self._found, self._root = found, root
        self._file, self._table = "", pa.table({})

    def rows(self, part: RowRange) -> pa.Table | None:
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
        at = at[part.skip : part.skip + part.rows]
        if len(at) and at[-1] - at[0] + 1 == len(at):
            return self._table.slice(int(at[0]), len(at))
        return self._table.take(pa.array(at))


def _name(number: int) -> str:
    return f"episode {number}"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
