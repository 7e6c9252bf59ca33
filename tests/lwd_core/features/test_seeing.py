"""Features all the way: lake, snapshot, loader, training, bundle, a policy that acts on the same bits."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import simplejpeg
import torch

from lwd_core.errors import UserError
from lwd_core.features.build import build_features
from lwd_core.features.extractor import extractor_of
from lwd_core.features.files import layers
from lwd_core.features.loader import FeatureLoader
from lwd_core.features.table import FeatureTable
from lwd_core.ingest.commit import ingest
from lwd_core.lake.frames import read_frame
from lwd_core.lake.store import Lake
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.policies import bundle as bundles
from lwd_core.policies import pixels
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.export import export_policy
from lwd_core.training.run import find_checkpoint, train
from lwd_core.training.values import learned_value
from tests.lwd_core.training.test_cameras import EMBODIMENT, SMALL, pointing, scenes, write_log
from tests.lwd_core.training.test_run import Quiet

VISION = {
    "cameras": ["front"], "height": 48, "width": 48, "features": 32,
    "pretrained": {"kind": "efficientnet-lite0", "grid": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, Any]]:
    home = tmp_path_factory.mktemp("seeing")
    settings = Settings(home=str(home))
    os.makedirs(home / "landing")
    write_log(home / "landing" / "run.hdf5", 100)
    lake = Lake.open(settings.lake, create=True)
    ingest(lake, settings, [settings.landing], embodiments={EMBODIMENT.name: EMBODIMENT}, now_ns=1)
    spec = SnapshotSpec.parse({"name": "film", "cameras": ["front"], "chunk": 2})
    digest = build_snapshot(lake, spec, settings.snapshots, now_ns=1).digest
    network = SMALL["network"] | {"vision": VISION}
    base = {**SMALL, "network": network, "offline": digest, "run": "sft", "stage": "sft", "updates": 250}
    with pytest.raises(
        UserError, match="200 of 200 frames have no features of efficientnet-lite0@.*lwd feat"
    ):
        train(TrainConfig.parse(base), Quiet(), settings)
    config = TrainConfig.parse(base)
    assert config.network.vision is not None
    assert build_features(lake, extractor_of(config.network.vision)).frames == 200
    train(config, Quiet(), settings)
    return settings, base


def deployed(settings: Settings, run: str) -> Policy:
    checkpoint = find_checkpoint(settings.checkpoints, run)
    return Policy.load(
        export_policy(checkpoint, settings.policies, signing_key(settings.keys)).uri,
        trusted_keys(settings.keys),
    )


def test_a_policy_learns_and_acts_on_features(trained: tuple[Settings, dict]) -> None:
    settings, base = trained
    policy = deployed(settings, "sft")
    assert policy.cameras == ("front",)
    config = TrainConfig.parse(base)
    assert config.network.vision is not None
    named: Any = policy.manifest.network["field"]
    assert named["encoder"]["vision"]["seen_by"] == extractor_of(config.network.vision).digest
    lights, frames = scenes(60)
    jpegs = [{name: simplejpeg.encode_jpeg(p, quality=95) for name, p in shown.items()} for shown in frames]
    assert pointing(policy, jpegs, lights) > 0.6
    assert pointing(policy, jpegs[1:] + jpegs[:1], lights) < 0.3


def test_the_policy_sees_the_bits_it_learned_from(
    trained: tuple[Settings, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, base = trained
    policy, lake = deployed(settings, "sft"), Lake.open(settings.lake)
    snapshot = Snapshot.open(settings.snapshots, base["offline"])
    vision = TrainConfig.parse(base).network.vision
    assert vision is not None
    table = FeatureTable(lake.place, extractor_of(vision))
    loader = FeatureLoader(TransitionLoader(snapshot, 11, 3), table, following=True)
    seen: list[torch.Tensor] = []
    look = pixels.seen
    monkeypatch.setattr(pixels, "seen", lambda *said: (seen.append(look(*said)), seen[-1])[1])
    for batch in islice(loader, 3):
        episodes = [lake.episode(snapshot.episodes[e].episode_id) for e in batch["episode"].tolist()]
        for place, learned in (("frame", "features"), ("next_frame", "next_features")):
            shown = [
                {f["camera"]: read_frame(lake.place, f) for f in episode["frames"][at]}
                for episode, at in zip(episodes, batch[place].tolist(), strict=True)
            ]
            policy.act(batch["state"].numpy(), "point at the light", frames=shown)
            assert torch.equal(seen[-1], batch[learned])
            one = policy.act(batch["state"].numpy()[:1], "point at the light", frames=shown[:1])
            assert one.shape == (1, 2, 2)
            assert torch.equal(seen[-1], batch[learned][:1])


def test_a_batch_is_the_loaders_with_features(trained: tuple[Settings, dict]) -> None:
    settings, base = trained
    snapshot, lake = Snapshot.open(settings.snapshots, base["offline"]), Lake.open(settings.lake)
    vision = TrainConfig.parse(base).network.vision
    assert vision is not None
    bare = TransitionLoader(snapshot, 16, 0)
    table = FeatureTable(lake.place, extractor_of(vision))
    loader = FeatureLoader(TransitionLoader(snapshot, 16, 0), table)
    for plain, batch in zip(islice(bare, 2), islice(loader, 2), strict=True):
        assert batch.keys() - plain.keys() == {"features", "features_mask"}
        assert torch.equal(batch["state"], plain["state"])
        assert batch["features"].shape == (16, 1, 5120)
        assert batch["features"].dtype == torch.float32
    assert torch.equal(loader.batch(1)["features"], batch["features"])
    state = loader.state_dict()
    (third,) = islice(loader, 1)
    loader.load_state_dict(state)
    assert torch.equal(next(iter(loader))["features"], third["features"])
    assert batch["features_mask"].all()
    assert table.values.shape == (200, 5120), "each frame once"
    with pytest.raises(UserError, match="no wrist, only front"):
        FeatureLoader(bare, table, cameras=("wrist",))


def test_the_critic_sees_by_features_too(trained: tuple[Settings, dict]) -> None:
    settings, base = trained
    offline = {**base, "run": "offline", "stage": "offline", "init": "sft", "updates": 8}
    assert "q_loss" in train(TrainConfig.parse(offline), Quiet(), settings).metrics
    checkpoint, lake = find_checkpoint(settings.checkpoints, "offline"), Lake.open(settings.lake)
    weights = checkpoint.state["learner"]["modules"]["critic"]
    assert weights["encoder.towers.0.out.weight"].shape == (32, 5120)
    episodes = lake.read("episodes", where="true LIMIT 2")
    (values,) = learned_value(checkpoint, lake.place).label(lake, episodes, {})
    assert values.rows.num_rows == 4
    assert len(deployed(settings, "offline").manifest.lineage.snapshots) == 1


def test_a_robot_with_another_backbone_refuses(trained: tuple[Settings, dict], tmp_path: Path) -> None:
    settings, _ = trained
    policy = deployed(settings, "sft")
    loaded = bundles.load_bundle(f"{settings.policies}/{policy.policy_id}", trusted_keys(settings.keys))
    network: Any = loaded.manifest.network
    network["field"]["encoder"]["vision"]["seen_by"] = "b" * 64
    key = signing_key(settings.keys)
    other = bundles.save_bundle(str(tmp_path / "policies"), loaded.manifest, loaded.weights, key)
    with pytest.raises(
        UserError, match="trained on features of efficientnet-lite0@bbbbbbbbbbbb, installed here"
    ):
        Policy.load(other.uri, trusted_keys(settings.keys))
    network["field"]["encoder"]["vision"]["pretrained"]["kind"] = "acme-eyes"
    other = bundles.save_bundle(str(tmp_path / "policies"), loaded.manifest, loaded.weights, key)
    with pytest.raises(UserError, match="acme-eyes: no picture backbone of that name"):
        Policy.load(other.uri, trusted_keys(settings.keys))
    assert len(layers(Lake.open(settings.lake).place)) == 1
