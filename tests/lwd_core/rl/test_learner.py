"""One update of the learner: its order, its switches, and that it learns."""

import copy
from dataclasses import replace

import pytest
import torch

from lwd_core.rl.advantage import ask_for_good
from lwd_core.rl.batch import Batch, Noise, balanced, prepare
from lwd_core.rl.chosen import choose
from lwd_core.rl.divl import DIVLConfig
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.extraction import EXTRACTIONS
from lwd_core.rl.imitation import ImitationConfig, ImitationLearner
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.networks import CriticShape, FieldConfig
from lwd_core.rl.optim import OptimConfig, learning_rate
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.policy_td import PolicyTDConfig
from lwd_core.rl.progress import Progress
from lwd_core.rl.reference import ReferenceConfig

SHAPE = CriticShape(hidden=32, layers=2, instruction_features=2)


def policy(dims: int = 2) -> FlowPolicy:
    torch.manual_seed(0)
    encoder = EncoderConfig(3, instruction_dim=4, instruction_features=2)
    return FlowPolicy(PolicyConfig(FieldConfig(encoder, dims, 2, hidden=32, layers=2)))


def raw(size: int = 64, dims: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    """One-chunk episodes at one state: a success where the first action is above 0.3."""
    generator = torch.Generator().manual_seed(seed)
    action = torch.rand(size, 2, dims, generator=generator) * 2 - 1
    success = action[:, 0, 0] > 0.3
    return {
        "state": torch.ones(size, 3),
        "next_state": torch.ones(size, 3),
        "action": action,
        "mask": torch.ones(size, 2),
        "action_dim_mask": torch.ones(size, dims),
        "reward": success.float(),
        "discount": torch.zeros(size),
        "instruction": torch.zeros(size, dtype=torch.int64),
        "task": torch.arange(size) % 2,
        "success": success,
        "human": action[:, 0, 1] > 0,
    }


def batch(size: int = 64, seed: int = 0) -> Batch:
    return prepare(raw(size, seed=seed), policy().normaliser, torch.zeros(1, 4))


def noise(seed: int = 0) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


def run(config: LearnerConfig, updates: int, size: int = 64) -> tuple[Learner, list[dict]]:
    learner, rows, numbers = Learner(config, policy(), SHAPE), [], noise()
    for u in range(updates):
        # Nobody helps here; what people do counts as good for the advantage baseline.
        data = replace(batch(size, seed=u), human=torch.zeros(size))
        info = learner.update(data, numbers, Progress(u, updates))
        rows.append({name: float(value) for name, value in info.items()})
    return learner, rows


def share_right(flow_policy: FlowPolicy) -> float:
    """Share of the policy's chunks that would succeed."""
    seen = batch(256).observation
    chunk = flow_policy(
        seen.state, seen.instruction, torch.randn(256, 2, 2, generator=torch.Generator().manual_seed(3))
    )
    return float((chunk[:, 0, 0] > 0.3).float().mean())


QUICK = {"policy": OptimConfig(1e-3), "critic": OptimConfig(2e-3), "value": OptimConfig(2e-3)}


@pytest.mark.parametrize("value", ["divl", "expectile"])
@pytest.mark.parametrize("reference", ["frozen", "refreshed"])
def test_the_policy_learns_what_succeeds(value, reference):
    config = LearnerConfig(
        divl=DIVLConfig(value=value),
        extraction=choose(EXTRACTIONS, "qam", temperature=0.05),
        reference=ReferenceConfig(mode=reference),
        target_ema=0.05,
        policy_start=100,
        **QUICK,
    )
    before = share_right(policy())
    learner, rows = run(config, 300)
    assert share_right(learner.policy) > before + 0.25
    assert "qam_loss" not in rows[99]
    assert "qam_loss" in rows[100]


@pytest.mark.parametrize("algorithm", [LearnerConfig(act_best_of=2), PolicyTDConfig()])
def test_a_q_that_begins_at_zero_is_all_that_differs_then(algorithm):
    born, zero = (algorithm.learner(policy(), replace(SHAPE, zero_q=asked)) for asked in (False, True))
    own = ("q_heads.weights.2", "q_heads.biases.2")
    for name, module in zero.modules().items():
        theirs = born.modules()[name].state_dict()
        for key, tensor in module.state_dict().items():
            if name in ("critic", "target") and key in own:
                assert not tensor.any()
            elif not key.startswith("critic."):  # what an acting policy chooses by
                assert torch.equal(tensor, theirs[key])
    info = zero.update(batch(), noise(), Progress(0, 1))
    torch.testing.assert_close(info["q_mean"], torch.zeros(()))


BASELINES = {"fql": {"distillation": 0.3}, "best_of_n": {"samples": 4}, "advantage": {}}


@pytest.mark.parametrize("extraction", BASELINES)
def test_baselines_learn_what_succeeds(extraction):
    config = LearnerConfig(
        extraction=choose(EXTRACTIONS, extraction, **BASELINES[extraction]),
        reference=ReferenceConfig(mode="refreshed", data="all"),
        target_ema=0.05,
        policy_start=50,
        **QUICK | {"policy": OptimConfig(3e-3)},
    )
    learner, rows = run(config, 350 if extraction == "advantage" else 250)
    reference = copy.deepcopy(learner.policy)
    reference.config = replace(reference.config, steps=10)
    reference.field.load_state_dict(learner.reference.state_dict())
    margin = 0.05 if extraction == "advantage" else 0.1
    assert share_right(learner.policy) > share_right(reference) + margin
    assert f"{extraction}_loss" in rows[-1]
    again = Learner(config, policy(), SHAPE)
    again.load_state_dict(learner.state_dict())
    assert share_right(again.policy) == share_right(learner.policy)


def test_the_reference_with_the_best_of_n_by_q_acts_better_than_alone():
    config = LearnerConfig(
        extraction=choose(EXTRACTIONS, "reference"),
        reference=ReferenceConfig(mode="refreshed", data="all", first=20),
        target_ema=0.05,
        act_best_of=8,
        **QUICK,
    )
    learner, rows = run(config, 200)
    assert rows[19].keys() == {"reference_loss"}
    assert "q_loss" in rows[20]
    stored = learner.state_dict()["modules"]["policy"]
    acting = FlowPolicy(PolicyConfig.from_dict(learner.policy.config.to_dict()))
    acting.load_state_dict(stored)
    seen = batch(256).observation
    generator = torch.Generator().manual_seed(3)
    best = acting.act(seen.state, seen.instruction, generator)
    acting.critic = None
    alone = acting.act(seen.state, seen.instruction, generator)
    assert float((best[:, 0, 0] > 0.3).float().mean()) > float((alone[:, 0, 0] > 0.3).float().mean()) + 0.3


def test_a_large_temperature_hardly_moves_the_policy():
    far = {
        t: run(
            LearnerConfig(extraction=choose(EXTRACTIONS, "qam", temperature=t), target_ema=0.05, **QUICK), 150
        )[1]
        for t in (0.1, 10.0)
    }
    late = {t: sum(row["path_kl"] for row in rows[-20:]) / 20 for t, rows in far.items()}
    assert late[10.0] < 0.02 < 0.1 < late[0.1]


def test_dual_descent_brings_the_path_kl_to_its_budget():
    config = LearnerConfig(
        extraction=choose(EXTRACTIONS, "qam", temperature=1.0, kl_budget=0.3, dual_rate=0.05),
        target_ema=0.05,
        **QUICK,
    )
    learner, rows = run(config, 300)
    late = sum(row["path_kl"] for row in rows[-80:]) / 80
    assert 0.15 < late < 0.6
    assert float(learner.extraction_state["log_temperature"]) < 0


def test_the_target_is_taken_from_the_value_just_updated():
    learner = Learner(LearnerConfig(value=OptimConfig(0.5)), policy(), SHAPE)
    data = replace(batch(), discount=torch.ones(64))
    stale, _ = learner._target(data)
    info = learner.update(data, noise(), Progress(0, 10))
    assert float(info["target_mean"]) != pytest.approx(float(stale.mean()), abs=1e-6)


@pytest.mark.parametrize("ema_of", ["updated", "previous"])
def test_which_weights_the_target_network_averages(ema_of):
    learner = Learner(LearnerConfig(ema_of=ema_of), policy(), SHAPE)
    before = copy.deepcopy(learner.critic.q_heads.weights[0].detach())
    with torch.no_grad():
        learner.target.q_heads.weights[0].zero_()
    learner.update(batch(), noise(), Progress(0, 10))
    after = learner.critic.q_heads.weights[0].detach()
    averaged = after if ema_of == "updated" else before
    assert not torch.equal(before, after)
    torch.testing.assert_close(learner.target.q_heads.weights[0], 0.005 * averaged)


def test_a_frozen_trunk_stays():
    learner, _ = run(LearnerConfig(freeze_trunk=True, **QUICK), 3)
    start = policy().field
    assert all(torch.equal(a, b) for a, b in zip(learner.policy.field.trunk(), start.trunk(), strict=True))
    assert not torch.equal(learner.policy.field.out.weight, start.out.weight)


def test_policy_cadence_and_batch():
    _, rows = run(LearnerConfig(policy_every=3, policy_start=1, policy_stride=4), 8)
    assert [u for u, row in enumerate(rows) if "qam_loss" in row] == [1, 4, 7]


def test_workers_together_draw_what_one_draws():
    whole = noise().normal(batch(64), 5)
    shares = []
    for rank in range(2):
        own = {name: value[rank * 32 : rank * 32 + 32] for name, value in raw(64).items()}
        own["rows"] = torch.arange(32) + rank * 32
        part = prepare(own, policy().normaliser, torch.zeros(1, 4), 64)
        shares.append(noise().normal(part, 5))
    assert torch.equal(torch.cat(shares), whole)


def test_tasks_weigh_the_same():
    weight = balanced(torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0]), torch.tensor([0, 0, 0, 2, 1]))
    torch.testing.assert_close(weight, torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0, 1.0]))


