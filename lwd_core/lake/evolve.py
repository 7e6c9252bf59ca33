"""Schema evolution: a table of the lake follows its description by new nullable columns, nothing else."""

import pyarrow as pa

from lwd_core.errors import UserError
from storage_schemas.columns import Column, Table


def additions(table: Table, stored: pa.Schema) -> list[Column]:
    """Columns the description has and the stored table doesn't, in order.

    Raises ``UserError`` with the remedy where the two differ in anything but new nullable columns.
    """
    described = {column.name: column for column in table.columns}
    for field in stored:
        column = described.get(field.name)
        if column is None:
            raise _refused(table, f"column {field.name!r} is in the lake and not in its description")
        if column.type != field.type:
            raise _refused(
                table, f"column {field.name!r} is {field.type} in the lake, described as {column.type}"
            )
        if column.nullable != field.nullable:
            raise _refused(table, f"column {field.name!r} changed whether it may be null")
    new = [column for column in table.columns if column.name not in stored.names]
    for column in new:
        if not column.nullable:
            raise _refused(
                table, f"new column {column.name!r} may not be null, but old rows have no value for it"
            )
    return new


def _refused(table: Table, why: str) -> UserError:
    return UserError(
        f"table {table.name}: {why}; only new nullable columns may be added to version {table.version}: "
        f"describe the change as version {table.version + 1} of the table and migrate its rows"
    )
