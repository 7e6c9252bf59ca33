"""Each baseline is one choice in the configuration, on the same data and network as the method itself."""

from itertools import combinations

import pytest
import torch

from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data
from lwd_core.training.run import find_checkpoint, policy_of, train
from lwd_core.training.workers import Share
from storage_schemas.vocabulary import Source
from tests.lwd_core.training.test_run import SMALL, Quiet

BASELINES = {
    "bc": {"stage": "sft"},
    "filtered-bc": {"stage": "sft", "imitation": {"data": "success"}},
    "hg-dagger": {"stage": "sft", "imitation": {"data": "human"}},
    "recap": {"stage": "offline", "learner": {"extraction": "advantage"}},
    "iql": {"stage": "offline", "learner": {"divl": {"value": "expectile"}}},
    "lwd": {"stage": "offline"},
}


def config(snapshots: tuple[str, str, str], name: str) -> TrainConfig:
    _, _, rollouts = snapshots
    return TrainConfig.parse(
        {**SMALL, "learner": {}, "run": name, "offline": rollouts, "init": "sft", **BASELINES[name]}
    )


def test_one_choice_each_on_the_same_data_and_network(settings, snapshots):
    train(
        TrainConfig.parse({**SMALL, "run": "sft", "stage": "sft", "offline": snapshots[1]}), Quiet(), settings
    )
    fields, networks = {}, set()
    for name in BASELINES:
        train(config(snapshots, name), Quiet(), settings)
        checkpoint = find_checkpoint(settings.checkpoints, name)
        networks.add(str(policy_of(checkpoint).config.field))
        policy = policy_of(checkpoint)
        fields[name] = torch.cat([p.flatten() for p in policy.field.parameters()])
    assert len(networks) == 1
    assert all(not torch.equal(fields[a], fields[b]) for a, b in combinations(BASELINES, 2))


@pytest.mark.parametrize("name", ["filtered-bc", "hg-dagger"])
def test_what_a_clone_is_made_of(settings, snapshots, name):
    """HG-DAgger learns from demonstrations and from what a person did in a rollout, whatever came of it."""
    chosen = config(snapshots, name).imitation.made.data
    data = Data(config(snapshots, name), [Snapshot.open(settings.snapshots, snapshots[2])], Share())
    seen = set()
    for (raw, batch), _ in zip(data.batches(data.normaliser()), range(10), strict=False):
        for place, frame, weight in zip(raw["episode"], raw["frame"], getattr(batch, chosen), strict=True):
            member = data.snapshots[0].episodes[int(place)]
            assert member.source == Source.ONLINE
            # In the rollouts where a person comes in, they do so after the ninth step and stay.
            person = member.human_steps > 0 and int(frame) > 8
            assert bool(weight) == (member.success if name == "filtered-bc" else person)
            seen.add((bool(weight), member.success))
    assert {True, False} == {kept for kept, _ in seen}
