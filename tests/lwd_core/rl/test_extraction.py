"""What a method of extraction sees of an update, and what the learner does with what it says."""

from dataclasses import dataclass, replace

import pytest
import torch

from lwd_core.rl import divl
from lwd_core.rl.chosen import Chosen
from lwd_core.rl.extraction import EXTRACTIONS, Extraction
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.progress import Progress
from tests.lwd_core.rl.test_learner import SHAPE, batch, noise, policy


def learner(extraction: Extraction, **settings) -> Learner:
    return Learner(LearnerConfig(extraction=Chosen("own", extraction), **settings), policy(), SHAPE)


@dataclass(frozen=True)
class Counting(Extraction):
    """Pulls θ's velocities at noise towards ``aim``, and counts its steps."""

    acting_steps = 3
    aim: float = 2.0

    def begin(self, before):
        return {"steps": torch.zeros(())}

    def loss(self, at, noise):
        x = noise.normal(at.batch, at.batch.action.shape[1])
        return (at.policy().velocity(x, 0.0) - self.aim).square().mean(), {"steps": at.state["steps"]}

    def moved(self, state, info):
        return {"steps": state["steps"] + 1}


def test_a_method_is_a_loss_and_what_it_keeps():
    own = learner(Counting())
    told = [float(own.update(batch(), noise(), Progress(u, 4))["steps"]) for u in range(4)]
    assert told == [0, 1, 2, 3]
    assert own.policy.config.steps == 3
    again = learner(Counting())
    again.load_state_dict(own.state_dict())
    assert float(again.update(batch(), noise(), Progress(4, 5))["steps"]) == 4
    other = learner(EXTRACTIONS.get("qam")(kl_budget=0.1))
    other.load_state_dict(own.state_dict())
    assert other.extraction_state.keys() == {"log_temperature"}, "of another's state it takes nothing"


def test_what_it_sees():
    own = learner(Counting())
    data = batch()
    data = replace(data, mask=data.mask.clone())
    data.mask[:, 2:] = 0
    at = own._extracting(data)
    chunk = torch.rand(64, 4, requires_grad=True)
    value = at.q(chunk)
    weight, by = next(iter(own.critic.q_heads.parameters())), torch.autograd.grad(value.sum(), chunk)[0]
    assert value.shape == (2, 64)
    assert by[:, :2].abs().sum() > 0 == by[:, 2:].abs().sum()
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(at.q(chunk).sum(), weight)
    with torch.no_grad():
        q = own.target.q(own.target.features(data.observation), data.action).amin(0)
        v, _ = divl.bootstrap(own.config.divl, own.critic.v(own.critic.features(data.observation)))
    torch.testing.assert_close(at.advantage(), q - v)
    x = torch.randn(64, 4)
    torch.testing.assert_close(at.policy().velocity(x, 0.2), at.reference.velocity(x, 0.2))
