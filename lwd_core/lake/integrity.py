"""What the store lost or changed of the lake's files, told by the tables' own logs, a line for each fault.

Names and sizes cost one listing a table. With ``deep`` every byte is read: rows of Parquet files are decoded
and counted, and the tars that steps point into are walked. Nothing here raises for a damaged lake.
"""

import os
import re
import tarfile
from collections.abc import Callable, Iterator

import pyarrow.parquet as pq

from lwd_core.lake.data_file import DataFile
from lwd_core.lake.store import Lake
from storage_schemas.tables import TABLES

_ENTRY = re.compile(r"_delta_log/(\d{20})\.json$")
_CHECKPOINT = re.compile(r"_delta_log/(\d{20})\.checkpoint.*\.parquet$")
_FRAMES = (
    "SELECT frame.shard AS shard, max(frame.offset + frame.size) AS needed "
    'FROM (SELECT unnest(frames) AS frame FROM "steps") GROUP BY 1 ORDER BY 1'
)
Chosen = Callable[[DataFile], bool]


def damage(lake: Lake, table: str, *, deep: bool = False, chosen: Chosen = lambda _: True) -> Iterator[str]:
    """Faults of one table at its newest version; ``chosen`` says which of its data files are looked at."""
    folder = f"tables/{table}"
    try:
        there = _listing(lake, folder)
        gap = _log_gap(there)
        if gap:
            yield f"table {table}: {gap}; restore {folder}/_delta_log from a backup"
            return
        entries = [file for file in lake.log(table).entries() if chosen(file)]
    except Exception as error:
        why = f"its log can't be read ({_line(error)})"
        yield f"table {table}: {why}; restore {folder}/_delta_log from a backup"
        return
    for file in entries:
        size = there.get(file.path)
        where = f"table {table}: {folder}/{file.path}"
        if size is None:
            yield f"{where} is missing; restore it from a backup"
        elif size != file.size:
            yield f"{where} has {size} bytes, its log says {file.size}; restore it from a backup"
        elif fault := _unreadable(lake, f"{folder}/{file.path}", file, deep):
            yield f"{where} {fault}"


def frames_damage(lake: Lake) -> Iterator[str]:
    """Faults of the tars that the newest steps point into."""
    try:
        there = _listing(lake, "frames")
        rows = lake.sql(_FRAMES).to_pylist()
    except Exception as error:
        yield f"frames: can't be compared with the steps ({_line(error)})"
        return
    for row in rows:
        name = row["shard"]
        size = there.get(name.removeprefix("frames/"))
        if size is None:
            yield f"frames: {name} is missing; restore it from a backup, or erase the log's episodes"
        elif size < row["needed"]:
            yield f"frames: {name} has {size} bytes, steps point to {row['needed']}; restore it from a backup"
        else:
            try:
                with lake.fs.open(lake.path(name), "rb") as stream, tarfile.open(fileobj=stream) as tar:
                    for _member in tar:
                        pass
            except Exception as error:
                yield f"frames: {name} can't be read ({_line(error)}); restore it from a backup"


def _listing(lake: Lake, folder: str) -> dict[str, int]:
    """Sizes by path below a folder of the lake, as the store has them now."""
    root = lake.path(folder)
    lake.fs.invalidate_cache()
    if not lake.fs.exists(root):
        return {}
    found = lake.fs.find(root, detail=True)
    return {
        lake.place.relative(path).removeprefix(f"{folder}/"): info["size"] for path, info in found.items()
    }


def _log_gap(there: dict[str, int]) -> str | None:
    """What a reader of the log needs and is not there: a table without its log looks like an empty one."""
    # an entry of no bytes is what a full disk leaves: its rows would vanish in silence
    entries = [int(match[1]) for name, size in there.items() if size and (match := _ENTRY.search(name))]
    newest = max((int(match[1]) for name in there if (match := _ENTRY.search(name))), default=-1)
    kept = [int(match[1]) for name in there if (match := _CHECKPOINT.search(name))]
    if newest < 0 and not kept:
        data = sum(name.endswith(".parquet") for name in there)
        return f"its log is gone, {data} data files are there" if data else None
    first = max(kept, default=-1) + 1
    missing = sorted(set(range(first, newest + 1)) - set(entries))
    names = ", ".join(f"{version:020d}.json" for version in missing[:5])
    return f"its log lacks {names}" if missing else None


def _unreadable(lake: Lake, path: str, file: DataFile, deep: bool) -> str | None:
    full = lake.path(path)
    if not deep:
        barred = not lake.place.remote and not os.access(full, os.R_OK)
        return "can't be read by this user; give it the right to" if barred else None
    try:
        with lake.fs.open(full, "rb") as stream:
            rows = sum(batch.num_rows for batch in pq.ParquetFile(stream).iter_batches())
    except Exception as error:
        return f"can't be read ({_line(error)}); restore it from a backup"
    if rows != file.rows:
        return f"has {rows} rows, its log says {file.rows}; restore it from a backup"
    return None


def all_damage(lake: Lake, *, deep: bool = False) -> Iterator[str]:
    """Faults of every table, and with ``deep`` of the frames."""
    for table in TABLES:
        yield from damage(lake, table, deep=deep)
    if deep:
        yield from frames_damage(lake)


def _line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return " ".join(re.sub(r"\x1b\[[\d;]*m", "", text).split())[:200]
