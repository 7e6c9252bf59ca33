"""Episodes and policies in the formats of other projects."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._named import policy_named
from lwd_core.cli._output import AsJson, say_json
from lwd_core.exports.choices import MixedCameras, VideoCodec


class EpisodesByDefault(TyperGroup):
    """``lwd export lerobot DIR`` is ``lwd export episodes lerobot DIR``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = not args or args[0] in self.commands or args[0] == "--help"
        return super().parse_args(ctx, args if named else ["episodes", *args])


class Layout(StrEnum):
    """Whose folder a policy becomes."""

    LEROBOT = "lerobot"


app = typer.Typer(cls=EpisodesByDefault, no_args_is_help=True, help=__doc__)


@app.command()
def policy(
    out: Annotated[Path, Argument(help="New folder for the policy.")],
    to: Annotated[Layout, Option(help="Who is to read it.")] = Layout.LEROBOT,
    policy: Annotated[str, Option(help="Policy id, the beginning of one, or a channel.")] = "production",
    as_json: AsJson = False,
) -> None:
    """Give a policy that was learned on another project's checkpoint back in that one's layout, base and all.

    Example: lwd export policy --to lerobot ./given-back
    """
    from lwd_core.lake.store import Lake
    from lwd_core.policies.inference import load_policy
    from lwd_core.policies.registry import address
    from lwd_core.settings import Settings

    settings = Settings()
    row = policy_named(Lake.open(settings.lake), policy)
    loaded = load_policy(address(settings.policies, row), settings.keys)
    notes = loaded.give_back(out)
    if as_json:
        say_json({"folder": out, "to": str(to), "policy_id": loaded.policy_id, "notes": notes})
        return
    typer.echo(f"{out}: policy {loaded.policy_id}, as {to} reads it")
    for note in notes:
        typer.echo(f"  {note}", err=True)


@app.command()
def episodes(
    name: Annotated[str, Argument(help="Format: lerobot, rlds, one that a package adds, or module:Class.")],
    out: Annotated[Path, Argument(help="New folder for what is written.")],
    where: Annotated[str, Option(help="SQL condition over episodes.")] = "true",
    videos: Annotated[bool, Option(help="Write camera frames too.")] = True,
    cameras: Annotated[
        MixedCameras,
        Option(help="Episodes whose cameras differ: black frames, or a set for each kind."),
    ] = MixedCameras.REFUSE,
    codec: Annotated[VideoCodec, Option(help="How films are written.")] = VideoCodec.H264,
    as_json: AsJson = False,
) -> None:
    """Write episodes in the format of another project: a LeRobot v3.0 set, RLDS, or what a package adds.

    The word episodes may be left out.
    Example: lwd export episodes lerobot ./successes --where "outcome = 'success' AND task = 'door-open'"
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
