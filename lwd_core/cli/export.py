"""Episodes in the formats of other projects."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from lwd_core.cli._output import AsJson, say_json
from lwd_core.exports.lerobot import export_lerobot
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.callback()
def export() -> None:
    """Episodes in the formats of other projects."""


@app.command()
def lerobot(
    out: Annotated[Path, typer.Argument(help="New folder for the data set.")],
    where: Annotated[str, typer.Option(help="SQL condition over episodes.")] = "true",
    videos: Annotated[bool, typer.Option(help="Write camera videos (H.264).")] = True,
    as_json: AsJson = False,
) -> None:
    """Write episodes as a LeRobot v3.0 data set.

    Example: lwd export lerobot ./successes --where "outcome = 'success' AND task = 'door-open'"
    """
    settings = Settings()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("episodes", total=None)
        result = export_lerobot(
            Lake.open(settings.lake),
            out,
            embodiments=load_embodiments(settings.embodiments),
            where=where,
            videos=videos,
            progress=lambda done, total: bar.update(line, completed=done, total=total),
        )
    if as_json:
        say_json(asdict(result))
        return
    cameras = f", cameras {', '.join(result.cameras)}" if result.cameras else ""
    typer.echo(f"{result.folder}: {result.episodes} episodes, {result.frames} frames{cameras}")
    if result.unshown:
        typer.echo(f"  {result.unshown} frames can't be shown: a grey card stands in their place", err=True)
