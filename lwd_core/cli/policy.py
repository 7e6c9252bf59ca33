"""Policies and releases: list, show, publish, promote, roll back."""

import json
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies import canary, keys, release
from lwd_core.policies.gate import success_rate
from lwd_core.policies.registry import find
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

app = typer.Typer(no_args_is_help=True, help=__doc__)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PolicyId = Annotated[str, typer.Argument(help="Policy id, or the beginning of one.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List policies, newest first."""
    lake = _lake()
    rows = lake.sql("SELECT * EXCLUDE (config) FROM policies ORDER BY created_ns DESC").to_pylist()
    for row in rows:
        row["success"] = str(success_rate(lake, row["policy_id"]))
    _print(rows, ("policy_id", "stage", "parent", "train_step", "success"), as_json)


@app.command()
def show(policy: PolicyId) -> None:
    """Show everything the lake knows of a policy, as JSON."""
    lake = _lake()
    row = find(lake, policy)
    row["config"] = json.loads(row["config"])
    row["releases"] = lake.read("releases", where="policy_id = ?", params=(row["policy_id"],)).to_pylist()
    row["success"] = str(success_rate(lake, row["policy_id"]))
    typer.echo(json.dumps(row, indent=2))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show what each channel holds, and the canary's verdict so far."""
    settings, lake = Settings(), _lake()
    trusted = keys.trusted_keys(settings.keys)
    held = {channel: release.current(settings.releases, channel, trusted) for channel in Channel}
    rows = [
        {
            "channel": str(channel),
            "policy_id": now.policy_id if now else "",
            "release_id": now.release_id if now else "",
            "evaluated": str(success_rate(lake, now.policy_id)) if now else "",
            "verdict": "",
        }
        for channel, now in held.items()
    ]
    ours, theirs = held[Channel.CANARY], held[Channel.PRODUCTION]
    if ours and theirs and ours.policy_id != theirs.policy_id:
        verdict = canary.judge(
            canary.tallies(lake, ours.policy_id), canary.tallies(lake, theirs.policy_id), canary.CanaryRule()
        )
        rows[0]["verdict"] = f"{verdict.decision}: {verdict.reason}"
    _print(rows, tuple(rows[0]), as_json)


@app.command()
def publish(policy: PolicyId, channel: Channel = Channel.CANARY, why: str = "by hand") -> None:
    """Put a policy on a channel."""
    _publish(find(_lake(), policy), channel, {"why": why})


@app.command()
def promote(why: str = "by hand") -> None:
    """Put the canary's policy into production."""
    settings, lake = Settings(), _lake()
    now = release.current(settings.releases, Channel.CANARY, keys.trusted_keys(settings.keys))
    if now is None:
        raise UserError("channel canary: empty; publish a policy there first")
    _publish(find(lake, now.policy_id), Channel.PRODUCTION, {"why": why, "canary": now.release_id})


@app.command()
def rollback(channel: Channel = Channel.PRODUCTION, why: str = "by hand") -> None:
    """Give a channel back to the policy before."""
    settings = Settings()
    now = release.rollback(
        _lake(),
        settings.releases,
        channel,
        key=keys.signing_key(settings.keys),
        trusted=keys.trusted_keys(settings.keys),
        evidence={"why": why},
        now_ns=time.time_ns(),
    )
    typer.echo(f"{channel}: {now.policy_id}")


@app.command("rotate-key")
def rotate_key() -> None:
    """Make a new signing key; what the old one signed stays valid while its public key is trusted."""
    folder = Settings().keys
    typer.echo(f"{keys.rotate(folder)} signs from now on; copy {folder}/trusted to the robots")


def _lake() -> Lake:
    return Lake.open(Settings().lake)


def _publish(row: dict, channel: Channel, evidence: dict[str, object]) -> None:
    settings = Settings()
    now = release.publish(
        _lake(),
        settings.releases,
        channel,
        policy_id=row["policy_id"],
        policy_uri=row["uri"],
        key=keys.signing_key(settings.keys),
        evidence=evidence,
        now_ns=time.time_ns(),
    )
    typer.echo(f"{channel}: {now.policy_id}")


def _print(rows: list[dict], columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[c]) if row[c] is not None else "" for c in columns))
    Console().print(table)
