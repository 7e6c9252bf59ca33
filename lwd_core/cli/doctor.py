"""Check environment, store, schemas and versions, and say what to do."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from lwd_core.cli._output import AsJson, say_json, say_table
from lwd_core.cli.main import EXIT_FOUND
from lwd_core.doctor import Health, examine
from lwd_core.settings import Settings

_COLOUR = {Health.OK: "green", Health.ABSENT: "yellow", Health.WRONG: "red"}


def doctor(
    as_json: AsJson = False,
    deep: Annotated[
        bool, typer.Option("--bytes", help="Read every byte of the lake, not only names and sizes.")
    ] = False,
) -> None:
    """Check environment, store, files, schemas and versions. Exit code 1 if something is wrong.

    Example: lwd doctor --bytes
    """
    found = list(examine(Settings(), deep=deep))
    if as_json:
        say_json([asdict(d) for d in found])
    else:
        rows = [(d.name, Text(d.health, style=_COLOUR[d.health]), d.found, d.remedy) for d in found]
        say_table(("check", "health", "found", "what to do"), rows)
    if any(d.health is Health.WRONG for d in found):
        raise typer.Exit(EXIT_FOUND)
