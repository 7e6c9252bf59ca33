"""What another package adds to learning: trained by `lwd train`, resumed, exported, and missed when gone."""

import json
import shutil
from pathlib import Path

import pytest

from lwd_core.lake.store import Lake
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from tests.examples.installed import lwd
from tests.lwd_core.snapshots.lakes import START, add_episode
from tests.packages import PLUGINS, lay_project

SMALL = {
    "batch": 8,
    "updates": 3,
    "checkpoint_every": 2,
    "network": {"hidden": 16, "layers": 2, "instruction_features": 4, "steps": 4},
    "critic": {"hidden": 16, "layers": 2},
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    lake = Lake.open(str(home / "lake"), create=True)
    for i in range(4):
        add_episode(
            lake, i, 20, seed=i, task="reach", instruction="reach", outcome=("success", "failure")[i % 2]
        )
    build_snapshot(lake, SnapshotSpec(name="all", chunk=3, gamma=0.99), str(home / "snapshots"), now_ns=START)
    return home


def digest(home: Path) -> str:
    (folder,) = [path.name for path in (home / "snapshots").iterdir() if (path / "manifest.json").exists()]
    return folder


def config(home: Path, stage: str, **changes: object) -> str:
    init = None if stage == "sft" else "sft"
    value = {**SMALL, "run": stage, "stage": stage, "offline": digest(home), "init": init, **changes}
    path = home.parent / f"{stage}.json"
    path.write_text(json.dumps(value))
    return str(path)


def test_an_extraction_of_another_package(home: Path, tmp_path: Path) -> None:
    site, bare = lay_project(PLUGINS / "extraction", tmp_path / "site"), tmp_path / "bare"
    lwd(home, site, "train", config(home, "sft"))
    extraction = {"kind": "awr", "temperature": 0.05}
    run = config(home, "offline", learner={"extraction": extraction})
    assert "step-3" in lwd(home, site, "train", run)
    (last,) = [line for line in lines(home, "offline") if line["update"] == 3]
    assert last["awr_weight"] > 0
    # killed after its checkpoint at 2, it ends in the same bits
    whole = (home / "checkpoints" / "offline" / "step-3" / "checkpoint.json").read_bytes()
    shutil.rmtree(home / "checkpoints" / "offline" / "step-3")
    lwd(home, site, "train", run)
    ended = home / "checkpoints" / "offline" / "step-3" / "checkpoint.json"
    assert same(ended.read_bytes(), whole)
    lwd(home, bare, "run", "policy", "offline")  # the policy itself needs nobody's package
    said = lwd(home, bare, "run", "assess", "offline", fails=True)
    assert "learner.extraction.kind: awr: no extraction of that name" in said
    wrong = config(home, "offline", learner={"extraction": {**extraction, "temprature": 1}})
    assert "learner.extraction.temprature: no such field" in lwd(home, site, "train", wrong, fails=True)


def test_a_learner_of_another_package(home: Path, tmp_path: Path) -> None:
    site, bare = lay_project(PLUGINS / "learner", tmp_path / "site"), tmp_path / "bare"
    run = config(home, "sft", imitation={"kind": "acme-clone", "rate": 0.01})
    lwd(home, site, "train", run)
    assert all("clone_loss" in line for line in lines(home, "sft"))
    # killed after its checkpoint at 2, it ends in the same bits
    ended = home / "checkpoints" / "sft" / "step-3"
    whole = (ended / "checkpoint.json").read_bytes()
    shutil.rmtree(ended)
    lwd(home, site, "train", run)
    assert same((ended / "checkpoint.json").read_bytes(), whole)
    lwd(home, bare, "run", "policy", "sft")  # the policy itself needs nobody's package
    said = lwd(home, bare, "train", run, fails=True)
    assert "imitation.kind: acme-clone: no learner of that name" in said


def test_a_backbone_of_another_package(home: Path, tmp_path: Path) -> None:
    site, bare = lay_project(PLUGINS / "backbone", tmp_path / "site"), tmp_path / "bare"
    network = {**SMALL["network"], "backbone": {"kind": "acme-mlp", "features": 8}}
    lwd(home, site, "train", config(home, "sft", network=network))
    lwd(home, site, "train", config(home, "offline"))
    policy = lwd(home, site, "run", "policy", "offline").strip()
    assert policy in lwd(home, site, "policy", "list")
    said = lwd(home, bare, "run", "policy", "offline", fails=True)
    assert "field.encoder.backbone.kind: acme-mlp: no backbone of that name" in said
    # what comes with a policy is taken by its installed name alone
    network["backbone"] = {"kind": "acme_backbone:StateMLP"}
    said = lwd(home, site, "train", config(home, "sft", network=network), fails=True)
    assert "network.backbone.kind: acme_backbone:StateMLP: no backbone of that name" in said


def lines(home: Path, run: str) -> list[dict[str, float]]:
    return [
        json.loads(line) for line in (home / "checkpoints" / run / "metrics.jsonl").read_text().splitlines()
    ]


def same(one: bytes, other: bytes) -> bool:
    """Two checkpoints' states: all but what took how long."""
    return json.loads(one)["sha256"] == json.loads(other)["sha256"]
