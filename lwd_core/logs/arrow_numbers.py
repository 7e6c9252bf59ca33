"""An Arrow column as numbers: (N,) or (N, W, …), NaN where a row holds none."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The column's rows.

    A row that is null, or of another length than most, is NaN, so that it masks itself and no other.
    Raises ValueError for rows that are no arrays of one shape.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    return _array(array)


def _array(array: pa.Array) -> np.ndarray:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if not (_is_list(array.type)):
        return array.to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.list_value_length(array), -1).to_numpy()
    values, counts = np.unique(lengths[lengths >= 0], return_counts=True)
    width = int(values[counts.argmax()]) if len(values) else 0
    whole = lengths == width
    inner = _array((array if whole.all() else array.filter(pa.array(whole))).flatten())
    rows = inner.reshape(int(whole.sum()), width, *inner.shape[1:])
    if whole.all():
        return rows
    if rows.dtype.kind not in "bifu":
        raise ValueError("rows of different lengths")
    filled = np.full((len(lengths), *rows.shape[1:]), np.nan)
    filled[whole] = rows
    return filled


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
