"""QAM's own learner (arXiv 2601.14234): TD on the policy's actions, every network in one step.

Beside LWD's it differs in the value (an ensemble's mean less ρ standard deviations at a sampled next
action, no V), in the order (all losses from the same weights, one Adam, one joint clip) and in the
averages, which follow the weights of before the step.
"""

import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from lwd_core.rl import divl, flow, guard, qam
from lwd_core.rl.batch import Batch, Noise
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.learners import Algorithm, Info
from lwd_core.rl.networks import Critic, CriticConfig, CriticShape
from lwd_core.rl.optim import OptimConfig, Optimiser, Rate, ema
from lwd_core.rl.policy import FlowPolicy
from lwd_core.rl.progress import Progress
from lwd_core.rl.qam import QAM


@dataclass(frozen=True)
class ReleasedQAM(QAM):
    """As QAM's released code has it; one λ throughout."""

    clip: Literal["at", "through", "none"] = "through"
    temperature: PositiveFloat = 1 / 0.3
    kl_limit: NonNegativeFloat = 0.0

    def __post_init__(self) -> None:
        if guard.moves(self):
            raise ValueError("kl_budget, kl_limit: this learner's λ stands; leave them 0")


@dataclass(frozen=True)
class PolicyTDConfig(Algorithm):
    """Defaults are those of QAM's released code."""

    qam: ReleasedQAM = field(default_factory=ReleasedQAM)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(rate=3e-4, floor=1.0))
    pessimism: NonNegativeFloat = 0.5
    target_ema: Rate = 0.005

    def learner(self, policy: FlowPolicy, critic: CriticShape) -> "PolicyTDLearner":
        return PolicyTDLearner(self, policy, critic)


@dataclass(frozen=True)
class UpdateNoise:
    """Normal numbers (B, A) for the next action, the flow loss and x_0; path (T − 1, B, A); time (B, 1)."""

    next_action: Tensor
    flow: Tensor
    time: Tensor
    x0: Tensor
    path: Tensor

    @staticmethod
    def draw(noise: Noise, batch: Batch, steps: int) -> "UpdateNoise":
        width = batch.action.shape[1]
        return UpdateNoise(
            noise.normal(batch, width),
            noise.normal(batch, width),
            noise.uniform(batch, 1),
            noise.normal(batch, width),
            noise.normal(batch, steps - 1, width).transpose(0, 1),
        )


class PolicyTDLearner:
    """Policy θ, behaviour flow and its average β, an ensemble Q and its average."""

    def __init__(self, config: PolicyTDConfig, policy: FlowPolicy, shape: CriticShape):
        self.config = config
        net = policy.config.field
        self.policy = copy.deepcopy(policy)
        self.behaviour = copy.deepcopy(policy.field)
        self.reference = copy.deepcopy(policy.field).requires_grad_(False)
        encoder = replace(net.encoder, instruction_features=shape.instruction_features)
        critic = CriticConfig.of(shape, encoder, net.action_dim, net.chunk, atoms=0)
        self.critic = Critic(critic).zero_q() if shape.zero_q else Critic(critic)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        moving = (self.critic, self.policy.field, self.behaviour)
        self.optimiser = Optimiser("learner", [p for m in moving for p in m.parameters()], config.optim)

    def update(self, batch: Batch, noise: Noise, progress: Progress) -> Info:
        """One update on one minibatch; scalars to log."""
        loss, info = self.loss(batch, UpdateNoise.draw(noise, batch, self.config.qam.steps))
        for average, newest in ((self.target, self.critic), (self.reference, self.behaviour)):
            ema(list(average.parameters()), list(newest.parameters()), self.config.target_ema)
        # The losses are taken; what the averages hold now no longer enters this step's gradient.
        norm = self.optimiser.step(loss, progress)
        return info | {"gradient": norm}

    def loss(self, batch: Batch, noise: UpdateNoise) -> tuple[Tensor, Info]:
        """Sum of critic, flow and adjoint-matching losses."""
        value, info = divl.q_loss(
            self.critic.q(self.critic.features(batch.observation), batch.action),
            self.td_target(batch, noise.next_action),
        )
        behaviour = ConditionedFlow.of(self.behaviour, batch.observation, batch.dim_mask)
        cloning, more = flow.flow_matching_loss(behaviour, batch.action, batch.mask, noise.flow, noise.time)
        info |= {"reference_loss": more["flow_loss"]}
        matching, more = self.policy_loss(batch, noise.x0, noise.path)
        return value + cloning + matching, info | more

    @torch.no_grad()
    def td_target(self, batch: Batch, noise: Tensor) -> Tensor:
        """y (B,) from the ensemble's pessimistic value of the policy's next chunk."""
        following = ConditionedFlow.of(self.policy.field, batch.next_observation, batch.dim_mask)
        noise = noise if batch.dim_mask is None else noise * batch.dim_mask
        action = flow.sample(following, noise, self.config.qam.steps)
        heads = self.target.q(self.target.features(batch.next_observation), action)
        spread = heads.std(0, correction=0)
        return divl.td_target(batch.reward, batch.discount, heads.mean(0) - self.config.pessimism * spread)

    def policy_loss(self, batch: Batch, x0: Tensor, noise: Tensor) -> tuple[Tensor, Info]:
        """QAM's loss, with ∇Q from the averaged ensemble."""
        features = self.target.features(batch.observation)
        return qam.policy_loss(
            self.config.qam,
            ConditionedFlow.of(self.policy.field, batch.observation, batch.dim_mask),
            ConditionedFlow.of(self.reference, batch.observation, batch.dim_mask),
            lambda action: self.target.q(features, action * batch.mask),
            self.config.qam.temperature,
            x0,
            noise,
            batch.mask,
            batch.dim_mask,
        )

    def diagnose(self, batch: Batch, noise: Noise) -> Info:
        """Nothing beyond what the update tells."""
        return {}

    def modules(self) -> dict[str, nn.Module]:
        """Every network, by the name it is stored under."""
        return {
            "policy": self.policy,
            "behaviour": self.behaviour,
            "reference": self.reference,
            "critic": self.critic,
            "target": self.target,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on but batch and noise."""
        return {
            "modules": {name: module.state_dict() for name, module in self.modules().items()},
            "optimisers": {"learner": self.optimiser.state_dict()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, for the same shapes."""
        for name, module in self.modules().items():
            module.load_state_dict(state["modules"][name])
        self.optimiser.load_state_dict(state["optimisers"]["learner"])

    def go_on(self, state: dict[str, Any]) -> None:
        """Everything goes on as it was."""
        self.load_state_dict(state)
