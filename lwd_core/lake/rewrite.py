"""Data files with some of their rows left out: the deleting half of a replace."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lwd_core.lake.conform import conform
from lwd_core.lake.data_file import DataFile
from lwd_core.lake.parquet import write_file
from lwd_core.storage.location import Location
from storage_schemas.columns import Table

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake


def without(
    lake: "Lake", table: Table, version: int, where: Mapping[str, Sequence[str | None]]
) -> tuple[list[tuple[str, int]], list[DataFile]]:
    """Files of a version that hold matching rows (path, size), and new files with their other rows."""
    removed: list[tuple[str, int]] = []
    kept: list[DataFile] = []
    values = {
        name: pa.array(list(dict.fromkeys(wanted)), table.schema.field(name).type)
        for name, wanted in where.items()
    }
    inside = {name: wanted for name, wanted in values.items() if name not in table.partition}
    for file in lake.log(table.name).candidates(version, where):
        if any(distinct(lake, table.name, file, name).isdisjoint(where[name]) for name in inside):
            continue
        path = lake.path("tables", table.name, file.path)
        with lake.fs.open(path, "rb") as stream:
            parquet = pq.ParquetFile(stream)
            hit = matches(_columns(parquet.read(columns=list(inside)), inside), inside) if inside else None
            if hit is not None and not pc.any(hit).as_py():
                continue
            removed.append((file.path, file.size))
            if hit is None or pc.all(hit).as_py():
                continue
            rest = parquet.read().filter(pc.invert(hit))
        partition = dict(file.partition)
        for name, value in partition.items():
            rest = rest.append_column(name, pa.array([value] * rest.num_rows, pa.string()))
        kept.append(write_file(lake.place, table, conform(table, rest, stored=True), partition))
    return removed, kept


def distinct(lake: "Lake", table: str, file: DataFile, column: str) -> frozenset[str]:
    """Values of a column in a data file. Files never change, so each is looked into once."""
    path = lake.path("tables", table, file.path)
    if (path, column) not in lake.contents:
        with lake.fs.open(path, "rb") as stream:
            values = _columns(pq.read_table(stream, columns=[column]), [column]).column(column)
        lake.contents[path, column] = frozenset(pc.unique(values).to_pylist())
    return lake.contents[path, column]


def _columns(rows: pa.Table, names: Iterable[str]) -> pa.Table:
    """Rows of a file with these columns; one that is younger than the file is null."""
    for name in names:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, pa.string()))
    return rows


def holds(lake: "Lake", table: str, version: int, column: str, values: Sequence[str]) -> set[str]:
    """Which of the values a column of a table has at a version, visible or not."""
    found: set[str] = set()
    for file in lake.log(table).candidates(version, {column: values}):
        found |= distinct(lake, table, file, column).intersection(values)
    return found


def matches(rows: pa.Table, values: Mapping[str, pa.Array]) -> pa.ChunkedArray:
    """A mask of the rows whose columns all hold one of the values."""
    mask: pa.ChunkedArray | None = None
    for name, wanted in values.items():
        here = pc.is_in(rows.column(name), value_set=wanted)
        mask = here if mask is None else pc.and_(mask, here)
    assert mask is not None
    return mask


def discard(place: Location, table: Table, files: Sequence[DataFile]) -> None:
    """Remove files no commit names."""
    for file in files:
        place.remove("tables", table.name, file.path)
