"""The plumbing of a vision-language-action policy, from demonstrations to a robot, on tiny random networks.

Nothing here says how well such a policy learns: its backbone has never seen anything.
"""

import gc
import json
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.fleet.actor import run_fleet
from lwd_core.fleet.config import FleetConfig
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.policies.bundle import BadBundle
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import signing_key, trusted_keys
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data
from lwd_core.training.export import export_policy
from lwd_core.training.holdout import batch_means
from lwd_core.training.run import Interrupted, find_checkpoint, train
from storage_schemas.vocabulary import Source
from tests.lwd_core.fleet.seeing import OWN, SeeingArms
from tests.lwd_core.rl.vla.tiny import tiny, tiny_vlm
from tests.lwd_core.training.test_run import Quiet, state
from tests.lwd_core.training.test_workers import torchrun

ROBOT = "tests.lwd_core.fleet.seeing:SeeingArms"
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
def cells() -> Iterator[Workcells]:
    with Workcells(ROBOT) as pool:
        yield pool


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, cells: Workcells) -> tuple[Settings, dict]:
    home = tmp_path_factory.mktemp("vla")
    settings = Settings(home=str(home))
    os.makedirs(settings.embodiments)
    shutil.copy(str(SeeingArms.embodiment), settings.embodiments)
    Lake.open(settings.lake, create=True)
    offline = worked(settings, cells, "2026-02-04", None, range(8))
    for kind in ("pi0", "pi05", "smolvla"):
        tiny(home / kind, kind, state=2, chunk=5)
    return settings, {**SMALL, "offline": offline, **network(settings, "pi0")}


def worked(
    settings: Settings, cells: Workcells, day: str, policy: Policy | None, seeds: Iterable[int]
) -> str:
    """A fleet's day, by people or a policy, in the lake and as a snapshot, whose digest comes back."""
    robots = FleetConfig((RobotSpec("eye", "north", camera_hz=4.0),), ("reach",), ROBOT)
    source = Source.ONLINE if policy else Source.DEMONSTRATION
    run_fleet(settings, robots, day=day, policy=policy, seeds=list(seeds), source=source, cells=cells)
    lake = Lake.open(settings.lake)
    ingest(lake, settings, [settings.landing], embodiments=load_embodiments(settings.embodiments), now_ns=1)
    spec = SnapshotSpec.parse(
        {"name": "day", "sources": [str(source)], "cameras": ["top", "side"], "chunk": 3}
    )
    return build_snapshot(lake, spec, settings.snapshots, now_ns=1).digest


def network(settings: Settings, kind: str, **more) -> dict:
    field = {"kind": "vla", "folder": f"{settings.home}/{kind}", "cameras": {"top": "base"}, **more}
    return {"network": {"instruction_features": 0, "steps": 4, "field": field}}


def run(settings: Settings, value: dict, name: str, stage: str, init: str | None = None, **more):
    given = {**value, "run": name, "stage": stage, "init": init, **more}
    return train(TrainConfig.parse(given), Quiet(), settings)


