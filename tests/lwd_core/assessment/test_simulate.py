"""Who chooses chunks in simulation, and how they are tried."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from lwd_core.assessment import simulate
from lwd_core.assessment.simulate import contenders
from lwd_core.cli.run import app
from lwd_core.policies.scenes import Purpose, purpose_of
from lwd_core.rl.encoders import Observation
from lwd_core.settings import Settings
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import find_checkpoint, policy_of
from storage_schemas.vocabulary import Words


def test_best_and_worst_are_so_by_the_runs_own_q(settings: Settings) -> None:
    checkpoint = find_checkpoint(settings.checkpoints, "offline")
    config = TrainConfig.parse(checkpoint.about["config"])
    learner = config.learner.made.learner(policy_of(checkpoint), config.critic)
    learner.load_state_dict(checkpoint.state["learner"])
    states = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    told = ["reach the cup"] * len(states)
    normaliser = learner.policy.normaliser
    embedding = checkpoint.state["embeddings"][checkpoint.about["instructions"].index(told[0])]
    observation = Observation(
        normaliser.state(torch.from_numpy(states)), embedding.expand(len(states), -1), None
    )
    q = {}
    with torch.no_grad():
        features = learner.critic.features(observation)
        for who, policy in contenders(checkpoint, 8).items():
            chunk = torch.from_numpy(policy.act(states, told, np.random.default_rng(1)))
            assert chunk.shape == (64, 3, 2)
            q[who] = learner.critic.q(features, normaliser.action(chunk).flatten(1)).mean(0)
    assert set(q) == {"policy", "reference", "best", "worst"}
    assert (q["best"] >= q["worst"]).float().mean() > 0.98  # of the same eight; a rounding may tie
    assert q["worst"].mean() < q["reference"].mean() < q["best"].mean()


def test_a_run_without_a_critic_has_its_policy_alone(settings: Settings) -> None:
    assert set(contenders(find_checkpoint(settings.checkpoints, "sft"), 8)) == {"policy"}


def test_all_meet_the_same_scenes_and_those_decide_nothing_reported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = []

    def evaluate(policy, tasks, seeds, *, now_ns, progress, **_):
        met.append((tuple(tasks), tuple(seeds)))
        wins = {"best": 3, "worst": 0}.get(policy.policy_id, 2)
        return pa.Table.from_pylist(
            [{"task": t, "seed": s, "success": i < wins} for t in tasks for i, s in enumerate(seeds)]
        )

    monkeypatch.setattr(simulate, "evaluate", evaluate)
    found = simulate.simulate(find_checkpoint(settings.checkpoints, "offline"), settings, 4, first=7)
    assert len(met) == 4
    assert len(set(met)) == 1
    tasks, seeds = met[0]
    assert tasks == ("push", "reach")
    assert {purpose_of(seed) for seed in seeds} == {Purpose.SELECTION}
    assert seeds[0] % 10**9 == 7
    assert list(found["best"]) == ["all", "push", "reach"]
    assert (found["best"]["all"].successes, found["best"]["all"].trials) == (6, 8)
    assert found["worst"]["push"].rate == 0


def test_the_robot_its_words_and_pictures_are_the_commands(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = []

    def evaluate(policy, tasks, seeds, **how):
        met.append((how["robot"], how["words"], how["camera_size"]))
        return pa.Table.from_pylist([{"task": tasks[0], "success": True}])

    monkeypatch.setattr(simulate, "evaluate", evaluate)
    monkeypatch.setenv("LWD_HOME", str(settings.home))
    asked = ("--robot", "sawyer-eyes", "--words", "wrong", "--camera-size", "96", "--task", "restock")
    done = CliRunner().invoke(app, ["assess", "sft", "--simulate", *asked, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert met == [("sawyer-eyes", Words.WRONG, 96)]
