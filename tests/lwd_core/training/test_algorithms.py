"""Learners by name: each trains, resumes in the same bits, is exported and goes on; old checkpoints too."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.rl.imitation import ImitationConfig
from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import read_checkpoint
from lwd_core.training.export import export_policy
from lwd_core.training.holdout import batch_means
from lwd_core.training.run import find_checkpoint, train
from lwd_core.training.values import has_critic
from tests.lwd_core.training.test_run import SMALL, Quiet, config, state


@dataclass(frozen=True)
class Cloning(ImitationConfig):
    """Somebody's own."""


LEARNERS = {
    "lwd": SMALL["learner"],
    "policy_td": {"kind": "policy_td", "qam": {"steps": 4, "temperature": 0.5}, "pessimism": 0.0},
    "imitation": {"kind": "imitation", "data": "success"},
    "own": {"kind": "tests.lwd_core.training.test_algorithms:Cloning", "average": 0.0},
}


@pytest.fixture
def trained(settings, snapshots):
    return train(config(snapshots, "sft"), Quiet(), settings)


def crash():
    raise RuntimeError("power")


@pytest.mark.parametrize("kind", LEARNERS)
def test_each_is_trained_resumed_exported_and_gone_on_from(settings, snapshots, trained, kind):
    learner = LEARNERS[kind]
    whole = train(config(snapshots, "offline", run="whole", learner=learner), Quiet(), settings)
    cut = config(snapshots, "offline", run="cut", learner=learner, checkpoint_every=3)
    with pytest.raises(RuntimeError, match="power"):
        train(cut, Quiet({4: crash}), settings)
    resumed = state(train(cut, Quiet(), settings))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in state(whole).items())
    checkpoint = find_checkpoint(settings.checkpoints, "whole")
    bundle = export_policy(checkpoint, settings.policies, signing_key(settings.keys))
    policy = Policy.load(bundle.uri, trusted_keys(settings.keys))
    states = np.zeros((1, 3), np.float32)
    assert policy.act(states, ["reach the cup"], np.random.default_rng(0)).shape == (1, 3, 2)
    assert has_critic(checkpoint) == (kind == "lwd")
    following = config(snapshots, "online", run="next", init="whole", learner=learner)
    after = state(train(following, Quiet(), settings))
    moments = "/learner/optimisers/learner/state/0/step"
    if kind == "policy_td":  # its moments go on too
        assert (int(resumed[moments]), int(after[moments])) == (6, 12)


def test_what_another_algorithm_learned_is_not_taken_over_but_its_policy(settings, snapshots, trained):
    td = config(snapshots, "offline", run="td", learner=LEARNERS["policy_td"])
    before = state(train(td, Quiet(), settings))
    after = state(
        train(
            config(snapshots, "offline", init="td", updates=1, learner={"policy_start": 1}), Quiet(), settings
        )
    )
    name = "/learner/modules/policy/field.out.weight"
    assert torch.equal(before[name], after[name])


def test_a_run_is_assessed_with_what_is_installed(settings, snapshots, trained):
    train(config(snapshots, "offline", run="td", learner=LEARNERS["policy_td"]), Quiet(), settings)
    assert "flow_loss" in batch_means(
        find_checkpoint(settings.checkpoints, "td"), settings, split="train", batches=1
    )
    train(config(snapshots, "offline", run="own", learner=LEARNERS["own"]), Quiet(), settings)
    with pytest.raises(UserError, match=r"learner.kind: tests.*Cloning: no learner of that name"):
        batch_means(find_checkpoint(settings.checkpoints, "own"), settings, split="train", batches=1)


def as_it_was(folder: Path) -> None:
    """A checkpoint with settings and state under the names they once had."""
    manifest = folder / "checkpoint.json"
    value = json.loads(manifest.read_text())
    learner = value["about"]["config"]["learner"]
    del learner["kind"]
    extraction, reference = learner.pop("extraction"), learner.pop("reference")
    learner |= {
        "extraction": extraction.pop("kind"),
        "reference": reference["optim"],
        "warm": reference["warm"],
    }
    learner["qam"] = {**extraction, "reference": reference["mode"], "reference_ema": reference["ema"]}
    learner["qam"]["reference_data"] = reference["data"]
    learner |= {
        "reference_first": reference["first"],
        "fql": {"distillation": 10.0},
        "best_of_n": {"samples": 8},
    }
    value["about"]["config"]["imitation"].pop("kind")
    value["about"]["config"] |= {"compile": "auto"}
    (items,) = [pair[1]["items"] for pair in value["state"]["items"] if pair[0] == "learner"]
    for kept in [pair for pair in items if pair[0] == "extraction"]:
        items.remove(kept)
        items.extend(kept[1]["items"])
    manifest.write_text(json.dumps(value))


def test_a_checkpoint_of_once_is_resumed(settings, snapshots, trained):
    budget = {"extraction": {"steps": 4, "kl_budget": 0.1}, "reference": {"mode": "refreshed", "steps": 4}}
    whole = state(train(config(snapshots, "offline", run="whole", learner=budget), Quiet(), settings))
    cut = config(snapshots, "offline", run="cut", learner=budget, checkpoint_every=3)
    with pytest.raises(RuntimeError, match="power"):
        train(cut, Quiet({4: crash}), settings)
    as_it_was(Path(settings.checkpoints, "cut", "step-3"))
    once = read_checkpoint(open_location(f"{settings.checkpoints}/cut/step-3"))
    assert "extraction" not in once.state["learner"]
    quiet = Quiet()
    resumed = state(train(cut, quiet, settings))
    assert [update for update, _ in quiet.rows] == [4, 6]
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    as_it_was(Path(settings.checkpoints, "sft", "step-6"))
    quiet = Quiet()
    assert train(config(snapshots, "sft"), quiet, settings).checkpoint == trained.checkpoint
    assert not quiet.rows, "a finished run of once is not trained again"