def test_from_demonstrations_to_a_fleet_and_on(world, cells):
    """The checkpoint has its numbers in another order than the robot."""
    settings, base = world
    base = {**base, **network(settings, "pi0", state=["y", "x"], action=["move_y", "move_x"])}
    sft = run(settings, base, "sft", "sft")
    names = [n.partition("/policy/")[2] for n in state(sft) if "/policy/" in n]
    assert any(n.startswith("field.expert/") for n in names)
    assert not any(n.startswith(("field.text", "field.vision")) for n in names)
    moved = shutil.copytree(f"{settings.home}/pi0", f"{settings.home}/moved")
    base["network"]["field"]["folder"] = moved
    with pytest.raises(UserError, match=r"network\.field: the policy of .* is another one"):
        run(settings, {**base, **network(settings, "pi0", expert="lora")}, "offline", "offline", "sft")
    offline = run(settings, base, "offline", "offline", "sft")
    policy = deployed(settings, "offline")
    assert policy.cameras == ("top",)
    rollouts = worked(settings, cells, "2026-02-05", policy, range(100, 103))
    online = run(settings, base, "online", "online", "offline", online=rollouts)
    assert {"qam_loss", "q_loss", "value_loss", "q_gain"} <= online.metrics.keys()
    before, after = state(offline), state(online)
    assert any(not torch.equal(before[n], after[n]) for n in before if "/policy/field.expert/" in n)
    held = batch_means(find_checkpoint(settings.checkpoints, "online"), settings, split="train", batches=1)
    assert held["flow_loss"] > 0
    policy, numbers = deployed(settings, "online"), np.random.default_rng(0)
    shown = [{"top": np.full((OWN, OWN, 3), grey, np.uint8)} for grey in (0, 200)]
    chunks = policy.act(np.zeros((2, 2), np.float32), "go to the goal", numbers, shown)
    assert chunks.shape == (2, 3, 2)
    assert (np.abs(chunks) <= 1).all()


def test_any_model_of_transformers_goes_the_same_way(world, tmp_path):
    settings, base = world
    given = tiny_vlm(tmp_path / "vlm")
    field = {"kind": "vlm", "folder": str(given), "cameras": ["top"], "hidden": 16, "layers": 2, "heads": 2}
    base = {**base, "network": {"instruction_features": 0, "steps": 4, "field": field}}
    sft = run(settings, base, "vlm-sft", "sft")
    assert not any("vision" in name for name in state(sft) if "/policy/" in name)
    moved = Path(shutil.move(given, tmp_path / "moved"))
    base["network"]["field"] = {**field, "folder": str(moved)}
    wider = {**base, "network": {"field": {**field, "folder": str(moved), "hidden": 32}}}
    with pytest.raises(UserError, match=r"network\.field: the policy of .* is another one"):
        run(settings, wider, "vlm-offline", "offline", "vlm-sft")
    offline = run(settings, base, "vlm-offline", "offline", "vlm-sft")
    assert offline.metrics["path_kl"] >= 0
    before, after = state(sft), state(offline)
    assert any(not torch.equal(before[n], after[n]) for n in after if "/policy/field.expert" in n)
    shutil.copytree(moved, tmp_path / "kept")
    bundle = export_policy(
        find_checkpoint(settings.checkpoints, "vlm-offline"), settings.policies, signing_key(settings.keys)
    )
    shutil.rmtree(moved)  # a robot is not where it was learned
    assert bundle.manifest.base.kind == "vlm"
    assert bundle.manifest.network["field"]["kind"]["folder"] == ""
    policy = Policy.load(bundle.uri, trusted_keys(settings.keys))
    shown = [{"top": np.full((OWN, OWN, 3), grey, np.uint8)} for grey in (0, 200)]
    chunks = policy.act(np.zeros((2, 2)), "words it never heard", np.random.default_rng(0), shown)
    assert chunks.shape == (2, 3, 2)
    assert (np.abs(chunks) <= 1).all()
    place = Path(settings.policies, "bases", bundle.manifest.base.base_id, "tokenizer_config.json")
    place.write_text(place.read_text() + " ")
    with pytest.raises(BadBundle, match=r"tokenizer_config\.json: the bytes are not those"):
        Policy.load(bundle.uri, trusted_keys(settings.keys))


@pytest.mark.servers
def test_two_workers_equal_one(world, tmp_path):
    settings, base = world
    alone = run(settings, base, "alone", "offline")
    config = TrainConfig.parse({**base, "run": "together", "stage": "offline"})
    process = torchrun(config, settings, tmp_path)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    ours = state(alone)
    for name, tensor in state(train(config, Quiet(), settings)).items():  # finished: only read
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, ours[name], atol=1e-5, rtol=1e-4, msg=name)


