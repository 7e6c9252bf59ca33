import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from lwd_core.cli.snapshot import app
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.mixed import MixedLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.snapshot import Snapshot
from tests.lwd_core.snapshots.lakes import add_episode


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    for i in range(3):
        add_episode(lake, i, 8 + i, robot_id=f"r{i}")
    (tmp_path / "all.yaml").write_text("name: all\nchunk: 3\n")
    (tmp_path / "one.yaml").write_text("name: one\nchunk: 3\nrobots: [r1]\n")
    return tmp_path


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_build_show_verify_stats_list(home: Path):
    digest = run("build", home / "all.yaml").strip()
    assert run("build", home / "all.yaml").strip() == digest
    assert json.loads(run("show", digest[:10]))["counts"]["steps"] == 27
    assert run("verify", digest) == "whole\n"
    stats = json.loads(run("stats", digest, "--json"))
    assert [s["vector"] for s in stats] == ["action"] * 2 + ["state"] * 3
    (row,) = json.loads(run("list", "--json"))
    assert (row["digest"], row["episodes"]) == (digest, 3)


def test_verify_fails_on_damage(home: Path):
    digest = run("build", home / "all.yaml").strip()
    (home / "snapshots" / digest / "train-000000.tar").unlink()
    done = CliRunner().invoke(app, ["verify", digest, "--json"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "train-000000.tar" in json.loads(done.stdout)["faults"][0]


def test_diff_in_words_and_at_old_versions(home: Path):
    a, b = run("build", home / "all.yaml").strip(), run("build", home / "one.yaml").strip()
    assert "robot_id r0: 1 -> 0 episodes" in run("diff", a, b)
    assert run("diff", a, a) == "equal\n"
    add_episode(Lake.open(str(home / "lake")), 9, 5)
    assert run("build", home / "all.yaml", "--versions-of", a).strip() == a
    assert run("build", home / "all.yaml").strip() != a


def test_batch_rebuilds_what_a_loader_saw(home: Path):
    a, b = run("build", home / "all.yaml").strip(), run("build", home / "one.yaml").strip()
    root = str(home / "snapshots")
    mixed = MixedLoader(
        TransitionLoader(Snapshot.open(root, a), 6, 5, n_step=2),
        TransitionLoader(Snapshot.open(root, b), 2, 6),
        ratio=0.75,
    )
    seen = [batch for batch, _ in zip(mixed, range(5), strict=False)]
    (home / "state.json").write_text(json.dumps(mixed.state_dict()))
    rows = json.loads(
        run("batch", b, "--step", 3, "--state", home / "state.json", "--out", home / "b", "--json")
    )
    assert [r["frame"] for r in rows] == seen[3]["frame"].tolist()
    assert {r["snapshot"] for r in rows} == {a[:12], b[:12]}
    rebuilt = load_file(home / "b")
    assert all(torch.equal(rebuilt[name], tensor) for name, tensor in seen[3].items())
    plain = json.loads(run("batch", a, "--step", 3, "--batch-size", 4, "--seed", 1, "--json"))
    expected = TransitionLoader(Snapshot.open(root, a), 4, 1).batch(3)
    assert [r["frame"] for r in plain] == expected["frame"].tolist()
    (home / "none.json").write_text(json.dumps({"snapshot": a}))
    with pytest.raises(UserError, match="no field"):
        run("batch", a, "--step", 3, "--state", home / "none.json")
