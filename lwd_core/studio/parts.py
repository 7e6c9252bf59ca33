"""What is known of each episode, kept a partition at a time and read again only where its files changed.

Data files of a table never change, so a partition with the same files has the same rows. An episode and all
its labels lie in one partition: what is summed up over one needs no other.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.lake import query
from lwd_core.lake.data_file import DataFile
from lwd_core.lake.store import Lake
from storage_schemas.columns import Table

Key = tuple[str, ...]
#: Rows and partitions of the table read at a time; memory is bounded by them, not by the lake.
AT_ONCE, PARTITIONS = 500_000, 200


class PartitionRows:
    """The rows a query makes of a table, by partition. The query reads ``rows``, and gives day and site."""

    def __init__(self, table: Table, summary: str) -> None:
        self._table, self._summary = table, summary
        self._parts: dict[Key, tuple[frozenset[str], pa.Table]] = {}
        self._schema = self._run(query.connection(), [])
        self._con: query.Connection | None = None
        self._stopped = False

    def follow(self, lake: Lake, version: int | None) -> pa.Table:
        """All of them at a version. Raises what reading a lost file raises (``query.Unreadable``)."""
        entries = [] if version is None else lake.log(self._table.name).entries(version)
        there: dict[Key, list[DataFile]] = defaultdict(list)
        for entry in entries:
            there[tuple(entry.partition[name] for name in self._table.partition)].append(entry)
        files = {key: frozenset(entry.path for entry in found) for key, found in there.items()}
        parts = {key: part for key, part in self._parts.items() if files.get(key) == part[0]}
        con = self._con = query.connection(lake.fs if lake.place.remote else None)
        for some in self._batches({key: found for key, found in there.items() if key not in parts}):
            if self._stopped:
                raise query.Interrupted("the studio ends")
            paths = [
                lake.path("tables", self._table.name, entry.path) for key in some for entry in there[key]
            ]
            found = _by_partition(self._run(con, paths), self._table.partition)
            parts |= {key: (files[key], found.get(key, self._schema)) for key in some}
        self._con = None
        con.close()
        self._parts = parts
        tables = [rows for _, rows in parts.values() if rows.num_rows]
        return pa.concat_tables([self._schema, *tables])

    def stop(self) -> None:
        """End what another thread is reading, and what it would go on to, by ``query.Interrupted`` there."""
        self._stopped = True
        con = self._con
        if con is not None:
            con.interrupt()

    def _batches(self, there: dict[Key, list[DataFile]]) -> Iterator[list[Key]]:
        some: list[Key] = []
        size = 0
        for key, found in there.items():
            some.append(key)
            size += sum(entry.rows for entry in found)
            if size >= AT_ONCE or len(some) >= PARTITIONS:
                yield some
                some, size = [], 0
        if some:
            yield some

    def _run(self, con: query.Connection, files: list[str]) -> pa.Table:
        order = ", ".join(self._table.partition)
        rows = query.scan(self._table, files)
        return query.run(con, f"WITH rows AS ({rows}), said AS ({self._summary}) FROM said ORDER BY {order}")


def _by_partition(rows: pa.Table, names: tuple[str, ...]) -> dict[Key, pa.Table]:
    """Rows sorted by partition, taken apart."""
    if not rows.num_rows:
        return {}
    rows = rows.combine_chunks()
    new = np.zeros(rows.num_rows - 1, bool)
    for name in names:
        column = rows.column(name)
        new |= pc.not_equal(column.slice(1), column.slice(0, rows.num_rows - 1)).to_numpy()
    edges = [0, *(np.flatnonzero(new) + 1).tolist(), rows.num_rows]
    return {
        tuple(rows.column(name)[first].as_py() for name in names): rows.slice(first, end - first)
        for first, end in pairwise(edges)
    }
