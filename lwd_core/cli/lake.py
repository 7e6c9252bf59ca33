"""Upkeep of the lake: compact, vacuum, stats."""

from dataclasses import asdict
from typing import Annotated

import typer

from lwd_core.cli._output import AsJson, say_json, say_table
from lwd_core.lake.person_query import versions_as_of
from lwd_core.lake.store import Lake
from lwd_core.lake.upkeep import compact as merge
from lwd_core.lake.upkeep import folder_bytes
from lwd_core.lake.upkeep import stats as figures
from lwd_core.lake.upkeep import vacuum as sweep
from lwd_core.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command()
def compact(as_json: AsJson = False) -> None:
    """Merge small files; every version reads as before.

    Example: lwd lake compact
    """
    merged = merge(Lake.open(Settings().lake))
    if as_json:
        say_json({table: {"read": read, "written": written} for table, (read, written) in merged.items()})
        return
    for table, (read, written) in merged.items():
        if read:
            typer.echo(f"{table:18} {read} files -> {written}")


@app.command()
def vacuum(
    grace_hours: Annotated[float, typer.Option(help="Spare files younger than this.", min=0)] = 168.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete files the newest versions don't need; older versions go with them.

    Example: lwd lake vacuum --grace-hours 168 --dry-run
    """
    paths = sweep(Lake.open(Settings().lake), grace_hours=grace_hours, dry_run=dry_run)
    if as_json:
        say_json(list(paths))
        return
    for path in paths:
        typer.echo(path)


@app.command()
def stats(as_json: AsJson = False) -> None:
    """Versions, rows, files and bytes of every table, and of the frames.

    Example: lwd lake stats --json
    """
    lake = Lake.open(Settings().lake)
    files, size = folder_bytes(lake, "frames")
    tables = [asdict(t) for t in figures(lake)]
    if as_json:
        say_json({"tables": tables, "frames": {"files": files, "bytes": size}})
        return
    frames = {"table": "(frames)", "files": files, "bytes": size}
    columns = ("table", "version", "rows", "files", "small", "bytes")
    say_table(columns, ([row.get(name) for name in columns] for row in (*tables, frames)))


@app.command("shell-sql")
def shell_sql(
    as_of: Annotated[str, typer.Option(help="Version of table episodes, or a UTC time.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print views of the lake for a stock DuckDB.

    Example: lwd lake shell-sql > lake.sql && duckdb -init lake.sql
    """
    lake = Lake.open(Settings().lake)
    script = lake.script(versions_as_of(lake, as_of) if as_of else None)
    if as_json:
        say_json({"script": script})
    else:
        typer.echo(script, nl=False)
