"""Query results as text or bytes: for people, spreadsheets, programs."""

import csv
import io
import json
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

SHOWN = 1000


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def render(rows: pa.Table, form: Format) -> bytes:
    """The result in a form. Nested values are JSON in a table or csv."""
    match form:
        case Format.TABLE:
            return _table(rows).encode()
        case Format.CSV:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(rows.column_names)
            writer.writerows([_cell(value, "") for value in row.values()] for row in rows.to_pylist())
            return text.getvalue().encode()
        case Format.JSON:
            lines = ",\n".join(
                json.dumps(row, default=_plain, ensure_ascii=False) for row in rows.to_pylist()
            )
            return f"[{lines}]\n".encode()
        case Format.PARQUET:
            sink = io.BytesIO()
            pq.write_table(rows, sink, compression="zstd")
            return sink.getvalue()


def _plain(value: Any) -> Any:
    """JSON of what JSON has no word for; sums of whole numbers arrive as decimals."""
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else str(value)


def _cell(value: Any, null: str) -> str:
    if value is None:
        return null
    if isinstance(value, list | dict):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return str(value)


def _table(rows: pa.Table) -> str:
    drawn = Table(box=box.SIMPLE)
    for field in rows.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        drawn.add_column(field.name, justify="right" if number else "left", overflow="fold")
    for row in rows.slice(0, SHOWN).to_pylist():
        drawn.add_row(*(_number(value) for value in row.values()))
    screen = Console()
    width = screen.width if screen.is_terminal else 100_000  # nothing is folded on its way into a file
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(drawn)
    assert isinstance(console.file, io.StringIO)
    more = f"… {rows.num_rows - SHOWN} more rows\n" if rows.num_rows > SHOWN else ""
    return console.file.getvalue() + more


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _cell(value, "∅")
