"""What all commands share: rows as a table or as JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say_json(value: object) -> None:
    """One JSON document on standard output; what JSON has no word for becomes text."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def say_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """All of the rows as JSON, or these columns of them as a table."""
    if as_json:
        say_json([dict(row) for row in rows])
        return
    if not rows:
        typer.echo("nothing")
        return
    table = Table()
    for name in columns:
        table.add_column(name, no_wrap=name == columns[0])  # what one copies must be whole
    for row in rows:
        table.add_row(*("" if row[c] is None else str(row[c]) for c in columns))
    Console().print(table)
