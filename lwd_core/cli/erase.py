"""Erase episodes: from raw logs, tables, frames, snapshots and histories, with proof."""

import time
from typing import Annotated

import typer

from lwd_core.cli.main import EXIT_FOUND, complain
from lwd_core.errors import UserError
from lwd_core.lake.erase import Moved, Plan, needles, pending, plan
from lwd_core.lake.erase import erase as carry_out
from lwd_core.lake.search import search
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings


def erase(
    episodes: Annotated[list[str] | None, typer.Argument(help="Episode ids.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    whole_log: Annotated[bool, typer.Option("--whole-log", help="Also other episodes of its log.")] = False,
) -> None:
    """Erase episodes for good, search every byte for them, list the policies trained on them.

    Without episodes, finishes erasures that were interrupted. Example: lwd erase 3f2a… --dry-run
    """
    settings = Settings()
    lake = Lake.open(settings.lake)
    plans = pending(lake)
    begun = {episode for unfinished in plans for episode in unfinished.episodes}
    fresh = [episode for episode in episodes or () if episode not in begun]
    if fresh:
        plans.append(plan(lake, fresh, whole_log=whole_log))
    elif not plans:
        raise UserError("no episode named and no erasure to finish; give episode ids")
    for what in plans:
        describe(what)
    if dry_run:
        return
    if not yes:
        typer.confirm("Erase? This can't be undone", abort=True)
    for what in plans:
        _carry_out(lake, settings, what)


def describe(what: Plan) -> None:
    """Print what an erasure means."""
    typer.echo(f"{len(what.episodes)} episodes, {what.steps} steps")
    for uri, size in what.raw:
        typer.echo(f"raw log deleted     {uri} ({size} bytes)")
    if what.siblings:
        typer.echo(f"episodes that stay, without their raw log: {', '.join(what.siblings)}")
    for shard in what.shards:
        typer.echo(f"frames              {shard} {'written anew' if what.siblings else 'deleted'}")
    for digest in what.snapshots:
        typer.echo(f"snapshot withdrawn  {digest}, a successor without them takes its place")
    for policy in what.policies:
        typer.echo(f"policy trained on   {policy}; it still is: retire it or train again")
    typer.echo("history             older versions of the tables can't be read any more")
    typer.echo("pages               every page under reports is deleted; the next report makes them anew")
    if what.shards:
        typer.echo(
            "Dagster's history   its record of `steps` may show frames: `dagster asset wipe steps` too"
        )


def _carry_out(lake: Lake, settings: Settings, what: Plan) -> None:
    from lwd_core.snapshots.reissue import reissue

    now_ns = time.time_ns()

    def again(digest: str, erased: frozenset[str], moved: Moved) -> str | None:
        done = reissue(lake, settings.snapshots, digest, erased=erased, moved=moved, now_ns=now_ns)
        return done.successor

    done = carry_out(lake, what, reissue=again, now_ns=now_ns, pages=settings.reports)
    for old, new in done.successors.items():
        typer.echo(f"snapshot {old[:12]} -> {new[:12] if new else 'nothing left'}")
    places = ("landing", "lake", "snapshots", "checkpoints", "policies", "releases", "reports")
    left = search([getattr(settings, place) for place in places], needles(what))
    for path in left:
        typer.echo(f"still found in      {path}", err=True)
    if left:
        complain(f"{len(left)} files still hold it; delete them or make them anew, then erase again")
        raise typer.Exit(EXIT_FOUND)
    typer.echo(f"absent: no file under {settings.home} holds its id or content")
