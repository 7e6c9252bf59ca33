"""What a table takes: rows cast to its schema, or refused with the column named."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError
from storage_schemas.columns import Table

# partition values become folder names, which every reader decodes in its own way unless they are plain
PLAIN = re.compile(r"[A-Za-z0-9._-]{1,80}")


def conform(table: Table, rows: pa.Table) -> pa.Table:
    """``rows`` with exactly the columns of ``table``, in order and type.

    A missing nullable column is filled with nulls. Raises ``UserError`` for an unknown or missing
    column, a value that doesn't fit its type, a null where none may be, a partition value that is no
    plain folder name.
    """
    given = dict(zip(rows.column_names, rows.columns, strict=True))
    unknown = given.keys() - set(table.names)
    if unknown:
        raise UserError(
            f"table {table.name}: column {sorted(unknown)[0]!r} is not in its schema; "
            f"add it as a nullable column to storage_schemas/tables.py or drop it"
        )
    arrays: list[pa.ChunkedArray | pa.Array] = []
    for column in table.columns:
        values = given.get(column.name)
        if values is None:
            if not column.nullable:
                raise UserError(f"table {table.name}: column {column.name!r} is missing; give it a value")
            arrays.append(pa.nulls(rows.num_rows, column.type))
            continue
        if values.type != column.type:
            try:
                values = values.cast(column.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise UserError(
                    f"table {table.name}: column {column.name!r} takes {column.type}, "
                    f"not {values.type}: {error}"
                ) from None
        if values.null_count and not column.nullable:
            raise UserError(f"table {table.name}: column {column.name!r} has a null; every row needs a value")
        arrays.append(values)
    for name in table.partition:
        for value in pc.unique(arrays[table.names.index(name)]).to_pylist():
            if not PLAIN.fullmatch(value) or value.strip(".") == "":
                raise UserError(
                    f"table {table.name}: {name} {value!r} is no folder name; "
                    f"use letters, digits, dot, dash and underscore"
                )
    return pa.Table.from_arrays(arrays, schema=table.schema)
