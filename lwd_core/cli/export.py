"""Episodes in the formats of other projects."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lwd_core.cli._output import AsJson, say_json
from lwd_core.exports.choices import MixedCameras, VideoCodec


def export(
    name: Annotated[
        str, typer.Argument(help="Format: lerobot, rlds, one that a package adds, or module:Class.")
    ],
    out: Annotated[Path, typer.Argument(help="New folder for what is written.")],
    where: Annotated[str, typer.Option(help="SQL condition over episodes.")] = "true",
    videos: Annotated[bool, typer.Option(help="Write camera frames too.")] = True,
    cameras: Annotated[
        MixedCameras,
        typer.Option(help="Episodes whose cameras differ: black frames, or a set for each kind."),
    ] = MixedCameras.REFUSE,
    codec: Annotated[VideoCodec, typer.Option(help="How films are written.")] = VideoCodec.H264,
    as_json: AsJson = False,
) -> None:
    """Write episodes in the format of another project: a LeRobot v3.0 set, RLDS, or what a package adds.

    Example: lwd export lerobot ./successes --where "outcome = 'success' AND task = 'door-open'"
    """
    from rich.console import Console
    from rich.progress import Progress

    from lwd_core.exports.export import export as write
    from lwd_core.lake.store import Lake
    from lwd_core.logs.embodiment import load_embodiments
    from lwd_core.settings import Settings

    settings = Settings()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("episodes", total=None)
        result = write(
            name,
            Lake.open(settings.lake),
            out,
            embodiments=load_embodiments(settings.embodiments),
            where=where,
            videos=videos,
            mixed=cameras,
            codec=codec,
            progress=lambda done, total: bar.update(line, completed=done, total=total),
        )
    if as_json:
        say_json(asdict(result))
        return
    seen = f", cameras {', '.join(result.cameras)}" if result.cameras else ""
    typer.echo(f"{result.folder}: {result.episodes} episodes, {result.frames} frames{seen}")
    if result.unshown:
        typer.echo(f"  {result.unshown} frames can't be shown: a grey card stands in their place", err=True)
