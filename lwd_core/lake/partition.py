"""Rows by partition, each part in the table's sort order."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage_schemas.columns import Table

RUN = 256  # rows; shorter runs are cheaper to copy one by one
CHUNKS = 256


def arranged(table: Table, rows: pa.Table) -> list[tuple[dict[str, str], pa.Table]]:
    """Partition values and rows of each partition, partitions in order, rows sorted."""
    if rows.num_rows == 0:
        return []
    if rows.column(0).num_chunks > CHUNKS:
        rows = rows.combine_chunks()  # gathering from thousands of chunks takes minutes
    names = list(dict.fromkeys((*table.partition, *table.sort)))
    if not names:
        return [({}, rows)]
    columns = [rows.column(name).combine_chunks() for name in names]
    starts = _runs(columns)
    ranks = [_ranks(column.take(pa.array(starts))) for column in columns]
    order = np.lexsort(ranks[::-1])
    width = len(table.partition)
    new = np.zeros(len(starts), bool)
    for rank in ranks[:width]:
        placed = rank[order]
        new[1:] |= placed[1:] != placed[:-1]
    ends = np.append(starts[1:], rows.num_rows)
    parts = []
    for runs in np.split(order, np.flatnonzero(new)):
        values = {name: columns[i][int(starts[runs[0]])].as_py() for i, name in enumerate(names[:width])}
        parts.append((values, _gather(rows, starts[runs], ends[runs])))
    return parts


def _runs(columns: list[pa.Array]) -> np.ndarray:
    """First rows of stretches that sorting moves as one; every row for itself where rows are mixed.

    Logs come in with their steps in order: a few hundred episodes are sorted in no time, and a million
    rows take a tenth of what writing them takes.
    """
    *leading, last = columns
    size = len(last)
    differs = np.zeros(size - 1, bool)
    for column in leading:
        differs |= pc.not_equal(column.slice(1), column.slice(0, size - 1)).to_numpy(zero_copy_only=False)
    starts = np.append(0, np.flatnonzero(differs) + 1)
    rising = pc.less_equal(last.slice(0, size - 1), last.slice(1)).to_numpy(zero_copy_only=False)
    keys = pa.table(
        [column.take(pa.array(starts)) for column in leading], [str(i) for i in range(len(leading))]
    )
    once = keys.group_by(keys.column_names).aggregate([]).num_rows == len(starts)
    short = len(starts) * RUN > size
    return starts if once and not short and np.all(rising | differs) else np.arange(size)


def _ranks(values: pa.Array) -> np.ndarray:
    """Whole numbers that sort as the values do."""
    if not pa.types.is_string(values.type):
        return values.to_numpy(zero_copy_only=False)
    encoded = values.dictionary_encode()
    place = np.empty(len(encoded.dictionary), np.int64)
    place[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(place))
    return place[encoded.indices.to_numpy(zero_copy_only=False)]


def _gather(rows: pa.Table, starts: np.ndarray, ends: np.ndarray) -> pa.Table:
    """Stretches of rows. Long ones are not copied: copying a million steps costs half their writing."""
    lengths = ends - starts
    total = int(lengths.sum())
    if len(starts) * RUN > total and len(starts) > 1:
        moved = np.repeat(starts - np.append(0, np.cumsum(lengths)[:-1]), lengths)
        return rows.take(pa.array(moved + np.arange(total)))
    return pa.concat_tables(rows.slice(int(a), int(n)) for a, n in zip(starts, lengths, strict=True))
