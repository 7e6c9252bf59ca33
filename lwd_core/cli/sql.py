"""Ask the lake in SQL."""

from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._format import Format, InFormat, render
from lwd_core.cli._output import AsJson, answer
from lwd_core.errors import UserError
from lwd_core.lake.person_query import ask
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings


def sql(
    query: Annotated[str, typer.Argument(help="DuckDB SQL over the tables of the lake.")],
    as_of: Annotated[
        str, typer.Option(help="Version of table episodes, or a UTC time such as 2026-01-01T12:00.")
    ] = "",
    format: InFormat = Format.TABLE,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")] = None,
) -> None:
    """Ask the lake in SQL; it reads the lake and nothing else, and changes nothing.

    Example: lwd sql "SELECT task, avg((outcome = 'success')::INT) FROM episodes GROUP BY 1"
    """
    result = render(ask(Lake.open(Settings().lake), query, as_of), Format.JSON if as_json else format)
    if output is None:
        answer(result, nl=False)
        return
    try:
        output.write_bytes(result)
    except OSError as error:
        raise UserError(f"{output}: can't be written ({error.strerror}); name another file") from error
