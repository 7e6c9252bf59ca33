"""A learner: the policy clones what it is shown, by Adam at one rate."""

import copy
from dataclasses import dataclass

import torch

from lwd_core.extend import Algorithm, ConditionedFlow, flow_matching_loss


@dataclass(frozen=True)
class Clone(Algorithm):
    """rate: Adam's."""

    rate: float = 1e-3

    def learner(self, policy, critic):
        return Learner(copy.deepcopy(policy), self.rate)


class Learner:
    def __init__(self, policy, rate):
        self.policy = policy
        self.adam = torch.optim.Adam(policy.field.parameters(), rate)

    def update(self, batch, noise, progress):
        flow = ConditionedFlow.of(self.policy.field, batch.observation, batch.dim_mask)
        x0, w = noise.normal(batch, batch.action.shape[1]), noise.uniform(batch, 1)
        loss, _ = flow_matching_loss(flow, batch.action, batch.mask, x0, w)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"clone_loss": loss.detach()}

    def diagnose(self, batch, noise):
        return {}

    def modules(self):
        return {"policy": self.policy}

    def state_dict(self):
        return {
            "modules": {"policy": self.policy.state_dict()},
            "optimisers": {"adam": self.adam.state_dict()},
        }

    def load_state_dict(self, state):
        self.policy.load_state_dict(state["modules"]["policy"])
        self.adam.load_state_dict(state["optimisers"]["adam"])

    def go_on(self, state):
        """A clone begins from the policy alone."""