@pytest.mark.parametrize("data", ["all", "success", "human"])
def test_imitation_clones_the_chosen_data(data):
    learner, numbers = ImitationLearner(ImitationConfig(OptimConfig(3e-3), data=data), policy()), noise()
    for u in range(300):
        learner.update(batch(seed=u), numbers, Progress(u, 300))
    share = share_right(learner.policy)
    if data == "success":
        assert share > 0.8
    else:
        assert 0.15 < share < 0.6


def test_schedule_warms_up_and_decays():
    config = OptimConfig(rate=1.0, warmup=10, floor=0.1)
    rates = [learning_rate(config, Progress(u, 100)) for u in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], abs=0.05)
    assert rates[100] == pytest.approx(0.1)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def averaged(seen: list[torch.Tensor]) -> torch.Tensor:
    """Later ones count more: the n-th of n by 9 / (n + 8)."""
    average = seen[0]
    for n, newest in enumerate(seen[1:], start=2):
        average = average + 9 / (n + 8) * (newest - average)
    return average


@pytest.mark.parametrize("extraction", ["qam", "advantage"])
def test_what_acts_is_an_average_of_the_policies_learned(extraction):
    learner, numbers, seen = (
        Learner(LearnerConfig(extraction=choose(EXTRACTIONS, extraction), **QUICK), policy(), SHAPE),
        noise(),
        [],
    )
    for u in range(6):
        learner.update(batch(seed=u), numbers, Progress(u, 6))
        told = copy.deepcopy(learner.theta)
        if extraction == "advantage":
            ask_for_good(told, learner.theta)
        seen.append(weights(told))
    torch.testing.assert_close(weights(learner.policy.field), averaged(seen))
    assert not torch.equal(weights(learner.policy.field), seen[-1])


