"""An update stays where its batch is, and sees the weights as they are, in either type of product."""

from dataclasses import replace

import pytest
import torch

from benchmarks.learner import DEMO, SWITCHES, new_batch, new_policy, shape
from lwd_core.errors import UserError
from lwd_core.rl.batch import Noise
from lwd_core.rl.chosen import choose
from lwd_core.rl.compute.engine import Engine
from lwd_core.rl.extraction import EXTRACTIONS
from lwd_core.rl.imitation import ImitationConfig, ImitationLearner
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.progress import Progress
from lwd_core.rl.reference import ReferenceConfig
from lwd_core.training.workers import backends

CPU = torch.device("cpu")
SIZE = replace(DEMO, hidden=16, layers=2, batch=8)


def new_noise() -> Noise:
    return Noise(torch.Generator().manual_seed(0))


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return new_policy(SIZE, instruction_features=4)


@pytest.mark.parametrize("engine", [Engine(CPU), Engine(CPU, bf16=True)], ids=["fp32", "bf16"])
@pytest.mark.parametrize("switch", [*SWITCHES, "SFT"])
def test_nothing_is_made_on_the_default_device(policy, switch, engine):
    learner = (
        ImitationLearner(ImitationConfig(data="success"), policy)
        if switch == "SFT"
        else Learner(SWITCHES[switch], policy, shape(SIZE, 4))
    )
    batch, noise = new_batch(SIZE, policy), new_noise()
    # Whatever did not say where it belongs would be made without storage here, and spoil the sum.
    with torch.device("meta"), engine.running():
        for update in range(2):
            info = learner.update(batch, noise, Progress(update, 2))
        info |= learner.diagnose(batch, noise)
    assert {value.device.type for value in info.values()} == {"cpu"}
    assert all(torch.isfinite(value).all() for value in info.values())


def test_in_bfloat16_the_target_comes_of_the_value_just_updated(policy):
    torch.manual_seed(1)
    learner = Learner(LearnerConfig(), policy, shape(SIZE, 4))
    batch = new_batch(SIZE, policy)
    with Engine(torch.device("cpu"), bf16=True).running():
        for _ in range(3):
            learner._value_step(batch, Progress(0, 10))
        within, _ = learner._target(batch)
    with Engine(torch.device("cpu"), bf16=True).running():
        after, _ = learner._target(batch)
    assert torch.equal(within, after)


@pytest.mark.parametrize("path", ["current", "reference"])
def test_what_learns_stays_float32(policy, path):
    learner = Learner(
        LearnerConfig(
            extraction=choose(EXTRACTIONS, "qam", path=path), reference=ReferenceConfig(mode="refreshed")
        ),
        policy,
        shape(SIZE, 4),
    )
    batch = new_batch(SIZE, policy)
    with Engine(torch.device("cpu"), bf16=True).running():
        info = learner.update(batch, new_noise(), Progress(0, 2))
        target, _ = learner._target(batch)
    assert {value.dtype for value in info.values()} == {torch.float32}
    assert target.dtype == torch.float32
    for module in learner.modules().values():
        assert {p.dtype for p in module.parameters()} == {torch.float32}
    for optimiser in learner.optimisers.values():
        for state in optimiser.adam.state.values():
            assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.float32


@pytest.mark.parametrize("path", ["current", "reference"])
def test_bfloat16_keeps_the_direction_of_gradients(path):
    torch.manual_seed(2)
    size = replace(DEMO, batch=64)
    policy = new_policy(size, instruction_features=0)
    # A policy that has moved from its reference, so that their difference is more than rounding.
    learner = Learner(LearnerConfig(extraction=choose(EXTRACTIONS, "qam", path=path)), policy, shape(size, 0))
    with torch.no_grad():
        for parameter in learner.theta.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    batch = new_batch(size, policy)
    gradients = {"policy": [], "critic": []}
    for bf16 in (False, True):
        with Engine(torch.device("cpu"), bf16).running():
            matching, _ = learner.extraction.loss(learner._extracting(batch), new_noise())
            q = learner.critic.q(learner.critic.features(batch.observation), batch.action)
            losses = {"policy": matching, "critic": (q - 1).square().mean()}
            for name, loss in losses.items():
                moving = learner.optimisers[name].parameters
                parts = torch.autograd.grad(loss, moving, retain_graph=True)
                gradients[name].append(torch.cat([g.flatten() for g in parts]))
    assert float(torch.cosine_similarity(*gradients["policy"], dim=0)) > 0.999
    assert float(torch.cosine_similarity(*gradients["critic"], dim=0)) > 0.999


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Engine.of("auto", False).device.type == "cpu"
    with pytest.raises(UserError, match="device: cuda"):
        Engine.of("cuda", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Engine.of("auto", False).device.type == "cuda"
    assert backends(torch.device("cuda")) == "cpu:gloo,cuda:nccl"
    assert backends(torch.device("cpu")) == "gloo"
