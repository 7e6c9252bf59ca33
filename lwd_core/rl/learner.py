"""LWD's learner: one update in the paper's order, DIVL for the value and an extraction for the policy."""

import copy
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from lwd_core.rl import divl, flow
from lwd_core.rl.batch import Batch, Noise, chosen
from lwd_core.rl.chosen import Chosen, choose, chosen_by
from lwd_core.rl.divl import DIVLConfig
from lwd_core.rl.extraction import EXTRACTIONS, Extraction, PolicyStep, State
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.learners import Algorithm, Info
from lwd_core.rl.networks import Critic, CriticConfig, CriticShape
from lwd_core.rl.optim import OptimConfig, Optimiser, Rate, average_rate, ema
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.progress import Progress
from lwd_core.rl.reference import ReferenceConfig


@dataclass(frozen=True)
class LearnerConfig(Algorithm):
    """Everything one update depends on but its networks and data.

    extraction: how the policy follows Q, a method with its settings. target_ema: LWD 0.005. ema_of
    "previous" averages the weights of before the step, as QAM's code. policy_average: rate of an EMA of θ,
    which is what acts; 0 acts with θ itself. policy_start: updates of value and reference before the policy
    first moves. policy_every: value updates per policy update. policy_stride: the policy learns from each
    so-many-th transition of the minibatch. act_best_of: the policy acts by the best of so many chunks, and
    carries Q for it. freeze_trunk: only the action expert learns (LWD online).
    """

    divl: DIVLConfig = field(default_factory=DIVLConfig)
    extraction: Annotated[Chosen[Extraction], chosen_by(EXTRACTIONS, "qam")] = field(
        default_factory=lambda: choose(EXTRACTIONS, "qam")
    )
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)
    policy: OptimConfig = field(default_factory=lambda: OptimConfig(rate=1e-4, weight_decay=1e-4))
    critic: OptimConfig = field(default_factory=lambda: OptimConfig(rate=5e-4))
    value: OptimConfig = field(default_factory=lambda: OptimConfig(rate=5e-4))
    target_ema: Rate = 0.005
    ema_of: Literal["updated", "previous"] = "updated"
    policy_average: Rate = 0.005
    policy_start: NonNegativeInt = 0
    policy_every: PositiveInt = 1
    policy_stride: PositiveInt = 1
    act_best_of: PositiveInt = 1
    freeze_trunk: bool = False

    def learner(self, policy: FlowPolicy, critic: CriticShape) -> "Learner":
        """``policy`` is the SFT policy: θ and β start as its copies."""
        return Learner(self, policy, critic)

    @property
    def clones(self) -> str:
        return self.reference.data


