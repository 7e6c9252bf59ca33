"""How every command answers: a table or a line for a person, one JSON document for a program."""

import io
import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from decimal import Decimal
from typing import Annotated, Any

import click
import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lwd_core.cli._ask import Option

#: Width to which the widest column of a table may be folded.
FOLDED = 24
_ANSWERS = f"{__name__}.answers"


def _document_alone(context: click.Context, asked: bool) -> bool:
    """With --json standard output is the document's: what a plug-in prints meanwhile goes to the other."""
    if asked and _ANSWERS not in context.meta:
        context.meta[_ANSWERS] = sys.stdout
        context.with_resource(redirect_stdout(sys.stderr))
    return asked


AsJson = Annotated[bool, Option("--json", help="Print JSON.", callback=_document_alone)]


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
    """A table on standard output; cells are values, or `rich.text.Text` where one has a colour.

    Where the screen is too narrow for it, a paragraph a row; into a pipe plain lines, a row each.
    """
    cells = [list(row) for row in rows]
    console = Console()
    if not console.is_terminal:
        answer(_plain_table(columns, cells, title), nl=False)
    elif _fits(columns, cells, console.width):
        console.print(_drawn(columns, cells, title))
    else:
        answer(_paragraphs(columns, cells, title, console.width), nl=False)


def table_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, null: str = "") -> str:
    """A table as text, as `say_table` writes it, without colours."""
    cells = [list(row) for row in rows]
    console = Console()
    if not console.is_terminal:
        return _plain_table(columns, cells, "", null)
    if not _fits(columns, cells, console.width):
        return _paragraphs(columns, cells, "", console.width, null)
    text = Console(file=io.StringIO(), width=console.width, markup=False, highlight=False)
    text.print(_drawn(columns, cells, "", null))
    assert isinstance(text.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in text.file.getvalue().splitlines())


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


def _drawn(columns: Sequence[str], cells: Sequence[Sequence[Any]], title: str, null: str = "") -> Table:
    drawn = Table(box=box.SIMPLE, title=title or None, title_justify="left")
    for name, number in zip(columns, _numbers(columns, cells), strict=True):
        # ids and settings are copied from here: what does not fit is folded, never cut
        drawn.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(v if isinstance(v, Text) else Text(cell(v, null)) for v in row))
    return drawn


def _numbers(columns: Sequence[str], cells: Sequence[Sequence[Any]]) -> list[bool]:
    """Which columns hold numbers."""
    return [
        any(isinstance(row[i], int | float) and not isinstance(row[i], bool) for row in cells)
        for i in range(len(columns))
    ]


def _words(value: Any, null: str) -> str:
    return value.plain if isinstance(value, Text) else cell(value, null)


def _widths(columns: Sequence[str], texts: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, [name, *(row[i] for row in texts)])) for i, name in enumerate(columns)]


def _fits(columns: Sequence[str], cells: Sequence[Sequence[Any]], width: int) -> bool:
    """Whether a table is readable on a screen: all columns whole, but for the widest, which may fold."""
    widths = _widths(columns, [[_words(v, "") for v in row] for row in cells])
    widest = max(widths, default=0)
    return sum(widths) - widest + min(widest, FOLDED) + 3 * len(widths) <= width


def _plain_table(columns: Sequence[str], cells: Sequence[Sequence[Any]], title: str, null: str = "") -> str:
    """Aligned columns two blanks apart and nothing else, so that `grep`, `sort` and `cut` work on them."""
    texts = [[" ".join(_words(v, null).split("\n")) for v in row] for row in cells]
    widths, numbers = _widths(columns, texts), _numbers(columns, cells)
    lines = [title] if title else []
    for row in ([*columns], *texts):
        padded = [
            " " * (width - cell_len(text)) + text if number else text + " " * (width - cell_len(text))
            for text, width, number in zip(row, widths, numbers, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "".join(f"{line}\n" for line in lines)


def _paragraphs(
    columns: Sequence[str], cells: Sequence[Sequence[Any]], title: str, width: int, null: str = ""
) -> str:
    """A row each: its first cell, and below it the others by name; what says nothing is left out."""
    lines = [title] if title else []
    for row in cells:
        first, *others = (_words(v, null) for v in row)
        told = [f"{name} {text}" for name, text in zip(columns[1:], others, strict=True) if text]
        lines.append(first)
        lines += textwrap.wrap(
            ", ".join(told), max(width, 20), initial_indent="  ", subsequent_indent="  ",
            break_on_hyphens=False,
        )  # fmt: skip
    return "".join(f"{line}\n" for line in lines)
