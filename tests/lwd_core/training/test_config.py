import json

import pytest

from lwd_core.errors import UserError
from lwd_core.training.config import TrainConfig

OFFLINE = {"run": "a", "stage": "offline", "offline": "d", "init": "sft"}


def test_a_stage_brings_its_own_defaults():
    online = TrainConfig.parse({**OFFLINE, "stage": "online", "online": "e", "learner": {"policy_every": 2}})
    assert (online.learner.divl.tau_base, online.n_step, online.learner.freeze_trunk) == (0.9, 1, True)
    assert online.learner.policy_every == 2
    offline = TrainConfig.parse(OFFLINE)
    assert (offline.learner.divl.tau_base, offline.n_step, offline.learner.freeze_trunk) == (0.6, None, False)


def test_plain_values_and_back():
    config = TrainConfig.parse({**OFFLINE, "learner": {"qam": {"temperature": 0.02}}})
    assert TrainConfig.parse(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learner": {"qam": {"lambda": 1}}}, "learner.qam.lambda: no such field"),
        ({"learner": {"qam": {"path": "both"}}}, "learner.qam.path"),
        ({"updates": 0}, "at least 1"),
        ({"run": "../a"}, "no folder name"),
        ({"init": None}, "starts from a run"),
        ({"stage": "online"}, "second snapshot"),
        ({"stage": "pretrain"}, "stage"),
    ],
)
def test_wrong_fields_are_named(change, message):
    with pytest.raises(UserError, match=message):
        TrainConfig.parse({**OFFLINE, **change})


def test_wrong_files_are_named(tmp_path):
    path = tmp_path / "run.json"
    with pytest.raises(UserError, match="cannot be read"):
        TrainConfig.load(path)
    path.write_text("{")
    with pytest.raises(UserError, match="run.json:1: not YAML"):
        TrainConfig.load(path)
