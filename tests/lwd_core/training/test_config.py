import json

import pytest

from lwd_core.config_file import over as over_config
from lwd_core.errors import UserError
from lwd_core.rl.chosen import choose
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.fql import FQL
from lwd_core.rl.learners import LEARNERS
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import PolicyConfig
from lwd_core.rl.qam import QAM
from lwd_core.training.config import TrainConfig
from lwd_core.training.upgrade import upgraded

OFFLINE = {"run": "a", "stage": "offline", "offline": "d", "init": "sft"}


@pytest.mark.parametrize("more", [{}, {"stage": "online", "online": "e"}])
def test_a_stage_brings_its_own_defaults(more):
    config = TrainConfig.parse({**OFFLINE, **more, "learner": {"policy_every": 2}})
    learner = config.learner.made
    assert (learner.divl.tau_base, learner.extraction.made.temperature) == (0.9, 0.02)
    assert (learner.reference.mode, learner.reference.data) == ("acting", "finished")
    assert (config.n_step, learner.freeze_trunk, learner.policy_every) == (None, False, 2)


def test_another_learner_takes_none_of_them():
    assert TrainConfig.parse({**OFFLINE, "learner": {"kind": "policy_td"}}).learner.kind == "policy_td"
    advantage = TrainConfig.parse({**OFFLINE, "learner": {"extraction": "advantage"}}).learner.made
    assert (advantage.extraction.kind, advantage.divl.tau_base) == ("advantage", 0.9)


def test_plain_values_and_back():
    config = TrainConfig.parse({**OFFLINE, "learner": {"qam": {"temperature": 0.02}}})
    assert TrainConfig.parse(json.loads(json.dumps(config.to_dict()))) == config


def test_a_policy_without_a_backbone_of_its_own_is_told_as_before_there_were_any():
    network = PolicyConfig(FieldConfig(EncoderConfig(state_dim=3), action_dim=2, chunk=1)).to_dict()
    assert network["field"]["encoder"].keys() == {
        "state_dim",
        "instruction_dim",
        "instruction_features",
        "vision",
    }


def test_a_critic_is_told_as_before_unless_its_q_is_to_begin_at_zero():
    plain = TrainConfig.parse(OFFLINE).to_dict()["critic"]
    assert plain.keys() == {"hidden", "layers", "trunk_layers", "heads", "instruction_features"}
    zero = TrainConfig.parse({**OFFLINE, "critic": {"zero_q": True}})
    assert zero.to_dict()["critic"] == {**plain, "zero_q": True}
    assert TrainConfig.parse(zero.to_dict()) == zero


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learner": {"lambda": 1}}, "learner.lambda: no such field"),
        ({"learner": {"extraction": {"lambda": 1}}}, "learner.extraction.lambda: no such field"),
        ({"learner": {"extraction": {"path": "both"}}}, "learner.extraction.path: input should be 'current'"),
        ({"learner": {"extraction": {"kind": "fgl"}}}, "learner.extraction.kind: fgl: .* did you mean fql"),
        ({"learner": "imitaton"}, "learner.kind: imitaton: .* did you mean imitation"),
        ({"learner": {"extraction": {"kind": 3}}}, "learner.extraction.kind: must be a name, one of qam"),
        ({"learner": {"extraction": 3}}, "learner.extraction.kind: must be a name"),
        ({"learner": {"extraction": "json:loads"}}, "learner.extraction.kind: .*json:loads.* has no loss"),
        ({"network": {"backbone": "json:loads"}}, "network.backbone.kind: json:loads: no backbone"),
        ({"learner": {"best_of_n": {"smaples": 4}}}, "learner.best_of_n.smaples: no such field"),
        ({"learner": {"extraction": "fql", "qam": {"refrence": 1}}}, "learner.qam.refrence: no such field"),
        ({"learner": {"extraction": {"temperature": 0}}}, "learner.extraction.temperature: .*greater than 0"),
        ({"learner": {"policy_every": 0}}, "learner.policy_every: .*greater than 0"),
        ({"learner": {"policy": {"rate": -1}}}, "learner.policy.rate: .*greater than or equal to 0"),
        ({"learner": {"target_ema": 2}}, "learner.target_ema: .*less than or equal to 1"),
        (
            {"learner": {"kind": "policy_td", "qam": {"kl_limit": 1}}},
            "learner.qam: .*this learner's λ stands",
        ),
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


OLD = {
    **OFFLINE,
    "compile": "auto",
    "learner": {
        "extraction": "qam",
        "qam": {"steps": 4, "temperature": 0.05, "reference": "refreshed", "reference_data": "finished"},
        "fql": {"distillation": 3.0},
        "best_of_n": {"samples": 4},
        "reference": {"rate": 1e-3},
        "reference_first": 7,
        "warm": {"rate": 2e-3},
        "policy_every": 2,
    },
}


def test_settings_under_names_that_were_once_theirs_are_understood():
    learner = TrainConfig.parse(OLD).learner.made
    assert (learner.extraction.kind, learner.extraction.made.steps) == ("qam", 4)
    assert learner.extraction.made.temperature == 0.05
    reference = learner.reference
    assert (reference.mode, reference.data, reference.first, reference.steps) == (
        "refreshed",
        "finished",
        7,
        4,
    )
    assert (reference.optim.rate, reference.warm.rate, learner.policy_every) == (1e-3, 2e-3, 2)
    fql = {**OLD, "learner": {**OLD["learner"], "extraction": "fql"}}
    assert TrainConfig.parse(fql).learner.made.extraction.made.distillation == 3.0
    assert upgraded(TrainConfig.parse(OLD).to_dict()) == TrainConfig.parse(OLD).to_dict()


def test_of_a_learner_what_is_not_set_is_as_its_paper_has_it():
    given = {**OFFLINE, "learner": {"kind": "policy_td", "qam": {"steps": 4}}}
    qam = TrainConfig.parse(given).learner.made.qam
    assert (qam.steps, qam.clip, qam.temperature, qam.kl_limit) == (4, "through", 1 / 0.3, 0)


def test_what_is_laid_over_may_have_either_names():
    base = TrainConfig.parse(OLD).to_dict()
    for over in ({"extraction": {"temperature": 2.0}}, {"qam": {"temperature": 2.0}}):
        assert TrainConfig.parse(over_config(base, {"learner": over})).learner.made.extraction.made == QAM(
            steps=4, temperature=2.0
        )


def test_a_section_of_another_kind_takes_the_place_of_one():
    base = TrainConfig.parse(OLD).to_dict()
    advantage = over_config(base, {"learner": {"extraction": {"kind": "advantage"}}})
    assert advantage["learner"]["extraction"] == {"kind": "advantage"}
    assert advantage["learner"]["policy_every"] == 2
    other = TrainConfig.parse(over_config(base, {"learner": {"kind": "policy_td", "pessimism": 0.0}}))
    assert other.learner == choose(LEARNERS, "policy_td", pessimism=0.0)


def test_what_comes_from_outside_names_only_what_is_installed():
    given = {**OFFLINE, "learner": {"extraction": "lwd_core.rl.fql:FQL"}}
    assert TrainConfig.parse(given).learner.made.extraction.made == FQL()
    with pytest.raises(UserError, match="no extraction of that name"):
        TrainConfig.parse(given, addresses=False)