def test_a_clone_acts_by_its_average():
    learner, numbers, seen = ImitationLearner(ImitationConfig(OptimConfig(3e-3)), policy()), noise(), []
    for u in range(5):
        learner.update(batch(seed=u), numbers, Progress(u, 5))
        seen.append(weights(learner.newest))
    torch.testing.assert_close(weights(learner.policy.field), averaged(seen))


@pytest.mark.parametrize("reference", ["frozen", "refreshed", "acting"])
def test_a_stage_goes_on_from_the_policy_that_acted(reference):
    qam = choose(EXTRACTIONS, "qam", temperature=0.05)
    refreshed = ReferenceConfig(mode="refreshed")
    before, _ = run(LearnerConfig(extraction=qam, reference=refreshed, **QUICK), 20)
    config = LearnerConfig(extraction=qam, reference=ReferenceConfig(mode=reference), policy_start=1, **QUICK)
    after = Learner(config, policy(), SHAPE)
    after.go_on(before.state_dict())
    acted = weights(before.policy.field)
    for module in (after.theta, after.policy.field):
        assert torch.equal(weights(module), acted)
    for u in range(2):
        info = after.update(batch(seed=u), noise(u), Progress(u, 2))
    stands = torch.equal(weights(after.reference), acted)
    assert stands == (reference == "acting")
    assert (float(info["path_kl"]) < 1e-9) == stands
