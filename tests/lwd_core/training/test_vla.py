"""The plumbing of a vision-language-action policy, from demonstrations to a robot, on tiny random networks.

Nothing here says how well such a policy learns: its backbone has never seen anything.
"""

import os

import numpy as np
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.export import export_policy
from lwd_core.training.holdout import batch_means
from lwd_core.training.run import Interrupted, find_checkpoint, train
from tests.lwd_core.rl.vla.tiny import tiny
from tests.lwd_core.training.test_cameras import EMBODIMENT, picture, write_log
from tests.lwd_core.training.test_run import Quiet, state

SMALL = {
    "batch": 8,
    "updates": 4,
    "log_every": 2,
    "checkpoint_every": 100,
    "critic": {
        "hidden": 16,
        "layers": 2,
        "instruction_features": 0,
        "backbone": {"kind": "thumbnails", "height": 16, "width": 16, "stages": [4, 8], "features": 8},
    },
    "learner": {"extraction": {"kind": "qam", "steps": 4}, "reference": {"mode": "frozen", "steps": 4}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict]:
    home = tmp_path_factory.mktemp("vla")
    settings = Settings(home=str(home))
    os.makedirs(home / "landing")
    write_log(home / "landing" / "run.hdf5", 24)
    lake = Lake.open(settings.lake, create=True)
    ingest(lake, settings, [settings.landing], embodiments={EMBODIMENT.name: EMBODIMENT}, now_ns=1)
    spec = SnapshotSpec.parse({"name": "film", "cameras": ["front"], "chunk": 2})
    digest = build_snapshot(lake, spec, settings.snapshots, now_ns=1).digest
    for kind in ("pi0", "pi05", "smolvla"):
        tiny(home / kind, kind)
    return settings, {**SMALL, "offline": digest, **network(settings, "pi0")}


def network(settings: Settings, kind: str, **more) -> dict:
    field = {"kind": "vla", "folder": f"{settings.home}/{kind}", "cameras": {"front": "base"}, **more}
    return {"network": {"instruction_features": 0, "steps": 4, "field": field}}


def run(settings: Settings, value: dict, name: str, stage: str, init: str | None = None, **more):
    given = {**value, "run": name, "stage": stage, "init": init, **more}
    return train(TrainConfig.parse(given), Quiet(), settings)


def test_from_demonstrations_to_a_robot(world):
    settings, base = world
    sft = run(settings, base, "sft", "sft")
    names = [n.partition("/policy/")[2] for n in state(sft) if "/policy/" in n]
    assert any(n.startswith("field.expert/") for n in names)
    assert not any(n.startswith(("field.text", "field.vision")) for n in names)
    offline = run(settings, base, "offline", "offline", "sft")
    online = run(settings, base, "online", "online", "offline", online=base["offline"])
    assert {"qam_loss", "q_loss", "value_loss", "q_gain"} <= online.metrics.keys()
    before, after = state(offline), state(online)
    assert any(not torch.equal(before[n], after[n]) for n in before if "/policy/field.expert/" in n)
    checkpoint = find_checkpoint(settings.checkpoints, "online")
    assert batch_means(checkpoint, settings, split="train", batches=1)["flow_loss"] > 0
    bundle = export_policy(checkpoint, settings.policies, signing_key(settings.keys))
    policy = Policy.load(bundle.uri, trusted_keys(settings.keys))
    assert policy.cameras == ("front",)
    rng = np.random.default_rng(0)
    frames = [{"front": picture(np.zeros(2), rng)}, {"front": None}]
    chunks = policy.act(np.zeros((2, 1), np.float32), "point at the light", rng, frames)
    assert chunks.shape == (2, 2, 2)
    assert (np.abs(chunks) <= 1).all()


@pytest.mark.parametrize(
    ("kind", "learns"),
    [
        ("pi05", {"expert": "lora"}),
        ("smolvla", {"expert": "frozen", "backbone": "lora", "checkpointing": True}),
    ],
)
def test_a_trained_policy_needs_no_cloning_and_goes_on_to_the_bit(world, kind, learns):
    settings, base = world
    value = {**base, **network(settings, kind, **learns)}
    whole = run(settings, value, f"{kind}-whole", "offline")
    assert whole.metrics["path_kl"] >= 0
    stopped = {**value, "run": f"{kind}-parts", "stage": "offline"}
    from lwd_core.training import loop

    seen = Quiet()
    config = TrainConfig.parse(stopped)
    stop = Quiet({2: lambda: os.kill(os.getpid(), 15)})
    with pytest.raises(Interrupted):
        train(config, stop, settings)
    parts = train(config, seen, settings)
    assert loop is not None
    ours = state(whole)
    for name, tensor in state(parts).items():
        assert torch.equal(tensor, ours[name]), name


def test_what_does_not_fit_is_refused(world):
    settings, base = world
    for more, said in (
        ({"cameras": {"front": "nose"}}, "has no camera nose, only base, wrist"),
        ({"cameras": {"back": "base"}}, "the snapshot has no back, only front"),
        ({"expert": "frozen"}, "nothing would learn"),
        ({"base": {"weights": "0" * 64}}, "weights are not those that this policy was learned from"),
    ):
        value = {**base, **network(settings, "pi0", **more)}
        with pytest.raises(UserError, match=said):
            run(settings, value, "wrong", "sft")
