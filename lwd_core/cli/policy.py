"""Policies and releases: list, show, compare, publish, promote, roll back, refresh."""

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from lwd_core.cli._named import PolicyId, policy_named
from lwd_core.cli._output import AsJson, say_document, say_json, say_rows
from lwd_core.cli.main import EXIT_FOUND
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies import canary, keys, release
from lwd_core.policies.gate import success_rate
from lwd_core.policies.promotion import settle
from lwd_core.policies.registry import address, find
from lwd_core.policies.scenes import Purpose
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

app = typer.Typer(no_args_is_help=True, help=__doc__)
Why = Annotated[str, typer.Option(help="Kept with the release as its evidence.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List policies with their success in evaluation and in selection scenes, newest first.

    Example: lwd policy list --json
    """
    lake = _lake()
    rows = lake.sql("SELECT * EXCLUDE (config) FROM policies ORDER BY created_ns DESC").to_pylist()
    for row in rows:
        row["success"] = str(success_rate(lake, row["policy_id"]))
        row["selection"] = str(success_rate(lake, row["policy_id"], Purpose.SELECTION))
    say_rows(rows, ("policy_id", "stage", "parent", "train_step", "success", "selection"), as_json)


@app.command()
def show(policy: PolicyId, as_json: AsJson = False) -> None:
    """Show everything the lake knows of a policy, as JSON.

    Example: lwd policy show production
    """
    lake = _lake()
    settings = Settings()
    row = policy_named(lake, policy)
    row["uri"] = address(settings.policies, row)
    row["config"] = json.loads(row["config"])
    row["releases"] = lake.read("releases", where="policy_id = ?", params=(row["policy_id"],)).to_pylist()
    row["success"] = str(success_rate(lake, row["policy_id"]))
    say_document(row, as_json)


@app.command()
def diff(a: PolicyId, b: PolicyId, as_json: AsJson = False) -> None:
    """Say in what two policies differ: data, labels, config, results.

    Example: lwd policy diff production canary
    """
    from lwd_core.cli._policy_diff import print_difference
    from lwd_core.policies.diff import diff as compare

    settings, lake = Settings(), _lake()
    first, second = (policy_named(lake, name)["policy_id"] for name in (a, b))
    found = compare(lake, settings.snapshots, first, second)
    if as_json:
        say_json(asdict(found))
    else:
        print_difference(found)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show what each channel holds, the canary's verdict so far, and where a channel file differs.

    Exit code 1 where robots would not get what the releases table says.

    Example: lwd policy status
    """
    settings, lake = Settings(), _lake()
    trusted, now_ns = keys.trusted_keys(settings.keys), time.time_ns()
    held = {channel: release.recorded(lake, channel) for channel in Channel}
    rows = [
        {
            "channel": str(channel),
            "policy_id": now.policy_id if now else "",
            "release_id": now.release_id if now else "",
            "number": now.number if now else "",
            "expires": now.expires if now else "",
            "evaluated": str(success_rate(lake, now.policy_id)) if now else "",
            "verdict": "",
            "file": release.disagreement(lake, settings.releases, channel, trusted, now_ns) or "",
        }
        for channel, now in held.items()
    ]
    ours, theirs = held[Channel.CANARY], held[Channel.PRODUCTION]
    if ours and theirs and ours.policy_id != theirs.policy_id:
        verdict = canary.judge(
            canary.tallies(lake, ours.policy_id), canary.tallies(lake, theirs.policy_id), canary.CanaryRule()
        )
        rows[0]["verdict"] = f"{verdict.decision}: {verdict.reason}"
    wrong = [row["file"] for row in rows if row["file"]]
    say_rows(rows, ("channel", "policy_id", "evaluated", "verdict", "expires"), as_json)
    if wrong:
        for problem in wrong:
            typer.echo(problem, err=True)
        raise typer.Exit(EXIT_FOUND)


@app.command()
def refresh(as_json: AsJson = False) -> None:
    """Sign what each channel holds with a new number and expiry; mend a file that was lost or put back.

    The night does it by itself where the platform's daemon runs. Example: lwd policy refresh
    """
    settings = Settings()
    if not keys.has_signing_key(settings.keys):
        raise UserError(f"{settings.keys}: no signing key; refresh on the machine that signs policies")
    done = release.refresh(
        _lake(),
        settings.releases,
        key=keys.signing_key(settings.keys),
        trusted=keys.trusted_keys(settings.keys),
        now_ns=time.time_ns(),
        valid_days=settings.release_days,
    )
    if as_json:
        say_json([asdict(now) for now in done])
        return
    for now in done:
        typer.echo(f"{now.channel}: {now.policy_id}, number {now.number}, expires {now.expires}")
    if not done:
        typer.echo("no channel holds anything")


@app.command()
def judge(as_json: AsJson = False) -> None:
    """Promote the canary or take it back, if its episodes decide; as the sensor does by itself.

    Example: lwd policy judge
    """
    found = settle(_lake(), Settings(), now_ns=time.time_ns())
    if as_json:
        say_json(None if found is None else asdict(found))
    elif found is None:
        typer.echo("no canary beside production")
    else:
        typer.echo(f"{found.canary.policy_id}: {found.verdict.decision}, {found.verdict.reason}")


@app.command()
def publish(
    policy: PolicyId, channel: Channel = Channel.CANARY, why: Why = "by hand", as_json: AsJson = False
) -> None:
    """Put a policy on a channel.

    Example: lwd policy publish 3f2a --channel canary --why "fewer drops in evaluation"
    """
    _publish(policy_named(_lake(), policy), channel, {"why": why}, as_json)


@app.command()
def promote(why: Why = "by hand", as_json: AsJson = False) -> None:
    """Put the canary's policy into production.

    Example: lwd policy promote --why "two quiet days"
    """
    lake = _lake()
    now = release.recorded(lake, Channel.CANARY)
    if now is None:
        raise UserError("channel canary: empty; publish a policy there first")
    evidence: dict[str, object] = {"why": why, "canary": now.release_id}
    _publish(find(lake, now.policy_id), Channel.PRODUCTION, evidence, as_json)


@app.command()
def rollback(channel: Channel = Channel.PRODUCTION, why: Why = "by hand", as_json: AsJson = False) -> None:
    """Give a channel back to the policy before.

    Example: lwd policy rollback --why "drops cups"
    """
    settings = Settings()
    now = release.rollback(
        _lake(),
        settings.releases,
        channel,
        key=keys.signing_key(settings.keys),
        evidence={"why": why},
        now_ns=time.time_ns(),
        valid_days=settings.release_days,
    )
    _say(now, as_json)


def _lake() -> Lake:
    return Lake.open(Settings().lake)


def _publish(row: dict, channel: Channel, evidence: dict[str, object], as_json: bool) -> None:
    settings = Settings()
    now = release.publish(
        _lake(),
        settings.releases,
        channel,
        policy_id=row["policy_id"],
        key=keys.signing_key(settings.keys),
        evidence=evidence,
        now_ns=time.time_ns(),
        valid_days=settings.release_days,
    )
    _say(now, as_json)


def _say(now: release.Release, as_json: bool) -> None:
    if as_json:
        say_json(asdict(now))
    else:
        typer.echo(f"{now.channel}: {now.policy_id}")
