"""One policy for robots of different widths."""

import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.rl.places import Places, arranged
from lwd_core.rl.policy import Normaliser
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data
from lwd_core.training.run import find_checkpoint, policy_of, train
from lwd_core.training.workers import Share
from tests.lwd_core.snapshots.lakes import START, add_episode
from tests.lwd_core.training.test_run import SMALL, Quiet


@pytest.fixture
def both(tmp_path) -> tuple[Settings, str]:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    for i in range(6):
        wide = i % 2 == 0
        add_episode(
            lake,
            i,
            20,
            seed=i,
            embodiment="arm" if wide else "hand",
            widths=(3, 2) if wide else (2, 1),
            task=("reach", "push")[wide],
            instruction=("reach the cup", "push the cup")[wide],
        )
    spec = SnapshotSpec.parse({"name": "both", "chunk": 3, "gamma": 0.99})
    snapshot = build_snapshot(lake, spec, str(tmp_path / "snapshots"), now_ns=START)
    return Settings(home=str(tmp_path)), snapshot.digest


def test_widths_share_a_policy(both):
    settings, digest = both
    base = {**SMALL, "offline": digest, "stage": "sft", "run": "sft"}
    sft = TrainConfig.parse(base)
    data = Data(sft, [Snapshot.open(settings.snapshots, digest)], Share())
    _, batch = next(data.batches(data.normaliser()))
    assert batch.dim_mask is not None
    narrow = batch.dim_mask.view(-1, 3, 2)[:, 0, 1] == 0
    assert narrow.any()
    assert not narrow.all()
    assert (batch.action.view(-1, 3, 2)[narrow][:, :, 1] == 0).all()
    assert batch.observation.state.abs().max() < 10
    train(sft, Quiet(), settings)
    train(TrainConfig.parse({**base, "stage": "offline", "run": "offline", "init": "sft"}), Quiet(), settings)
    checkpoint = find_checkpoint(settings.checkpoints, "offline")
    assert checkpoint.about["embodiments"] == {
        "arm": {"state": 3, "action": 2},
        "hand": {"state": 2, "action": 1},
    }
    policy = policy_of(checkpoint)
    noise, mask = torch.randn(2, 3, 2), torch.tensor([[1.0, 0.0]] * 2)
    other = noise.clone()
    other[:, :, 1] = 5.0
    with torch.no_grad():
        ours, same = (policy(torch.zeros(2, 3), torch.zeros(2, 384), n, mask) for n in (noise, other))
    assert torch.equal(ours[..., 0], same[..., 0])


PLACES = {"arm": Places((0, 1, 2), (1, 0), (3, 2)), "hand": Places((2, 0), (1,), (3, 2))}


class Placed(Normaliser):
    places = PLACES

    def arranged(self, raw):
        return arranged(raw, PLACES, self.state_mean, 2)


def test_each_embodiments_numbers_stand_where_their_names_are(both):
    settings, digest = both
    config = TrainConfig.parse({**SMALL, "offline": digest, "stage": "sft", "run": "sft"})
    data = Data(config, [Snapshot.open(settings.snapshots, digest)], Share())
    plain, found = data.measured(), data.measured(PLACES)
    own = {name: data.snapshots[0].stats_of(name) for name in PLACES}
    assert found.state["min"][1] == float(own["arm"]["state"]["min"][1])  # the hand has none of it
    assert found.state["max"][2] == max(own["arm"]["state"]["max"][2], own["hand"]["state"]["max"][0])
    assert found.action["min"][0] == float(own["arm"]["action"]["min"][1])
    assert not torch.equal(found.state["mean"], plain.state["mean"])
    units = Placed(found.state["mean"], found.state["std"], found.low, found.high)
    raw, batch = next(data.batches(units))
    narrow = raw["action_dim_mask"][:, 1] == 0
    mask = batch.mask.view(-1, 3, 2)
    assert (mask[narrow][:, :, 0] == 0).all()
    assert (mask[narrow][:, 0, 1] == 1).all()
    seen = batch.observation.state
    assert (seen[narrow][:, 1] == 0).all()  # in the middle, as nothing is known
    torch.testing.assert_close(seen[~narrow], units.state(raw["state"])[~narrow])
    with pytest.raises(UserError, match="embodiment hand is none of those its policy began with, arm"):
        data._embodiments(raw, ["arm"])


def test_bfloat16_keeps_the_direction_of_the_gradient(both):
    from lwd_core.rl.batch import Noise

    settings, digest = both
    config = TrainConfig.parse({**SMALL, "offline": digest, "stage": "sft", "run": "sft"})
    train(config, Quiet(), settings)
    offline = TrainConfig.parse({**config.to_dict(), "stage": "offline", "init": "sft"})
    data = Data(offline, [Snapshot.open(settings.snapshots, digest)], Share())
    policy = policy_of(find_checkpoint(settings.checkpoints, "sft"))
    learner = offline.learner.made.learner(policy, offline.critic)
    _, batch = next(data.batches(learner.policy.normaliser))
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, _ = learner.extraction.loss(
                learner._extracting(batch), Noise(torch.Generator().manual_seed(0))
            )
        parts = torch.autograd.grad(loss, list(learner.theta.parameters()))
        gradients.append(torch.cat([g.flatten() for g in parts]))
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.995
    assert gradients[1].dtype == torch.float32
