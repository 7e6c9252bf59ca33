"""Upkeep: fewer and larger files, nothing on disk that no version needs, figures of it all."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.lake.conform import conform
from lwd_core.lake.data_file import DataFile
from lwd_core.lake.delta import LostRace
from lwd_core.lake.parquet import write_file
from lwd_core.lake.partition import arranged
from lwd_core.lake.rewrite import discard
from lwd_core.lake.store import Lake
from storage_schemas.columns import Table
from storage_schemas.tables import TABLES

TARGET = 96 * 2**20
HOUR = 3600
GRACE_HOURS = 168.0  # longer than any ingest or query


@dataclass(frozen=True)
class TableStats:
    """Figures of one table at its newest version. ``small`` files are below half the target size."""

    table: str
    version: int
    rows: int
    files: int
    small: int
    bytes: int


def stats(lake: Lake) -> list[TableStats]:
    """Figures of every table."""
    found = []
    for name, version in lake.versions().items():
        files = lake.log(name).entries(version)
        small = sum(file.size < TARGET // 2 for file in files)
        rows, size = sum(file.rows for file in files), sum(file.size for file in files)
        found.append(TableStats(name, version, rows, len(files), small, size))
    return found


def folder_bytes(lake: Lake, folder: str) -> tuple[int, int]:
    """Files and bytes below a folder of the lake."""
    sizes = [info["size"] for info in _listing(lake, folder).values()]
    return len(sizes), sum(sizes)


def compact(
    lake: Lake, tables: Iterable[str] = TABLES, *, target: int = TARGET
) -> dict[str, tuple[int, int]]:
    """Merge small files of each partition into sorted ones of about ``target`` bytes.

    Rows and what any version shows stay as they are. Returns files read and written by table; a group
    another writer changed meanwhile is left for the next time.
    """
    return {name: _compact_table(lake, TABLES[name], target) for name in tables}


def _compact_table(lake: Lake, table: Table, target: int) -> tuple[int, int]:
    read = written = 0
    log = lake.log(table.name)
    version = log.version()
    for group in _groups([] if version is None else log.entries(version), target):
        made = _merge(lake, table, group)
        while (base := log.version()) is not None:
            if not {file.path for file in group} <= {file.path for file in log.entries(base)}:
                discard(lake.place, table, [made])
                break
            try:
                log.commit(base, [made], [(file.path, file.size) for file in group], changed=False)
            except LostRace:
                continue
            read, written = read + len(group), written + 1
            break
    return read, written


def _groups(files: list[DataFile], target: int) -> list[list[DataFile]]:
    """Small files of one partition that together make one of the target size."""
    groups: list[list[DataFile]] = []
    partitions: dict[tuple[tuple[str, str], ...], list[DataFile]] = {}
    for file in sorted(files, key=lambda f: f.path):
        if file.size < target // 2:
            partitions.setdefault(tuple(sorted(file.partition.items())), []).append(file)
    for members in partitions.values():
        group: list[DataFile] = []
        for file in members:
            if group and sum(f.size for f in group) + file.size > target:
                groups.append(group)
                group = []
            group.append(file)
        groups.append(group)
    return [group for group in groups if len(group) > 1]


def _merge(lake: Lake, table: Table, group: list[DataFile]) -> DataFile:
    partition = group[0].partition
    parts = []
    for file in group:
        with lake.fs.open(lake.path("tables", table.name, file.path), "rb") as stream:
            part = pq.ParquetFile(stream).read()
        for name, value in partition.items():
            part = part.append_column(name, pa.repeat(pa.scalar(value), part.num_rows))
        parts.append(conform(table, part))
    ((values, rows),) = arranged(table, pa.concat_tables(parts))
    return write_file(lake.place, table, rows, values)


def vacuum(
    lake: Lake, *, grace_hours: float = GRACE_HOURS, dry_run: bool = False, now_s: float | None = None
) -> list[str]:
    """Delete data files the newest versions don't name and temporary files, if older than the grace.

    Versions that named them can't be read any more. A reader or an ingest under way for longer than the
    grace would lose files. Returns the paths (that would be) deleted, relative to the lake.
    """
    now = time.time() if now_s is None else now_s
    gone: list[str] = []
    for name in TABLES:
        version = lake.version(name)
        named = set() if version is None else {file.path for file in lake.log(name).entries(version)}
        for path, info in _listing(lake, f"tables/{name}").items():
            inner = path.removeprefix(f"tables/{name}/")
            if inner.startswith("_delta_log/") and not inner.endswith(".tmp"):
                continue
            if inner not in named and age(info, now) > grace_hours * HOUR:
                gone.append(path)
    for path, info in _listing(lake, "frames").items():
        if path.endswith(".tmp") and age(info, now) > grace_hours * HOUR:
            gone.append(path)
    if not dry_run:
        for path in gone:
            lake.place.remove(path)
    return sorted(gone)


def _listing(lake: Lake, folder: str) -> dict[str, dict]:
    root = lake.path(folder)
    if not lake.fs.exists(root):
        return {}
    return {lake.place.relative(path): info for path, info in lake.fs.find(root, detail=True).items()}


def age(info: dict, now: float) -> float:
    """Seconds since a file was last written."""
    written = info.get("mtime") or info.get("LastModified")
    return now - (written if isinstance(written, int | float) else written.timestamp() if written else now)