def deployed(settings: Settings, name: str) -> Policy:
    checkpoint = find_checkpoint(settings.checkpoints, name)
    bundle = export_policy(checkpoint, settings.policies, signing_key(settings.keys))
    return Policy.load(bundle.uri, trusted_keys(settings.keys))


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
    if kind == "smolvla":
        value["critic"] = {**SMALL["critic"], "backbone": {"kind": "siglip", "width": 8, "heads": 2}}
    whole = run(settings, value, f"{kind}-whole", "offline")
    assert whole.metrics["path_kl"] >= 0
    parts = TrainConfig.parse({**value, "run": f"{kind}-parts", "stage": "offline"})
    with pytest.raises(Interrupted):
        train(parts, Quiet({2: lambda: os.kill(os.getpid(), signal.SIGTERM)}), settings)
    ours = state(whole)
    for name, tensor in state(train(parts, Quiet(), settings)).items():
        assert torch.equal(tensor, ours[name]), name


def test_a_run_goes_on_with_the_checkpoint_it_began_with_alone(world):
    settings, base = world
    given = tiny(Path(settings.home) / "given", state=2, chunk=5)
    value = {**base, **network(settings, "given")}
    whole = state(run(settings, value, "given-whole", "sft"))
    parts = TrainConfig.parse({**value, "run": "given-parts", "stage": "sft"})
    with pytest.raises(Interrupted):
        train(parts, Quiet({2: lambda: os.kill(os.getpid(), signal.SIGTERM)}), settings)
    kept = given.rename(given.with_name("kept"))
    tiny(given, state=2, chunk=5, seed=1)
    gc.collect()  # else it is still in memory
    with pytest.raises(UserError, match=r"left off with another .*network\.field\.kind\.base\.weights"):
        train(parts, Quiet(), settings)
    shutil.rmtree(given)
    kept.rename(given)
    gc.collect()
    for name, tensor in state(train(parts, Quiet(), settings)).items():
        assert torch.equal(tensor, whole[name]), name


def test_what_does_not_fit_is_refused(world, monkeypatch):
    settings, base = world
    tiny(Path(settings.home) / "narrow", state=1, chunk=5)
    tiny(Path(settings.home) / "elsewhere", state=2, chunk=5, middle=57.0)
    for more, said in (
        ({"cameras": {}}, "at least one"),
        ({"folder": f"{settings.home}/narrow"}, "trained on states of 1 numbers, the snapshot's have 2"),
        ({"folder": f"{settings.home}/elsewhere"}, "knows number 0 of state around 57, in the snapshot"),
        ({"cameras": {"top": "nose"}}, "has no camera nose, only base, wrist"),
        ({"cameras": {"back": "base"}}, "the snapshot has no back, only side, top"),
        ({"expert": "frozen"}, "nothing would learn"),
        (
            {"state": ["x", "z"], "action": ["move_x", "move_y"]},
            "embodiment seeing: state y is not among x, z",
        ),
        ({"base": {"weights": "0" * 64}}, "weights are not those that this policy was learned from"),
        ({"base": {"weight": "0" * 64}}, r"network\.field\.base\.weight: no such part; did you mean weights"),
    ):
        value = {**base, **network(settings, "pi0", **more)}
        with pytest.raises(UserError, match=said):
            run(settings, value, "wrong", "sft")
    with pytest.raises(UserError, match="acts in chunks of 5, the snapshot's are of 9"):
        run(settings, base, "wrong", "sft", chunk=9)
    brief = tiny(Path(settings.home) / "brief", state=2, chunk=5) / "config.json"
    brief.write_text(json.dumps(json.loads(brief.read_text()) | {"tokenizer_max_length": 4}))
    monkeypatch.setattr(Data, "batches", lambda *_: pytest.fail("found out too late"))
    with pytest.raises(UserError, match="instruction 'go to the goal': 16 tokens; this network takes 4"):
        run(settings, {**base, **network(settings, "brief")}, "wrong", "sft")
