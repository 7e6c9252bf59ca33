"""Pixels all the way: raw log, lake, snapshot, loader, training, bundle, a policy that acts on frames."""

import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import simplejpeg
import torch

from lwd_core.errors import UserError
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.policies.pixels import Frame
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.export import export_policy
from lwd_core.training.holdout import batch_means
from lwd_core.training.program import export_program
from lwd_core.training.run import find_checkpoint, policy_of, train
from lwd_core.training.values import learned_value
from tests.lwd_core.training.test_run import Quiet, state

SIZE = 48  # of the camera; the network sees half of it
TICKS = 2
EMBODIMENT = parse_embodiment("""\
name: pointer
control_hz: 10
source: demonstration
state: [{topic: obs/joint, dims: [{name: q}]}]
action: [{topic: actions, dims: [{name: x, low: -1, high: 1}, {name: y, low: -1, high: 1}]}]
cameras: [{name: front, topic: obs/front_image}]
task: {default: point, instruction: point at the light}
""")
VISION = {"cameras": ["front"], "height": 24, "width": 24, "stages": [8, 16], "features": 32}
SMALL = {
    "batch": 64,
    "log_every": 50,
    "network": {"hidden": 64, "layers": 2, "instruction_features": 0, "steps": 5, "vision": VISION},
    "critic": {"hidden": 32, "layers": 2, "instruction_features": 0},
    "learner": {"policy_start": 4, "policy": {"rate": 1e-5}, "qam": {"steps": 5}},
    "imitation": {"optim": {"rate": 2e-3}},
}


