"""LWD's learner: one update in the paper's order, DIVL for the value and QAM for the policy."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lwd_core.rl import advantage, best_of_n, divl, flow, fql, guard, qam
from lwd_core.rl.batch import Batch, Noise, chosen
from lwd_core.rl.best_of_n import BestOfNConfig
from lwd_core.rl.compute.parallel import mean
from lwd_core.rl.divl import DIVLConfig
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.fql import FQLConfig
from lwd_core.rl.networks import Critic, CriticConfig, CriticShape, VelocityField
from lwd_core.rl.optim import OptimConfig, Optimiser, average_rate, ema
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.progress import Progress
from lwd_core.rl.qam import QAMConfig

Info = dict[str, Tensor]


@dataclass(frozen=True)
class LearnerConfig:
    """Everything one update depends on but its networks and data.

    target_ema: LWD 0.005. ema_of "previous" averages the weights of before the step, as QAM's code.
    policy_average: rate of an EMA of θ, which is what acts; 0 acts with θ itself. policy_start: updates
    of value and reference before the policy first moves. policy_every: value updates per policy update.
    policy_stride: the policy learns from each so-many-th transition of the minibatch. reference_first:
    updates of the stage that only clone into the reference, before all others, with ``warm``'s rate; the
    policy then starts as a copy of the clone, else where it was. act_best_of: the policy acts by the best
    of so many chunks, and carries Q for it. freeze_trunk: only the action expert learns (LWD online).
    extraction: how the policy follows Q; "reference" acts as the reference itself, which leaves Q to
    ``act_best_of``; the others are baselines.
    """

    divl: DIVLConfig = field(default_factory=DIVLConfig)
    extraction: Literal["qam", "fql", "best_of_n", "advantage", "reference"] = "qam"
    qam: QAMConfig = field(default_factory=QAMConfig)
    fql: FQLConfig = field(default_factory=FQLConfig)
    best_of_n: BestOfNConfig = field(default_factory=BestOfNConfig)
    policy: OptimConfig = field(default_factory=lambda: OptimConfig(rate=1e-4, weight_decay=1e-4))
    reference: OptimConfig = field(default_factory=lambda: OptimConfig(rate=3e-4, weight_decay=1e-4))
    critic: OptimConfig = field(default_factory=lambda: OptimConfig(rate=5e-4))
    value: OptimConfig = field(default_factory=lambda: OptimConfig(rate=5e-4))
    target_ema: float = 0.005
    ema_of: Literal["updated", "previous"] = "updated"
    policy_average: float = 0.005
    policy_start: int = 0
    policy_every: int = 1
    policy_stride: int = 1
    reference_first: int = 0
    warm: OptimConfig = field(default_factory=lambda: OptimConfig(rate=1e-3, weight_decay=1e-4, floor=0.02))
    act_best_of: int = 1
    freeze_trunk: bool = False


class Learner:
    """Policy θ, reference β, critics φ and ψ with their optimisers, and the update that moves them."""

    def __init__(self, config: LearnerConfig, policy: FlowPolicy, shape: CriticShape):
        """``policy`` is the SFT policy: θ and β start as its copies."""
        self.config = config
        net = policy.config.field
        encoder = replace(net.encoder, instruction_features=shape.instruction_features)
        atoms = 1 if config.divl.value == "expectile" else config.divl.support.atoms
        critic = CriticConfig.of(shape, encoder, net.action_dim, net.chunk, atoms)
        acting = PolicyConfig(
            net,
            1 if config.extraction == "fql" else policy.config.steps,
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
        self.critic = Critic(critic)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        if config.freeze_trunk:
            for parameter in self.theta.trunk():
                parameter.requires_grad_(False)
        shared = self.critic.shared()
        self.optimisers = {
            "policy": Optimiser("policy", self.theta.parameters(), config.policy),
            "reference": Optimiser("reference", self.behaviour.parameters(), config.reference),
            "warm": Optimiser("reference", self.behaviour.parameters(), config.warm),
            "critic": Optimiser("critic", [*shared, *self.critic.q_heads.parameters()], config.critic),
            "value": Optimiser("value", [*shared, *self.critic.v_head.parameters()], config.value),
        }
        self._averaged = (_q_weights(self.target), _q_weights(self.critic))
        self.log_temperature = torch.tensor(math.log(config.qam.temperature), dtype=torch.float64)
        self.policy_steps = 0  # of this stage

    def update(self, batch: Batch, noise: Noise, progress: Progress) -> Info:
        """One update on one minibatch; scalars to log."""
        first = self.config.reference_first
        if progress.update < first:
            # The reference is the newest weights here: their average would lag behind a falling rate.
            return self._reference_step(batch, noise, Progress(progress.update, first), "warm", 1.0)
        progress = Progress(progress.update - first, progress.total - first)
        info = self._value_step(batch, progress)
        target, more = self._target(batch)
        info |= more | self._critic_step(batch, target, progress)
        if self.config.qam.reference == "refreshed":
            rate = self.config.qam.reference_ema
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
            chosen(self.config.qam.reference_data, batch),
        )
        self.optimisers[optimiser].step(loss, progress)
        behaviour, reference = list(self.behaviour.parameters()), list(self.reference.parameters())
        ema(reference, behaviour, rate)
        return {"reference_loss": info["flow_loss"]}

    def _policy_step(self, batch: Batch, noise: Noise, progress: Progress) -> Info:
        """5. θ: adjoint matching, or a baseline."""
        config = self.config.qam
        if self.config.extraction == "reference":
            self.policy.field.load_state_dict(self.reference.state_dict())
            return {}
        if self.policy_steps == 0 and (self.config.reference_first or config.reference == "acting"):
            self.theta.load_state_dict(self.reference.state_dict())
        loss, info = getattr(self, f"_{self.config.extraction}_loss")(batch, noise)
        norm = self.optimisers["policy"].step(loss, progress)
        self._average()
        if "path_kl" in info and guard.moves(config):
            self.log_temperature = guard.next_temperature(config, self.log_temperature, mean(info["path_kl"]))
        return info | {"policy_gradient": norm}

    @torch.no_grad()
    def _average(self) -> None:
        """What acts follows θ; for advantage conditioning it follows θ as told "good"."""
        newest = self.theta
        if self.config.extraction == "advantage":
            newest = copy.deepcopy(self.theta)
            advantage.ask_for_good(newest, self.theta)
        rate = average_rate(self.config.policy_average, self.policy_steps)
        ema(list(self.policy.field.parameters()), list(newest.parameters()), rate)
        self.policy_steps += 1

    def begin_stage(self) -> None:
        """Go on from another stage's state: what acted, and the critics and moments it learned."""
        self.policy_steps = 0
        if not self.config.qam.kl_budget:  # what a limit made of another stage's temperature
            self.log_temperature = torch.tensor(math.log(self.config.qam.temperature), dtype=torch.float64)
        if self.config.extraction != "advantage":  # there what acts is θ as told "good"
            self.theta.load_state_dict(self.policy.field.state_dict())
        if self.config.qam.reference == "acting":
            self.reference.load_state_dict(self.policy.field.state_dict())

    def _qam_loss(self, batch: Batch, noise: Noise) -> tuple[Tensor, Info]:
        config, width = self.config.qam, batch.action.shape[1]
        return qam.policy_loss(
            config,
            self._flow(self.theta, batch),
            self._reference_flow(batch),
            self._q(batch),
            self.log_temperature.exp().to(batch.action.dtype),
            noise.normal(batch, width),
            noise.normal(batch, config.steps - 1, width).transpose(0, 1),
            batch.mask,
            batch.dim_mask,
        )

    def _fql_loss(self, batch: Batch, noise: Noise) -> tuple[Tensor, Info]:
        return fql.policy_loss(
            self.config.fql,
            self._flow(self.theta, batch),
            self._reference_flow(batch),
            self._q(batch),
            self._real(batch, noise.normal(batch, batch.action.shape[1])),
            self.config.qam.steps,
            batch.mask,
        )

    def _best_of_n_loss(self, batch: Batch, noise: Noise) -> tuple[Tensor, Info]:
        width = batch.action.shape[1]
        proposals = noise.normal(batch, self.config.best_of_n.samples, width).transpose(0, 1)
        return best_of_n.policy_loss(
            self._flow(self.theta, batch),
            self._reference_flow(batch),
            self._q(batch),
            self._real(batch, proposals),
            noise.normal(batch, width),
            noise.uniform(batch, 1),
            self.config.qam.steps,
            batch.mask,
        )

    def _advantage_loss(self, batch: Batch, noise: Noise) -> tuple[Tensor, Info]:
        """Good is what beats the state's value, and whatever a person did."""
        with torch.no_grad():
            q = self.target.q(self.target.features(batch.observation), batch.action).amin(0)
            v = self.critic.v(self.critic.features(batch.observation))
            value, _ = divl.bootstrap(self.config.divl, v)
            good = torch.maximum((q > value).float(), batch.human)
        told = replace(batch, observation=advantage.told(batch.observation, good))
        loss, _ = flow.flow_matching_loss(
            self._flow(self.theta, told),
            batch.action,
            batch.mask,
            noise.normal(batch, batch.action.shape[1]),
            noise.uniform(batch, 1),
        )
        return loss, {"advantage_loss": loss.detach(), "good_share": good.mean()}

    def _flow(self, network: VelocityField, batch: Batch) -> ConditionedFlow:
        return ConditionedFlow.of(network, batch.observation, batch.dim_mask)

    @torch.no_grad()
    def _reference_flow(self, batch: Batch) -> ConditionedFlow:
        return self._flow(self.reference, batch)

    def _q(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        """Q of a chunk at the batch's states: (B, A) to (heads, B), whose own weights are left alone; what is
        masked does not reach it."""
        with torch.no_grad():
            features = self.critic.features(batch.observation)
        return lambda action: self.critic.q(features, action * batch.mask, frozen=True)

    @staticmethod
    def _real(batch: Batch, noise: Tensor) -> Tensor:
        """Noise on the dims that exist."""
        return noise if batch.dim_mask is None else noise * batch.dim_mask

    @torch.no_grad()
    def diagnose(self, batch: Batch, noise: Noise) -> Info:
        """Q at the policy's own chunks less Q at the reference's, from equal noise."""
        x0 = self._real(batch, noise.normal(batch, batch.action.shape[1]))
        q = self._q(batch)
        ours = flow.sample(self._flow(self.policy.field, batch), x0, self.policy.config.steps)
        theirs = flow.sample(self._flow(self.reference, batch), x0, self.config.qam.steps)
        return {"q_gain": (q(ours) - q(theirs)).mean()}

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
            "log_temperature": self.log_temperature,
            "policy_steps": self.policy_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, for the same shapes. A fixed temperature stays the configured one."""
        stored = state["modules"]
        for name, module in self.modules().items():
            if name == "theta" and name not in stored:  # from before an average acted
                module.load_state_dict(self.policy.field.state_dict())
                continue
            # The acting policy's Q is a copy of the critic's, and another stage may act without.
            module.load_state_dict(stored[name], strict=name != "policy")
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        if guard.moves(self.config.qam):
            self.log_temperature = state["log_temperature"]
        self.policy_steps = state.get("policy_steps", int(state.get("policy_moved", False)))


def _q_weights(critic: Critic) -> list[Tensor]:
    return [*critic.shared(), *critic.q_heads.parameters()]
