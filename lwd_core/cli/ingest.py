"""Take raw logs into the lake."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from lwd_core.cli._output import AsJson, say_json
from lwd_core.errors import StorageError, UserError
from lwd_core.ingest.commit import IngestResult
from lwd_core.ingest.commit import ingest as take_in
from lwd_core.ingest.landing import UNSAID, LandedLog, Origin
from lwd_core.ingest.reconcile import quarantined
from lwd_core.ingest.walk import shown
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LogState


def ingest(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or buckets; default: landing zone.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that read logs.", min=1)] = 1,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what lands, until stopped.")] = False,
    site: Annotated[str, typer.Option(help="Site of logs that lie outside of the landing zone.")] = "",
    robot: Annotated[str, typer.Option(help="Robot of logs that lie outside of the landing zone.")] = "",
    day: Annotated[str, typer.Option(help="Day of logs that lie outside of it, YYYY-MM-DD.")] = "",
    every: Annotated[float, typer.Option(help="Seconds between two looks, with --follow.", min=0)] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Take raw logs into the lake: each once, unreadable ones to quarantine with a reason.

    In the landing zone, <site>/<day>/<robot>/ says where a log is from; elsewhere --site, --robot and --day
    do, and else the log itself.

    Example: lwd ingest ~/sets/pick-cube --site lab-2 --robot so101-3 --day 2026-01-05
    """
    settings = Settings()
    origin = Origin(site or None, day or None, robot or None)
    lake = Lake.open(settings.lake, create=True)
    # what was refused for want of an origin is read anew with one
    again = frozenset() if origin == UNSAID else quarantined(lake)
    while follow:
        try:
            if paths or open_location(settings.landing).exists():
                result = run(lake, settings, paths or [settings.landing], workers, again, origin)
                if result.episodes or result.reasons:
                    report(result, as_json)
        except (UserError, OSError) as problem:
            if not isinstance(problem, OSError) and not isinstance(problem.__cause__, OSError):
                raise
            typer.echo(f"{problem}; trying again", err=True)  # a full disk or a lost line passes
        time.sleep(every)
    result = run(lake, settings, paths or [settings.landing], workers, again, origin)
    report(result, as_json)
    if paths and not result.met:
        where = ", ".join(map(shown, paths))
        raise UserError(
            f"{where}: no log there, nothing was taken in; hidden names and *.tmp are passed over"
        )
    if paths and result.quarantined.files and not (result.accepted.files or result.salvaged.files):
        uri, reason = result.reasons[0]
        raise UserError(f"{uri}: {reason}; none of the logs named could be taken in")


def run(
    lake: Lake,
    settings: Settings,
    paths: list[str],
    workers: int = 1,
    again: frozenset[tuple[str, str]] = frozenset(),
    origin: Origin = UNSAID,
) -> IngestResult:
    """Ingest with a progress line on standard error. Raises ``UserError`` where disk or network fail."""
    embodiments = embodiments_of(settings)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("logs", total=None)

        def seen(done: int, log: LandedLog) -> None:
            bar.update(task, completed=done, description=f"{done} logs, now {log.place.rsplit('/', 1)[-1]}")

        try:
            return take_in(
                lake, settings, paths, embodiments=embodiments, now_ns=time.time_ns(), progress=seen,
                workers=workers, again=again, origin=origin,
            )  # fmt: skip
        except StorageError:
            raise
        except OSError as error:
            raise UserError(
                f"{error}: nothing half was kept; make room or restore the connection, then run it again"
            ) from error


def embodiments_of(settings: Settings) -> dict[str, Embodiment]:
    """The embodiment files there are. Raises ``UserError`` where there is none."""
    embodiments = load_embodiments(settings.embodiments)
    if not embodiments:
        raise UserError(
            f"{settings.embodiments}: no embodiment file there; put a *.yaml there or set LWD_EMBODIMENTS "
            f"(`lwd embodiment infer LOG` drafts one)"
        )
    return embodiments


def report(result: IngestResult, as_json: bool = False) -> None:
    """Print what became of the logs."""
    if as_json:
        tallies = {str(state): asdict(result.tally(state)) for state in (*LogState, "known")}
        counts = {"episodes": result.episodes, "steps": result.steps, "let_in": result.let_in}
        say_json(tallies | counts | {"reasons": dict(result.reasons)})
        return
    for state in (*LogState, "known"):
        tally = result.tally(state)
        if tally.files:
            typer.echo(f"{state:12} {tally.files:8} logs {tally.bytes:14} bytes")
    typer.echo(f"{'episodes':12} {result.episodes:8}      {result.steps:14} steps")
    if result.let_in:
        typer.echo(f"{'let in':12} {result.let_in:8} logs, refused before their robots were enrolled")
    for uri, reason in result.reasons[:20]:
        typer.echo(f"  {uri}: {reason}")
    if len(result.reasons) > 20:
        typer.echo(f"  … {len(result.reasons) - 20} more: lwd logs")
