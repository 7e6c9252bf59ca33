"""Runs that follow the lake: they see what arrives, say what they drew from, and go on where they stopped."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.channel_file import current
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.policies.release import publish
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import resolve
from lwd_core.training.checkpoint import newest_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.follow import follow, read_draws
from lwd_core.training.online import Publisher, online_config
from lwd_core.training.run import Interrupted, find_checkpoint, train
from lwd_core.training.workers import Share
from storage_schemas.vocabulary import Channel
from tests.lwd_core.snapshots.lakes import add_episode
from tests.lwd_core.training.test_run import SMALL, Quiet, config

FOLLOW = {"name": "live", "sources": ["online"]}


@pytest.fixture
def settings(tmp_path: Path, snapshots: tuple[str, str, str]) -> Settings:
    """Places of its own, and a lake of its own that may grow."""
    shutil.copytree(Path(snapshots[0]).parent / "lake", tmp_path / "lake")
    return Settings(home=str(tmp_path), snapshots=snapshots[0])


def live(snapshots, **changes) -> TrainConfig:
    value = {**SMALL, "run": "online", "stage": "online", "init": "sft", "offline": snapshots[1]}
    return TrainConfig.parse(
        {**value, "follow": FOLLOW, "updates": 12, "checkpoint_every": 6, "poll_every": 3, **changes}
    )


@pytest.fixture
def trained(settings, snapshots):
    train(config(snapshots, "sft"), Quiet(), settings)


def test_what_arrives_is_learned_from_and_written_down(settings, snapshots, trained):
    lake = Lake.open(settings.lake)
    before, published = len(lake.read("episodes", where="source = 'online'")), []

    def arrive(checkpoint):
        published.append((checkpoint.about["update"], checkpoint.about["instructions"]))
        if len(published) == 1:
            add_episode(lake, "new", 20, source="online", instruction="wave", task="wave")

    train(live(snapshots, updates=15, log_every=1), quiet := Quiet(), settings, publish=arrive)
    assert [update for update, _ in published] == [6, 12, 15]
    assert "wave" not in published[0][1]
    assert "wave" in published[2][1]
    draws = read_draws(open_location(f"{settings.checkpoints}/online"))
    assert [d["episodes"] for d in draws] == [before, before + 1]
    grown = draws[1]["batch"]
    assert grown in (9, 12)  # seen at 6, if batch 6 was not already made when the episode came, else at 9
    checkpoint = newest_checkpoint(settings.checkpoints, "online")
    assert checkpoint.about["drawn"] == [[d["batch"], d["versions"]] for d in draws]
    assert len(checkpoint.state["embeddings"]) == len(checkpoint.about["instructions"])
    versions = [metrics["lake_version"] for _, metrics in quiet.rows]
    assert versions == [draws[i >= grown]["versions"]["episodes"] for i in range(15)]


def test_stopped_and_taken_up_is_the_same_run(settings, snapshots, trained):
    train(live(snapshots, run="whole"), Quiet(), settings)
    stop = Quiet(at={4: lambda: os.kill(os.getpid(), signal.SIGTERM)})
    with pytest.raises(Interrupted, match="update 4"):
        train(live(snapshots, run="parts"), stop, settings)
    train(live(snapshots, run="parts"), Quiet(), settings)
    whole, parts = (
        load_file(open_location(find_checkpoint(settings.checkpoints, run).uri).path("state.safetensors"))
        for run in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_who_finished_is_known_of_followed_episodes(settings, snapshots, trained):
    learner = {**SMALL["learner"], "reference": {**SMALL["learner"]["reference"], "data": "finished"}}
    result = train(live(snapshots, updates=2, learner=learner), Quiet(), settings)
    assert "reference_loss" in result.metrics


def test_it_waits_for_the_first_episode(settings, snapshots):
    wanted = live(snapshots, follow={"name": "none", "tasks": ["wave"]})
    lake, waited = Lake.open(settings.lake), []

    def sleep(seconds):
        waited.append(seconds)
        add_episode(lake, "first", 12, task="wave")

    offline = Snapshot.open(settings.snapshots, snapshots[1])
    loader = follow(wanted, settings, offline, Share(), sleep=sleep)
    assert waited == [1.0]
    batch = next(iter(loader))
    assert batch["action"].shape == (8, 3, 2)  # half of 16; the offline snapshot's chunk
    with pytest.raises(UserError, match="without torchrun"):
        follow(wanted, settings, offline, Share(0, 2))


def test_it_starts_from_production_and_is_taken_up_as_it_was(settings, snapshots, trained):
    with pytest.raises(UserError, match="production: empty"):
        online_config(settings, "live", {})
    publisher = Publisher(settings, Channel.PRODUCTION)
    publisher(find_checkpoint(settings.checkpoints, "sft"))
    over = {"updates": 4, "checkpoint_every": 2, "online_share": 0.25}
    begun = online_config(settings, "live", over)
    assert (begun.init, begun.offline, begun.n_step, begun.learner.made.divl.tau_base) == (
        "sft",
        snapshots[1],
        None,
        0.9,
    )
    assert begun.follow is not None
    assert sorted(begun.follow["tasks"]) == ["push", "reach"]
    told = []
    publisher = Publisher(settings, Channel.PRODUCTION, told=lambda c, r: told.append((c.about["update"], r)))
    train(begun, Quiet(), settings, publish=publisher)
    assert [update for update, _ in told] == [2, 4]
    trusted = trusted_keys(settings.keys)
    now = current(settings.releases, Channel.PRODUCTION, trusted)
    assert now == told[-1][1]
    policy = Policy.load(resolve(settings.policies, now.policy_id), trusted)
    assert policy.manifest.config["drawn"][0][0] == 0
    assert policy.manifest.lineage.parent is not None
    # production has moved on meanwhile; the run has not
    assert online_config(settings, "live", over) == begun
    with pytest.raises(UserError, match="other settings"):
        online_config(settings, "live", {**over, "updates": 9})


def test_it_goes_on_with_what_its_predecessor_learned_by(settings, snapshots, trained):
    own = {"divl": {"tau_base": 0.8}, "policy_start": 2, "reference": {"mode": "refreshed", "first": 1}}
    train(config(snapshots, "offline", n_step=2, learner=own, updates=4), Quiet(), settings)
    Publisher(settings, Channel.PRODUCTION)(find_checkpoint(settings.checkpoints, "offline"))
    begun = online_config(settings, "live", {})
    learner = begun.learner.made
    assert (begun.init, begun.n_step, learner.divl.tau_base, learner.reference.mode) == (
        "offline",
        2,
        0.8,
        "refreshed",
    )
    assert (learner.policy_start, learner.reference.first) == (0, 0)  # what only begins a stage


def test_a_canary_on_trial_is_left_there(settings, snapshots, trained):
    Publisher(settings, Channel.PRODUCTION)(find_checkpoint(settings.checkpoints, "sft"))
    begun = online_config(settings, "live", {"updates": 6, "checkpoint_every": 2})
    told = []
    canary = Publisher(settings, Channel.CANARY, told=lambda c, r: told.append(c.about["update"]))
    train(begun, Quiet(), settings, publish=canary)
    assert told == [2]
    lake = Lake.open(settings.lake)
    assert lake.read("policies", where="stage = 'online'").num_rows == 3
    now = current(settings.releases, Channel.CANARY, trusted_keys(settings.keys))
    publish(lake, settings.releases, Channel.PRODUCTION, policy_id=now.policy_id,
            key=signing_key(settings.keys), evidence={}, now_ns=1)  # fmt: skip
    train(begun, Quiet(), settings, publish=canary)  # finished; its last policy may go now
    assert told == [2, 6]


@pytest.mark.parametrize("changes", [{"online": "x"}, {"follow": None}, {"poll_every": 0}])
def test_settings_that_make_no_sense_are_refused(snapshots, changes):
    with pytest.raises(UserError, match="follow|poll_every"):
        live(snapshots, **changes)