def picture(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A dim, noisy scene (SIZE, SIZE, 3) with a light at (x, y) in [-1, 1]."""
    row, column = np.mgrid[:SIZE, :SIZE]
    x, y = (light * 0.8 + 1) * (SIZE - 1) / 2
    bright = np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * (SIZE / 12) ** 2))
    scene = 40 + 20 * rng.random((SIZE, SIZE, 1)) + np.array([190, 160, 60]) * bright[..., None]
    return scene.astype(np.uint8)


def write_log(path: Path, demonstrations: int) -> None:
    """People point at the light; joints say nothing of where it is."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for number in range(demonstrations):
            light = rng.uniform(-1, 1, 2)
            demo = file.create_group(f"data/demo_{number}")
            demo["obs/joint"] = rng.normal(size=(TICKS, 1)).astype(np.float32)
            demo["obs/front_image"] = np.stack([picture(light, rng) for _ in range(TICKS)])
            demo["actions"] = np.tile(light, (TICKS, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict]:
    home = tmp_path_factory.mktemp("cameras")
    settings = Settings(home=str(home))
    os.makedirs(home / "landing")
    write_log(home / "landing" / "run.hdf5", 300)
    lake = Lake.open(settings.lake, create=True)
    embodiments = {EMBODIMENT.name: EMBODIMENT}
    assert ingest(lake, settings, [settings.landing], embodiments=embodiments, now_ns=1).episodes == 300
    spec = SnapshotSpec.parse({"name": "film", "cameras": ["front"], "chunk": 2, "holdout": 0.1})
    digest = build_snapshot(lake, spec, settings.snapshots, now_ns=1).digest
    base = {**SMALL, "offline": digest}
    train(TrainConfig.parse({**base, "run": "sft", "stage": "sft", "updates": 400}), Quiet(), settings)
    return settings, base


def pointing(policy: Policy, frames: list[dict[str, Frame]], lights: np.ndarray) -> float:
    """Share of scenes whose light the policy points at."""
    count = len(lights)
    states = np.random.default_rng(1).normal(size=(count, 1)).astype(np.float32)
    chunks = policy.act(states, ["point at the light"] * count, np.random.default_rng(2), frames)
    return float((np.abs(chunks[:, 0] - lights).max(-1) < 0.25).mean())


def scenes(count: int) -> tuple[np.ndarray, list[dict[str, Frame]]]:
    rng = np.random.default_rng(9)
    lights = rng.uniform(-0.9, 0.9, (count, 2))
    return lights, [{"front": picture(light, rng)} for light in lights]


def deployed(settings: Settings, run: str) -> Policy:
    checkpoint = find_checkpoint(settings.checkpoints, run)
    bundle = export_policy(checkpoint, settings.policies, signing_key(settings.keys))
    return Policy.load(bundle.uri, trusted_keys(settings.keys))


def test_what_only_the_picture_tells_is_learned(trained):
    settings, _ = trained
    policy = deployed(settings, "sft")
    assert policy.cameras == ("front",)
    lights, frames = scenes(100)
    assert pointing(policy, frames, lights) > 0.8
    jpegs: list[dict[str, Frame]] = [
        {name: simplejpeg.encode_jpeg(image, quality=90) for name, image in shown.items()} for shown in frames
    ]
    assert pointing(policy, jpegs, lights) > 0.8
    assert pointing(policy, frames[1:] + frames[:1], lights) < 0.3
    assert batch_means(find_checkpoint(settings.checkpoints, "sft"), settings, batches=2)["flow_loss"] < 1


def test_a_policy_asks_for_its_cameras(trained):
    settings, _ = trained
    policy, state_, rng = deployed(settings, "sft"), np.zeros((1, 1), np.float32), np.random.default_rng(0)
    told = ["point at the light"]
    with pytest.raises(UserError, match="sees front; give a frame"):
        policy.act(state_, told, rng)
    with pytest.raises(UserError, match="camera front is not among wrist"):
        policy.act(state_, told, rng, [{"wrist": b""}])
    with pytest.raises(UserError, match="camera front: no JPEG"):
        policy.act(state_, told, rng, [{"front": b"picture"}])
    with pytest.raises(UserError, match=r"give \(height, width, 3\) uint8"):
        policy.act(state_, told, rng, [{"front": np.zeros((3, 8, 8), np.uint8)}])
    small = np.zeros((SIZE // 2, SIZE, 3), np.uint8)
    for shown in (small, simplejpeg.encode_jpeg(small)):
        with pytest.raises(
            UserError, match=f"shows {SIZE}x{SIZE // 2} pixels, it learned from {SIZE}x{SIZE}"
        ):
            policy.act(state_, told, rng, [{"front": shown}])
    with pytest.raises(UserError, match="is shown nothing by any of them"):
        policy.act(state_, told, rng, [{"front": None}])  # it would act blind


def test_every_stage_sees_and_a_frozen_trunks_towers_stand_still(trained):
    settings, base = trained
    offline = TrainConfig.parse({**base, "run": "offline", "stage": "offline", "init": "sft", "updates": 8})
    before = train(offline, Quiet(), settings)
    value = {**base, "run": "online", "stage": "online", "init": "offline", "online": base["offline"]}
    value["learner"] = {**base.get("learner", {}), "freeze_trunk": True}
    after = train(TrainConfig.parse({**value, "updates": 8}), Quiet(), settings)
    assert {"qam_loss", "q_loss", "value_loss"} <= after.metrics.keys()
    towers = {name: tensor for name, tensor in state(before).items() if "policy/field.encoder.towers" in name}
    assert len(towers) == 2 * 6 + 4
    assert all(torch.equal(tensor, state(after)[name]) for name, tensor in towers.items())
    cloned = find_checkpoint(settings.checkpoints, "sft").state["learner"]["modules"]["policy"]
    moved = [n for n in towers if not torch.equal(towers[n], cloned[n.partition("/policy/")[2]])]
    assert len(moved) == len(towers)  # offline they learn from Q's gradient
    critics = [n for n in state(after) if "modules/critic/encoder.towers" in n and n.endswith("weight")]
    assert not any(torch.equal(state(before)[n], state(after)[n]) for n in critics)
    lights, frames = scenes(100)
    assert pointing(deployed(settings, "online"), frames, lights) > 0.8
    # The critic's values along episodes are told by what the cameras showed there.
    lake = Lake.open(settings.lake)
    episodes = lake.read("episodes", where="true LIMIT 2")
    labeller = learned_value(find_checkpoint(settings.checkpoints, "online"), lake.place)
    (values,) = labeller.label(lake, episodes, {})
    assert values.rows.num_rows == 2 * TICKS


def test_a_run_that_follows_the_lake_sees(trained):
    settings, base = trained
    value = {**base, "run": "followed", "stage": "online", "init": "sft", "follow": {"name": "growing"}}
    whole = train(TrainConfig.parse({**value, "updates": 6}), Quiet(), settings)
    bundle = export_policy(
        find_checkpoint(settings.checkpoints, "followed"), settings.policies, signing_key(settings.keys)
    )
    assert "qam_loss" in whole.metrics
    assert bundle.manifest.embodiments["pointer"] == {
        "state": 1, "action": 2, "front.height": SIZE, "front.width": SIZE,
    }  # fmt: skip


def test_a_frozen_tower_keeps_its_weights_and_is_enough(trained):
    settings, base = trained
    network = {**base["network"], "vision": {**VISION, "frozen": True}}
    runs = {}
    for run, updates in (("short", 1), ("long", 200)):
        value = {**base, "run": run, "stage": "sft", "updates": updates, "network": network}
        runs[run] = state(train(TrainConfig.parse(value), Quiet(), settings))
    names = [name for name in runs["long"] if "encoder.towers" in name and "modules" in name]
    assert names
    assert all(torch.equal(runs["short"][name], runs["long"][name]) for name in names)
    lights, frames = scenes(100)
    assert pointing(deployed(settings, "long"), frames, lights) > 0.4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_program_sees_as_the_policy_does(trained):
    settings, _ = trained
    policy = policy_of(find_checkpoint(settings.checkpoints, "sft")).eval()
    program = torch.export.load(io.BytesIO(export_program(policy))).module()
    size = 5
    inputs = torch.randn(size, 1), torch.randn(size, 384), torch.randn(policy.noise_shape(size))
    image = torch.randint(0, 256, (size, 1, 24, 24, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(
            program(*inputs, image=image), policy(*inputs, image=image), atol=1e-5, rtol=0
        )


def test_a_later_stage_does_not_ask_for_other_eyes_than_it_has(trained):
    settings, base = trained
    later = {**base, "stage": "offline", "init": "sft", "updates": 1}
    network = {**base["network"], "vision": {**VISION, "features": 7}}
    with pytest.raises(UserError, match=r"network\.vision: run x starts from sft, which sees by .*front"):
        train(TrainConfig.parse({**later, "run": "x", "network": network}), Quiet(), settings)
    unsaid = {name: value for name, value in base["network"].items() if name != "vision"}
    assert train(TrainConfig.parse({**later, "run": "y", "network": unsaid}), Quiet(), settings)


def test_a_camera_the_snapshot_lacks_is_named(trained):
    settings, base = trained
    network = {**base["network"], "vision": {**VISION, "cameras": ["wrist"]}}
    with pytest.raises(UserError, match="no wrist, only front"):
        train(TrainConfig.parse({**base, "run": "x", "stage": "sft", "network": network}), Quiet(), settings)
    with pytest.raises(UserError, match=r"network\.vision\.camera: no such field"):
        TrainConfig.parse({**base, "run": "x", "stage": "sft", "network": {"vision": {"camera": "front"}}})
