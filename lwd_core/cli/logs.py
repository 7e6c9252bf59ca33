"""What became of the raw logs; try quarantined ones again, apply changed embodiment files."""

import time
from dataclasses import asdict
from typing import Annotated

import typer

from lwd_core.cli._format import Format, InFormat, say_result
from lwd_core.cli._output import AsJson, say_json
from lwd_core.cli.ingest import embodiments_of, report, run
from lwd_core.cli.main import EXIT_FOUND
from lwd_core.errors import UserError, suggest
from lwd_core.ingest.reconcile import quarantined, reconcile, unaccounted
from lwd_core.ingest.remap import outdated
from lwd_core.ingest.remap import remap as take_anew
from lwd_core.lake.addresses import renew
from lwd_core.lake.same_recording import DUPLICATES
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import resolve
from storage_schemas.vocabulary import LogState

app = typer.Typer(add_completion=False)

STATES = """
SELECT state, uri, bytes, episodes, messages, messages_lost,
       coalesce(reason, 'other bytes at this address since: ' || superseded_by[:12]) AS reason FROM logs
WHERE (? = '' OR state = ?) ORDER BY state, uri
"""


@app.callback(invoke_without_command=True)
def logs(
    context: typer.Context,
    state: Annotated[
        str, typer.Option(help="Only accepted, duplicate, salvaged, quarantined or superseded.")
    ] = "",
    format: InFormat = Format.TABLE,
    as_json: AsJson = False,
) -> None:
    """List raw logs with their state and reason.

    Example: lwd logs --state quarantined --format json
    """
    if context.invoked_subcommand is None:
        if state and state not in tuple(LogState):
            raise UserError(f"--state {state}: no such state{suggest(state, LogState)}")
        lake = Lake.open(Settings().lake)
        say_result(lake.sql(STATES, [state, state]), format, as_json)
        if copies := lake.sql(DUPLICATES).num_rows:
            typer.echo(f"{copies} episodes are the recording of another: lwd logs same", err=True)


@app.command()
def same(format: InFormat = Format.TABLE, as_json: AsJson = False) -> None:
    """List episodes that are the recording of another: copied, or received in two formats.

    Snapshots and verdicts count such a recording once.

    Example: lwd logs same --format json
    """
    say_result(Lake.open(Settings().lake).sql(DUPLICATES), format, as_json)


@app.command("reconcile")
def reconcile_command(format: InFormat = Format.TABLE, as_json: AsJson = False) -> None:
    """Files and bytes per robot and day, and what became of them; exit code 1 if any is missing.

    Example: lwd logs reconcile
    """
    settings = Settings()
    lake = Lake.open(settings.lake)
    say_result(reconcile(lake), format, as_json)
    missing = unaccounted(lake, settings.landing) if lake.place.fs.exists(settings.landing) else []
    for log in missing:
        knows = "" if log.known is None else f", of which the lake knows {log.known}"
        typer.echo(f"not in the lake yet: {log.uri} ({log.bytes} bytes{knows})", err=True)
    raise typer.Exit(EXIT_FOUND if missing else 0)


@app.command()
def remap(
    logs: Annotated[
        list[str] | None, typer.Argument(help="Addresses or ids of logs; default: all the change concerns.")
    ] = None,
    embodiment: Annotated[str, typer.Option(help="Only logs of this embodiment.")] = "",
    workers: Annotated[int, typer.Option(help="Processes that read logs.", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Apply changed embodiment files to logs that are in: read again, other rows replace theirs.

    Episodes keep their ids and what people said of them. Exit code 1 if a log had to stay as it was.

    Example: lwd logs remap --embodiment so101
    """
    settings = Settings()
    lake, embodiments = Lake.open(settings.lake), embodiments_of(settings)
    chosen = outdated(lake, embodiments, named=logs or (), embodiment=embodiment)
    done = take_anew(lake, settings, chosen, embodiments=embodiments, now_ns=time.time_ns(), workers=workers)
    if as_json:
        say_json(asdict(done) | {"left": dict(done.left), "layers": sorted(done.layers)})
    else:
        typer.echo(f"remapped {done.logs} logs, {done.episodes} episodes, {done.steps} steps")
        if done.layers:
            typer.echo(f"to be labelled again: {', '.join(sorted(done.layers))}")
    for uri, why in done.left:
        typer.echo(f"left as it was: {uri}: {why}", err=True)
    raise typer.Exit(EXIT_FOUND if done.left else 0)


@app.command()
def retry(as_json: AsJson = False) -> None:
    """Read quarantined logs again, after a mend of the log, its digest, an embodiment or a reader.

    Example: lwd logs retry
    """
    settings = Settings()
    lake = Lake.open(settings.lake)
    renew(lake, settings.landing)
    again = quarantined(lake)
    uris = sorted({resolve(settings.landing, uri) for _, uri in again})
    uris = [uri for uri in uris if open_location(uri).exists()]
    report(run(lake, settings, uris, again=again), as_json)
