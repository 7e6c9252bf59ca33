"""What a table takes: rows cast to its schema, or refused with the column named."""

from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError
from lwd_core.storage.relative import plain
from storage_schemas.columns import Column, Table


def conform(table: Table, rows: pa.Table, *, stored: bool = False) -> pa.Table:
    """``rows`` with exactly the columns of ``table``, in order and type.

    A missing nullable column is filled with nulls. Raises ``UserError`` for an unknown or missing
    column, a value that doesn't fit its type, a null where none may be, a word that is not of the column's
    vocabulary, a partition value that is no plain folder name. Rows that are ``stored`` already keep
    the words they have.
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
            if not plain(value):  # partition values become folder names
                raise UserError(
                    f"table {table.name}: {name} {value!r} is no folder name; "
                    f"use letters, digits, dot, dash and underscore"
                )
    whole = pa.Table.from_arrays(arrays, schema=table.schema)
    if not stored:
        _check_words(table, whole)
    return whole


def _check_words(table: Table, rows: pa.Table) -> None:
    """Raise ``UserError`` for the first word that no vocabulary has."""
    for column in table.columns:
        if column.words is not None:
            _check(table, column, rows[column.name], column.words)
        elif column.words_by is not None:
            other, vocabularies = column.words_by
            for word, words in vocabularies.items():
                here = rows[column.name].filter(pc.equal(rows[other], word))
                _check(table, column, here, words)


def _check(table: Table, column: Column, values: pa.ChunkedArray, words: type[StrEnum]) -> None:
    allowed = [str(word) for word in words]
    known = pc.or_(pc.is_in(values, value_set=pa.array(allowed)), pc.is_null(values))
    if pc.all(known).as_py() is False:
        word = values.filter(pc.invert(known))[0].as_py()
        raise UserError(
            f"table {table.name}: column {column.name!r} has {word!r}; its words are {', '.join(allowed)}"
        )
