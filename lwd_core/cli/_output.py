"""How every command answers: a table or a line for a person, one JSON document for a program."""

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from decimal import Decimal
from typing import Annotated, Any

import click
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_ANSWERS = f"{__name__}.answers"


def _document_alone(context: click.Context, asked: bool) -> bool:
    """With --json standard output is the document's: what a plug-in prints meanwhile goes to the other."""
    if asked and _ANSWERS not in context.meta:
        context.meta[_ANSWERS] = sys.stdout
        context.with_resource(redirect_stdout(sys.stderr))
    return asked


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", callback=_document_alone)]


def answer(text: str | bytes, *, nl: bool = True) -> None:
    """The command's answer, on standard output."""
    context = click.get_current_context(silent=True)
    typer.echo(text, file=context.meta.get(_ANSWERS) if context else None, nl=nl)


def say_json(value: object) -> None:
    """One JSON document on standard output; what JSON has no word for becomes text."""
    answer(to_json(value))


def say_document(value: object, as_json: bool) -> None:
    """What has too many parts for a table: JSON either way, indented for a person."""
    answer(to_json(value) if as_json else json.dumps(value, ensure_ascii=False, default=_plain, indent=2))


def say_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """All of the rows as JSON, or these columns of them as a table."""
    if as_json:
        say_json([dict(row) for row in rows])
    elif rows:
        say_table(columns, ([row[name] for name in columns] for row in rows))
    else:
        typer.echo("nothing")


def say_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """A table on standard output; cells are values, or `rich.text.Text` where one has a colour."""
    drawn = _drawn(columns, rows, title)
    if Console().is_terminal:
        Console().print(drawn)
    else:
        typer.echo(_text(drawn), nl=False)


def table_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, null: str = "") -> str:
    """A table as text, as wide as the screen, or as it likes on its way into a file."""
    return _text(_drawn(columns, rows, "", null))


def to_json(value: object) -> str:
    """A line of JSON; sums of whole numbers, which arrive as decimals, are whole numbers."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def cell(value: Any, null: str = "") -> str:
    """A value as a person reads it; what has parts is JSON."""
    if value is None:
        return null
    if isinstance(value, list | dict):
        return to_json(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else str(value)


def _drawn(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str, null: str = "") -> Table:
    cells = [list(row) for row in rows]
    drawn = Table(box=box.SIMPLE, title=title or None, title_justify="left")
    for name, values in zip(columns, zip(*cells, strict=True) if cells else [()] * len(columns), strict=True):
        number = any(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        # ids and settings are copied from here: what does not fit is folded, never cut
        drawn.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(v if isinstance(v, Text) else Text(cell(v, null)) for v in row))
    return drawn


def _text(drawn: Table) -> str:
    width = None if Console().is_terminal else 100_000  # nothing is folded on its way into a file
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    console.print(drawn)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())
