"""`lwd label hflow`: what HFlow found, as layers."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._ask import Argument
from lwd_core.cli._output import AsJson, say_json
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings


def join(app: typer.Typer) -> None:
    """Add the command to ``lwd label``."""
    app.command()(hflow)


def hflow(
    catalog: Annotated[Path, Argument(help="Folder of HFlow's catalog: DATA_ROOT/catalog.")],
    as_json: AsJson = False,
) -> None:
    """Read an HFlow catalog's verdicts, measurements, intervals and tags as label layers.

    Ingest its canonical episodes first; again, it adds what is new.

    Example: lwd label hflow data/catalog
    """
    from lwd_core.labels.hflow import read_catalog

    read = read_catalog(Lake.open(Settings().lake), catalog, now_ns=time.time_ns())
    if as_json:
        say_json(asdict(read))
        return
    for run in read.layers:
        typer.echo(f"{run.layer_id}: {run.episodes} episodes labelled, {run.rows} labels")
    typer.echo(f"{read.episodes} episodes of the lake are in the catalog")
    if read.absent:
        typer.echo(f"  {read.absent} of the catalog's logs are not in the lake: ingest them", err=True)
    if read.outside:
        typer.echo(f"  {read.outside} intervals lie in no step of an episode", err=True)
