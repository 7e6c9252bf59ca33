"""Say things of episodes: as a person, or by checks and labels; queues, agreement, layers, files."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from lwd_core.cli import _models, _people
from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._output import AsJson, say_json, say_rows
from lwd_core.cli.main import EXIT_FOUND
from lwd_core.labels.labeller import LayerRun, run_labellers
from lwd_core.labels.layers import drop_layer, layers
from lwd_core.labels.registry import Broken, installed
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)
_people.join(app)
_models.join(app)
COLUMNS = ("layer_id", "kind", "episodes", "rows", "unlabelled")


@app.command()
def run(
    what: Annotated[
        list[str] | None,
        Argument(
            help="FILE.py, FILE.py:name, module:name, a name or a trained model; default: all installed."
        ),
    ] = None,
    where: Annotated[str, Option(help="SQL condition over episodes.")] = "true",
    as_json: AsJson = False,
) -> None:
    """Run checks and labels over the episodes they have not seen yet.

    An episode of which a function fails is named with the reason, the others are labelled, and the exit code
    is 1. Ctrl-C keeps what was committed; the same command goes on from there.

    Example: lwd label run my_labels.py --where "task = 'drawer-open'"
    """
    settings = Settings()
    lake = Lake.open(settings.lake)
    labellers, broken = _models.labellers_of(lake, what or [])
    with Progress(console=Console(stderr=True), transient=True) as bar:
        lines = {one.layer_id: bar.add_task(one.layer_id, total=None) for one in labellers}

        def seen(done: LayerRun) -> None:
            bar.update(
                lines[done.layer_id], completed=done.episodes + len(done.failed), total=done.total or 1
            )

        runs = run_labellers(
            lake, labellers, now_ns=time.time_ns(), where=where, progress=seen,
            embodiments=load_embodiments(settings.embodiments),
        )  # fmt: skip
    if as_json:
        say_json([asdict(done) for done in runs])
    for done in runs:
        if not as_json:
            typer.echo(f"{done.layer_id}: {done.episodes} episodes labelled, {done.rows} labels")
        for reason in done.reasons():
            typer.echo(f"{done.layer_id}: {reason}", err=True)
    for one in broken:
        typer.echo(f"broken: {one.reason}", err=True)
    if broken or any(done.failed for done in runs):
        raise typer.Exit(EXIT_FOUND)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the lake's layers, and what other packages have installed.

    Example: lwd label list
    """
    rows = {one.layer_id: asdict(one) for one in layers(Lake.open(Settings().lake))}
    broken: list[Broken] = []
    for one in installed():
        if isinstance(one, Broken):
            broken.append(one)
        elif one.layer_id not in rows:
            rows[one.layer_id] = dict.fromkeys(COLUMNS) | {"layer_id": one.layer_id, "kind": str(one.kind)}
    say_rows(list(rows.values()), COLUMNS, as_json)
    for one in broken:
        typer.echo(f"broken: {one.reason}", err=True)


@app.command()
def drop(
    layer: Annotated[str, Argument(help="Layer, as in spill@1.")],
    as_json: AsJson = False,
) -> None:
    """Take a layer out of the lake; older versions of the table still hold it.

    Example: lwd label drop spill@1
    """
    gone = drop_layer(Lake.open(Settings().lake), layer)
    if as_json:
        say_json(asdict(gone))
    else:
        typer.echo(f"{gone.layer_id}: {gone.rows} labels of {gone.episodes} episodes taken out")
