"""A sabotaged policy on the canary robots: noticed, and taken back, by its own episodes."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lwd_core.cli.policy import app
from lwd_core.fleet.channel import ReleasedPolicies
from lwd_core.fleet.config import on_canary, sample_fleet
from lwd_core.fleet.live import Deployment, run_live
from lwd_core.fleet.workcells import Workcells
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import Bundle, load_bundle, save_bundle
from lwd_core.policies.canary import Decision
from lwd_core.policies.channel_file import current
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.policies.promotion import settle
from lwd_core.policies.registry import register
from lwd_core.policies.release import publish
from lwd_core.settings import Settings
from lwd_core.storage.relative import resolve
from storage_schemas.vocabulary import Channel
from tests.e2e.live import TASKS, deployed, take_in


@pytest.fixture(scope="module")
def cells() -> Iterator[Workcells]:
    pool = Workcells()
    yield pool
    pool.close()


@pytest.fixture
def settings(tmp_path: Path, cells: Workcells) -> Settings:
    return deployed(tmp_path, cells, updates=1500, per_task=4)


def sabotaged(settings: Settings) -> Bundle:
    """Production's policy with its last layer's sign turned: it does the opposite of what it learned."""
    now = current(settings.releases, Channel.PRODUCTION, trusted_keys(settings.keys))
    assert now is not None
    good = load_bundle(resolve(settings.policies, now.policy_id), trusted_keys(settings.keys))
    weights = {name: -w if ".out." in f".{name}" else w for name, w in good.weights.items()}
    assert any(not torch.equal(w, good.weights[name]) for name, w in weights.items())
    lineage = replace(good.manifest.lineage, parent=good.policy_id)
    manifest = replace(good.manifest, lineage=lineage)
    bad = save_bundle(settings.policies, manifest, weights, signing_key(settings.keys))
    register(Lake.open(settings.lake), bad, now_ns=1)
    return bad


def work(settings: Settings, cells: Workcells, run: str, episodes: int) -> dict[str, list[str | None]]:
    """Two of four robots on the canary channel; what each robot ran, by channel."""
    fleet = on_canary(sample_fleet(TASKS, robots=4, cameras=0), share=0.5)
    done = run_live(
        settings,
        fleet,
        Deployment(run, episodes=episodes, speed=0),
        ReleasedPolicies(settings),
        cells=cells,
    )
    take_in(settings)
    channels = {robot.robot_id: str(robot.channel) for robot in fleet.robots}
    ran: dict[str, list[str | None]] = {}
    for d in done:
        ran.setdefault(channels[d.episode.robot_id], []).append(d.episode.policy_id)
    return ran


def test_a_sabotaged_canary_is_rolled_back_by_itself(
    settings: Settings, cells: Workcells, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LWD_HOME", settings.home)
    lake, trusted = Lake.open(settings.lake), trusted_keys(settings.keys)
    good = current(settings.releases, Channel.PRODUCTION, trusted)
    assert good is not None
    work(settings, cells, "before", 15)  # production's own record
    assert settle(lake, settings, now_ns=time.time_ns()) is None
    bad = sabotaged(settings)
    publish(
        lake,
        settings.releases,
        Channel.CANARY,
        policy_id=bad.policy_id,
        key=signing_key(settings.keys),
        evidence={"why": "test"},
        now_ns=time.time_ns(),
    )
    first = work(settings, cells, "two", 2)
    assert set(first["canary"]) == {bad.policy_id}
    assert set(first["production"]) == {good.policy_id}
    waiting = settle(lake, settings, now_ns=time.time_ns())
    assert waiting is not None
    assert waiting.verdict.decision is Decision.WAIT  # four episodes decide nothing
    work(settings, cells, "more", 8)
    said = CliRunner().invoke(app, ["judge"], catch_exceptions=False)
    assert said.exit_code == 0
    assert "roll_back" in said.output
    restored = current(settings.releases, Channel.CANARY, trusted)
    assert restored is not None
    assert restored.policy_id == good.policy_id
    row = lake.read(
        "releases", where="policy_id = ? AND state = 'rolled_back'", params=(bad.policy_id,)
    ).to_pylist()[0]
    evidence = json.loads(row["evidence"])
    assert evidence["decision"] == "roll_back"
    assert evidence["episodes"] >= evidence["rule"]["min_episodes"]
    assert evidence["against"] == good.policy_id
    # the robots hear of it, and nothing is judged twice
    after = work(settings, cells, "after", 1)
    assert set(after["canary"]) == {good.policy_id}
    assert settle(lake, settings, now_ns=9) is None
