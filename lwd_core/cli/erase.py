"""Erase episodes: from raw logs, tables, frames, snapshots and histories, with proof."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import typer

from lwd_core.cli._output import AsJson, say_json
from lwd_core.cli.main import EXIT_FOUND, complain
from lwd_core.erasure.erase import erase as carry_out
from lwd_core.erasure.pending import pending
from lwd_core.erasure.plan import Plan, plan
from lwd_core.erasure.raw_logs import Fate
from lwd_core.erasure.search import SearchResult, search
from lwd_core.erasure.sought import absent
from lwd_core.errors import UserError
from lwd_core.lake.kept_frames import Moved
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location

PLACES = ("lake", "snapshots", "checkpoints", "policies", "releases", "reports")
Echo = Callable[[str], None]
REMEDY = {
    Fate.SHARED: "--whole-log erases those too, --also-delete PATH deletes the file alone",
    Fate.ELSEWHERE: "--also-delete PATH deletes it",
}


def erase(
    episodes: Annotated[list[str] | None, typer.Argument(help="Episode ids.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    whole_log: Annotated[bool, typer.Option("--whole-log", help="Also other episodes of its log.")] = False,
    also_delete: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A raw log to delete that else stays, if its digest is right."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Erase episodes for good, search every byte for them, list the policies trained on them.

    Raw logs are deleted that lie in the landing zone and hold no other episode; what stays is named. Without
    episodes, finishes erasures that were interrupted. Can be run again at any time.
    Example: lwd erase 3f2a… --dry-run
    """
    settings = Settings()
    lake = Lake.open(settings.lake)
    plans = pending(lake, settings.landing)
    begun = {episode for unfinished in plans for episode in unfinished.episodes}
    fresh = [episode for episode in episodes or () if episode not in begun]
    if fresh:
        plans.append(plan(lake, settings.landing, fresh, whole_log=whole_log, also_delete=also_delete or ()))
    elif not plans:
        raise UserError("no episode named and no erasure to finish; give episode ids")
    echo = partial(typer.echo, err=as_json)  # a program gets one document, a person the story
    for what in plans:
        describe(what, echo)
    if not dry_run and not yes:
        typer.confirm("Erase? This can't be undone", abort=True, err=as_json)
    done = [None if dry_run else _carry_out(lake, settings, what, echo) for what in plans]
    if as_json:
        say_json([_facts(what, left) for what, left in zip(plans, done, strict=True)])
    if any(done):
        raise typer.Exit(EXIT_FOUND)


def _facts(what: Plan, left: list[str] | None) -> dict[str, Any]:
    """A plan as JSON; ``left`` are the files that still hold it, None where nothing was erased yet."""
    names = ("episodes", "unknown", "steps", "siblings", "shards", "snapshots", "policies", "models")
    return {name: getattr(what, name) for name in names} | {
        "raw_logs": [{"path": log.path, "bytes": log.bytes, "fate": log.fate} for log in what.raw],
        "erased": left is not None and not left,
        "still_found_in": left,
    }


def describe(what: Plan, echo: Echo) -> None:
    """Print what an erasure means."""
    echo(f"{len(what.episodes)} episodes, {what.steps} steps")
    for episode in what.unknown:
        known = "erased before" if episode in what.before else "never in this lake as far as it knows"
        echo(f"not in the lake     {episode}, {known}; whatever is found of it goes")
    for log in what.of(Fate.DELETED):
        echo(f"raw log deleted     {log.path} ({log.bytes} bytes)")
    for log in what.of(Fate.SHARED, Fate.ELSEWHERE, Fate.REPLACED):
        remedy = f"; {REMEDY[log.fate]}" if log.fate in REMEDY else ""
        echo(f"raw log left        {log.path} ({log.bytes} bytes): {log.fate}{remedy}")
    if elsewhere := what.of(Fate.ELSEWHERE):
        echo(f"not ours to delete  {len(elsewhere)} raw logs, {sum(log.bytes for log in elsewhere)} bytes")
    if what.siblings:
        echo(f"episodes that stay  {', '.join(what.siblings)}")
    for shard in what.shards:
        echo(f"frames              {shard} {'written anew' if what.siblings else 'deleted'}")
    for digest in what.snapshots:
        echo(f"snapshot withdrawn  {digest}, a successor without them takes its place")
    for policy in what.policies:
        echo(f"policy trained on   {policy}; it still is: retire it or train again")
    for model in what.models:
        echo(f"model learned from  {model}; it still labels: train it anew (`lwd label train`)")
    for path, kinds in what.unseen.items():
        echo(
            f"can't be searched   {' and '.join(kinds)} of {path}: not stored as the lake has them; "
            "copies are found by their digest, not by this content"
        )
    echo("history             older versions of the tables can't be read any more")
    echo("pages               every page under reports is deleted; the next report makes them anew")
    if what.shards:
        echo("Dagster's history   its record of `steps` may show frames: `dagster asset wipe steps` too")


def _carry_out(lake: Lake, settings: Settings, what: Plan, echo: Echo) -> list[str]:
    """Erase and search; the files that still hold it."""
    from lwd_core.snapshots.publish import drop_unfinished
    from lwd_core.snapshots.reissue import reissue_all

    now_ns = time.time_ns()

    def again(erased: frozenset[str], moved: Moved) -> Mapping[str, str | None]:
        return reissue_all(lake, settings.snapshots, erased=erased, moved=moved, now_ns=now_ns)

    done = carry_out(lake, what, reissue=again, now_ns=now_ns, pages=settings.reports)
    for old, new in done.successors.items():
        echo(f"snapshot {old[:12]} -> {new[:12] if new else 'nothing left'}")
    found = search([getattr(settings, place) for place in PLACES], what.sought, raw=[settings.landing])
    found.holding = drop_unfinished(open_location(settings.snapshots), found.holding)
    for log in done.changed:
        echo(f"raw log left        {log.path}: {Fate.REPLACED}")
    left = _say(settings, what, found, echo)
    if not left:
        absent(lake, what.episodes)
    return left


def _say(settings: Settings, what: Plan, found: SearchResult, echo: Echo) -> list[str]:
    """What the search found: kept on purpose, still there, out of sight. What has to go is returned."""
    kept = [log for log in what.of(Fate.SHARED) if any(_within(path, log.path) for path in found.holding)]
    left = [path for path in found.holding if not any(_within(path, log.path) for log in kept)]
    for path, reason in found.blind.items():
        echo(f"can't be searched   {path}: {reason}")
    for path in left:
        typer.echo(f"still found in      {path}", err=True)
    if left:
        complain(f"{len(left)} files still hold it; delete them or make them anew, then erase again")
        return left
    exceptions = [f"{len(kept)} raw logs kept for their other episodes"] if kept else []
    if elsewhere := what.of(Fate.ELSEWHERE):
        exceptions.append(f"{len(elsewhere)} originals not ours to delete")
    if found.blind:
        exceptions.append(f"{len(found.blind)} files that can't be searched")
    but = f", but for {' and '.join(exceptions)} named above" if exceptions else ""
    echo(f"absent: no file under {settings.home} holds its id or content{but}")
    return []


def _within(path: str, log: str) -> bool:
    return path == log or path.startswith(log + "/")
