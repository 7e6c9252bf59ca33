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
    ranks = [_ranks(rows.column(name)) for name in names]
    order = np.lexsort(ranks[::-1])
    width = len(table.partition)
    new = np.zeros(rows.num_rows, bool)
    for rank in ranks[:width]:
        placed = rank[order]
        new[1:] |= placed[1:] != placed[:-1]
    parts = []
    for indices in np.split(order, np.flatnonzero(new)):
        values = {name: rows.column(name)[int(indices[0])].as_py() for name in table.partition}
        parts.append((values, _gather(rows, indices)))
    return parts


def _ranks(column: pa.ChunkedArray) -> np.ndarray:
    """Whole numbers that sort as the column does."""
    if not pa.types.is_string(column.type):
        return column.to_numpy()
    texts = column.combine_chunks()
    # equal texts mostly stand together: look at the first of each run only
    differs = pc.not_equal(texts.slice(1), texts.slice(0, len(texts) - 1))
    starts = np.append(0, np.flatnonzero(differs.to_numpy(zero_copy_only=False)) + 1)
    encoded = texts.take(pa.array(starts)).dictionary_encode()
    place = np.empty(len(encoded.dictionary), np.int64)
    place[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(place))
    ranks = place[encoded.indices.to_numpy(zero_copy_only=False)]
    return np.repeat(ranks, np.diff(np.append(starts, len(texts))))


def _gather(rows: pa.Table, indices: np.ndarray) -> pa.Table:
    """Rows by index. Long runs are not copied: copying a million steps costs half their writing."""
    starts = np.append(0, np.flatnonzero(np.diff(indices) != 1) + 1)
    if len(starts) * RUN > len(indices) and len(starts) > 1:
        return rows.take(pa.array(indices))
    ends = np.append(starts[1:], len(indices))
    return pa.concat_tables(
        rows.slice(int(indices[a]), int(b - a)) for a, b in zip(starts, ends, strict=True)
    )
