"""Check environment, store, schemas and versions, and say what to do."""

from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from lwd_core.cli._output import AsJson, say_json
from lwd_core.cli.main import EXIT_FOUND
from lwd_core.doctor import Health, examine
from lwd_core.settings import Settings

_COLOUR = {Health.OK: "green", Health.ABSENT: "yellow", Health.WRONG: "red"}


def doctor(as_json: AsJson = False) -> None:
    """Check environment, store, schemas and versions. Exit code 1 if something is wrong.

    Example: lwd doctor
    """
    found = list(examine(Settings()))
    if as_json:
        say_json([asdict(d) for d in found])
    else:
        table = Table("check", "health", "found", "what to do")
        for d in found:
            table.add_row(d.name, f"[{_COLOUR[d.health]}]{d.health}[/]", d.found, d.remedy)
        Console().print(table)
    if any(d.health is Health.WRONG for d in found):
        raise typer.Exit(EXIT_FOUND)
