"""Query results as bytes: for people, spreadsheets, programs."""

import csv
import io
from enum import StrEnum
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from lwd_core.cli._output import answer, cell, table_text, to_json

SHOWN = 1000


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


InFormat = Annotated[Format, typer.Option("--format", help="Output form.")]


def say_result(rows: pa.Table, form: Format, as_json: bool) -> None:
    """Print a result; ``--json`` is ``--format json``."""
    answer(render(rows, Format.JSON if as_json else form), nl=False)


def render(rows: pa.Table, form: Format) -> bytes:
    """The result in a form. Nested values are JSON in a table or csv."""
    match form:
        case Format.TABLE:
            shown = [row.values() for row in rows.slice(0, SHOWN).to_pylist()]
            more = f"… {rows.num_rows - SHOWN} more rows\n" if rows.num_rows > SHOWN else ""
            return (table_text(rows.column_names, map(list, shown), null="∅") + more).encode()
        case Format.CSV:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(rows.column_names)
            for row in rows.to_pylist():
                writer.writerow(v if isinstance(v, float) else cell(v) for v in row.values())
            return text.getvalue().encode()
        case Format.JSON:
            lines = ",\n".join(map(to_json, rows.to_pylist()))
            return f"[{lines}]\n".encode()
        case Format.PARQUET:
            sink = io.BytesIO()
            pq.write_table(rows, sink, compression="zstd")
            return sink.getvalue()