class Learner:
    """Policy θ, reference β, critics φ and ψ with their optimisers, and the update that moves them."""

    def __init__(self, config: LearnerConfig, policy: FlowPolicy, shape: CriticShape):
        """``policy`` is the SFT policy: θ and β start as its copies."""
        self.config, self.extraction = config, config.extraction.made
        net = policy.config.field
        encoder = replace(net.encoder, instruction_features=shape.instruction_features)
        atoms = 1 if config.divl.value == "expectile" else config.divl.support.atoms
        critic = CriticConfig.of(shape, encoder, net.action_dim, net.chunk, atoms)
        acting = PolicyConfig(
            net,
            self.extraction.acting_steps or policy.config.steps,
            config.act_best_of,
            replace(critic, atoms=0) if config.act_best_of > 1 else None,
        )
        self.policy = FlowPolicy(acting, policy.normaliser)
        self.policy.field.load_state_dict(policy.field.state_dict())
        # What learns; its average acts.
        self.theta = copy.deepcopy(policy.field)
        self.reference = copy.deepcopy(policy.field).requires_grad_(False)
        # The flow that is trained by BC so that the reference can follow it.
        self.behaviour = copy.deepcopy(policy.field)
        self.critic = Critic(critic).zero_q() if shape.zero_q else Critic(critic)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        if config.freeze_trunk:
            for parameter in self.theta.trunk():
                parameter.requires_grad_(False)
        shared = self.critic.shared()
        self.optimisers = {
            "policy": Optimiser("policy", self.theta.parameters(), config.policy),
            "reference": Optimiser("reference", self.behaviour.parameters(), config.reference.optim),
            "warm": Optimiser("reference", self.behaviour.parameters(), config.reference.warm),
            "critic": Optimiser("critic", [*shared, *self.critic.q_heads.parameters()], config.critic),
            "value": Optimiser("value", [*shared, *self.critic.v_head.parameters()], config.value),
        }
        self._averaged = (_q_weights(self.target), _q_weights(self.critic))
        self.extraction_state = self.extraction.begin({})
        self.policy_steps = 0  # of this stage

    def update(self, batch: Batch, noise: Noise, progress: Progress) -> Info:
        """One update on one minibatch; scalars to log."""
        first = self.config.reference.first
        if progress.update < first:
            # The reference is the newest weights here: their average would lag behind a falling rate.
            return self._reference_step(batch, noise, Progress(progress.update, first), "warm", 1.0)
        progress = Progress(progress.update - first, progress.total - first)
        info = self._value_step(batch, progress)
        target, more = self._target(batch)
        info |= more | self._critic_step(batch, target, progress)
        if self.config.reference.mode == "refreshed":
            rate = self.config.reference.ema
            info |= self._reference_step(batch, noise, progress, "reference", rate)
        due = progress.update - self.config.policy_start
        if due >= 0 and due % self.config.policy_every == 0:
            info |= self._policy_step(batch.every(self.config.policy_stride), noise, progress)
        return info

    def _value_step(self, batch: Batch, progress: Progress) -> Info:
        """1. ψ: the law of Q̄ over replay actions."""
        with torch.no_grad():
            q = self.target.q(self.target.features(batch.observation), batch.action).amin(0)
        v = self.critic.v(self.critic.features(batch.observation))
        loss, info = divl.value_loss(self.config.divl, v, q)
        norm = self.optimisers["value"].step(loss, progress)
        return info | {"value_gradient": norm}

    @torch.no_grad()
    def _target(self, batch: Batch) -> tuple[Tensor, Info]:
        """2. y from the ψ just updated."""
        v = self.critic.v(self.critic.features(batch.next_observation))
        value, info = divl.bootstrap(self.config.divl, v)
        return divl.td_target(batch.reward, batch.discount, value), info

    def _critic_step(self, batch: Batch, target: Tensor, progress: Progress) -> Info:
        """3. φ: both heads to y. 4. Q̄ follows."""
        if self.config.ema_of == "previous":
            ema(*self._averaged, self.config.target_ema)
        q = self.critic.q(self.critic.features(batch.observation), batch.action)
        loss, info = divl.q_loss(q, target)
        norm = self.optimisers["critic"].step(loss, progress)
        if self.config.ema_of == "updated":
            ema(*self._averaged, self.config.target_ema)
        return info | {"critic_gradient": norm}

    def _reference_step(
        self, batch: Batch, noise: Noise, progress: Progress, optimiser: str, rate: float
    ) -> Info:
        """β follows a flow trained by BC on replay."""
        width = batch.action.shape[1]
        loss, info = flow.flow_matching_loss(
            ConditionedFlow.of(self.behaviour, batch.observation, batch.dim_mask),
            batch.action,
            batch.mask,
            noise.normal(batch, width),
            noise.uniform(batch, 1),
            chosen(self.config.reference.data, batch),
        )
        self.optimisers[optimiser].step(loss, progress)
        behaviour, reference = list(self.behaviour.parameters()), list(self.reference.parameters())
        ema(reference, behaviour, rate)
        return {"reference_loss": info["flow_loss"]}

    def _policy_step(self, batch: Batch, noise: Noise, progress: Progress) -> Info:
        """5. θ: adjoint matching, or another extraction."""
        reference = self.config.reference
        if self.policy_steps == 0 and (reference.first or reference.mode == "acting"):
            self.theta.load_state_dict(self.reference.state_dict())
        found = self.extraction.loss(self._extracting(batch), noise)
        if found is None:
            self.policy.field.load_state_dict(self.reference.state_dict())
            return {}
        loss, info = found
        norm = self.optimisers["policy"].step(loss, progress)
        self._average()
        self.extraction_state = self.extraction.moved(self.extraction_state, info)
        return info | {"policy_gradient": norm}

    def _extracting(self, batch: Batch) -> PolicyStep:
        return PolicyStep(
            batch,
            self.theta,
            self.reference,
            self.critic,
            self.target,
            self.config.divl,
            self.config.reference.steps,
            self.extraction_state,
        )

    @torch.no_grad()
    def _average(self) -> None:
        """What acts follows θ, or θ as its extraction asks it."""
        newest = self.extraction.acting(self.theta)
        rate = average_rate(self.config.policy_average, self.policy_steps)
        ema(list(self.policy.field.parameters()), list(newest.parameters()), rate)
        self.policy_steps += 1

    def go_on(self, state: dict[str, Any]) -> None:
        """With another stage's policy as it acted, and the critics and moments it learned."""
        self.load_state_dict(state)
        self.extraction_state = self.extraction.begin(_extraction_state(state))
        self.policy_steps = 0
        if self.extraction.acting(self.theta) is self.theta:  # else what acts is no start for θ
            self.theta.load_state_dict(self.policy.field.state_dict())
        if self.config.reference.mode == "acting":
            self.reference.load_state_dict(self.policy.field.state_dict())

    @torch.no_grad()
    def diagnose(self, batch: Batch, noise: Noise) -> Info:
        """Q at the policy's own chunks less Q at the reference's, from equal noise."""
        at = self._extracting(batch)
        x0 = at.real(noise.normal(batch, batch.action.shape[1]))
        acting = ConditionedFlow.of(self.policy.field, batch.observation, batch.dim_mask)
        ours = flow.sample(acting, x0, self.policy.config.steps)
        theirs = flow.sample(at.reference, x0, at.steps)
        return {"q_gain": (at.q(ours) - at.q(theirs)).mean()}

    def _hand_over_q(self) -> None:
        """Give the acting policy the newest Q, where it chooses by it."""
        if self.policy.critic is not None:
            newest = self.critic.state_dict()
            self.policy.critic.load_state_dict({k: newest[k] for k in self.policy.critic.state_dict()})

    def modules(self) -> dict[str, nn.Module]:
        """Every network, by the name it is stored under."""
        return {
            "policy": self.policy,
            "theta": self.theta,
            "reference": self.reference,
            "behaviour": self.behaviour,
            "critic": self.critic,
            "target": self.target,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on but batch and noise."""
        self._hand_over_q()
        return {
            "modules": {name: module.state_dict() for name, module in self.modules().items()},
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "extraction": self.extraction_state,
            "policy_steps": self.policy_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, for the same shapes."""
        stored = state["modules"]
        for name, module in self.modules().items():
            if name == "theta" and name not in stored:  # from before an average acted
                module.load_state_dict(self.policy.field.state_dict())
                continue
            # The acting policy's Q is a copy of the critic's, and another stage may act without.
            module.load_state_dict(stored[name], strict=name != "policy")
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        kept = _extraction_state(state)
        self.extraction_state = {name: kept.get(name, own) for name, own in self.extraction_state.items()}
        self.policy_steps = state.get("policy_steps", int(state.get("policy_moved", False)))


def _extraction_state(state: dict[str, Any]) -> State:
    return state.get("extraction", state)  # where log λ once stood


def _q_weights(critic: Critic) -> list[Tensor]:
    return [*critic.shared(), *critic.q_heads.parameters()]
