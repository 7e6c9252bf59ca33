"""A set in OGBench's single-task layout, by the commands alone, from the file to a policy that beats it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.policies.inference import Policy
from lwd_core.policies.keys import trusted_keys
from lwd_core.settings import Settings
from tests.lwd_core.point_mass import ogbench, try_out, wanderer

EMBODIMENT = """\
name: point
control_hz: 10
state: [{topic: observations, dims: [{name: x}, {name: y}]}]
action: [{topic: actions, dims: [{name: vx, low: -1, high: 1}, {name: vy, low: -1, high: 1}]}]
task: {default: point-reach, instruction: go to the goal}
"""
BOTH = {
    "batch": 128,
    "network": {"hidden": 64, "instruction_features": 0, "steps": 8},
    "critic": {"hidden": 64, "layers": 2, "instruction_features": 0},
}
SFT = {**BOTH, "run": "sft", "stage": "sft", "updates": 200}
OFFLINE = {
    **BOTH,
    "run": "offline",
    "stage": "offline",
    "init": "sft",
    "updates": 800,
    "learner": {
        "policy_start": 200,
        "target_ema": 0.02,
        "policy": {"rate": 1e-3},
        "critic": {"rate": 2e-3},
        "value": {"rate": 2e-3},
        # who made the set hardly ever arrives, and has to be left far behind
        "qam": {"temperature": 0.01, "kl_limit": 0, "steps": 8},
    },
}


def lwd(*words: object) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def reward(policy: Policy) -> float:
    rng = np.random.default_rng(0)
    told = ["go to the goal"]
    return try_out(lambda x: policy.act(x.astype(np.float32), told * len(x), rng)).reward


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_policy_beats_the_behaviour_that_made_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    (tmp_path / "embodiments").mkdir()
    (tmp_path / "embodiments" / "point.yaml").write_text(EMBODIMENT)
    np.savez(tmp_path / "point-single.npz", **ogbench(trajectories=100, length=100))
    lwd("ingest", tmp_path / "point-single.npz")
    (tmp_path / "set.yaml").write_text("{name: point, chunk: 4, gamma: 0.97, n_step: 3, holdout: 0.1}")
    digest = lwd("snapshot", "build", tmp_path / "set.yaml").splitlines()[-1]
    for config in (SFT, OFFLINE):
        path = tmp_path / f"{config['run']}.json"
        path.write_text(json.dumps({**config, "offline": digest}))
        lwd("train", path)

    found = {run: json.loads(lwd("run", "assess", run, "--json"))["means"] for run in ("sft", "offline")}
    assert found["sft"].keys() == {"flow_loss"}
    assert found["offline"]["q_loss"] < 0.05
    assert found["offline"]["q_gain"] > 0.05

    program = tmp_path / "policy.pt2"
    identity = lwd("run", "policy", "offline", "--program", program)
    assert lwd("run", "policy", "offline") == identity
    trained = Policy.load(f"{Settings().policies}/{identity}", trusted_keys(Settings().keys))
    behaviour, cloned = try_out(wanderer()).reward, reward(_of("sft"))
    assert reward(trained) > behaviour + 8
    assert reward(trained) > cloned + 8
    outside = torch.export.load(program).module()
    chunk = outside(torch.zeros(1, 2), torch.zeros(1, 384), torch.zeros(1, 4, 2))
    assert chunk.shape == (1, 4, 2)


def _of(run: str) -> Policy:
    return Policy.load(f"{Settings().policies}/{lwd('run', 'policy', run)}", trusted_keys(Settings().keys))
