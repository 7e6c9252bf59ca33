"""Learning from actions alone: SFT and the baselines on the same network and data."""

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from lwd_core.rl import flow
from lwd_core.rl.batch import Batch, Noise, chosen
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.learners import Algorithm, Info
from lwd_core.rl.networks import CriticShape
from lwd_core.rl.optim import OptimConfig, Optimiser, Rate, average_rate, ema
from lwd_core.rl.policy import FlowPolicy
from lwd_core.rl.progress import Progress


@dataclass(frozen=True)
class ImitationConfig(Algorithm):
    """Flow-matching behaviour cloning.

    data: "all" chunks (BC; LWD's SFT, on demonstrations), those of a "success" (filtered BC; %BC in arXiv
    2106.01345), those whose actor "finished" in success (leaves out what a takeover cut short), or those a
    "human" chose (HG-DAgger, arXiv 1810.02890: demonstrations and corrections). optim: LWD tells of SFT no
    more than AdamW and cosine; the rest is this project's choice for small networks. average: rate of an EMA
    of the weights that is what acts, as with LWD's target; 0 acts with the weights themselves.
    """

    optim: OptimConfig = field(default_factory=lambda: OptimConfig(rate=1e-3, weight_decay=1e-4, floor=0.02))
    data: Literal["all", "success", "finished", "human"] = "all"
    average: Rate = 0.005

    def learner(self, policy: FlowPolicy, critic: CriticShape) -> "ImitationLearner":
        """Without a critic."""
        return ImitationLearner(self, policy)

    @property
    def clones(self) -> str:
        return self.data


class ImitationLearner:
    """A policy and the update that clones actions into it."""

    def __init__(self, config: ImitationConfig, policy: FlowPolicy):
        self.config = config
        self.policy = copy.deepcopy(policy)
        self.newest = copy.deepcopy(policy.field)
        self.optimiser = Optimiser("policy", self.newest.parameters(), config.optim)

    def update(self, batch: Batch, noise: Noise, progress: Progress) -> Info:
        """One update on one minibatch; scalars to log."""
        width = batch.action.shape[1]
        loss, info = flow.flow_matching_loss(
            ConditionedFlow.of(self.newest, batch.observation, batch.dim_mask),
            batch.action,
            batch.mask,
            noise.normal(batch, width),
            noise.uniform(batch, 1),
            chosen(self.config.data, batch),
        )
        norm = self.optimiser.step(loss, progress)
        acting, newest = list(self.policy.field.parameters()), list(self.newest.parameters())
        ema(acting, newest, average_rate(self.config.average, progress.update))
        return info | {"policy_gradient": norm}

    def diagnose(self, batch: Batch, noise: Noise) -> Info:
        """Nothing beyond what the update tells."""
        return {}

    def modules(self) -> dict[str, nn.Module]:
        """Every network, by the name it is stored under."""
        return {"policy": self.policy, "newest": self.newest}

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on but batch and noise."""
        return {
            "modules": {name: module.state_dict() for name, module in self.modules().items()},
            "optimisers": {"policy": self.optimiser.state_dict()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, for the same shapes."""
        for name, module in self.modules().items():
            module.load_state_dict(state["modules"][name])
        self.optimiser.load_state_dict(state["optimisers"]["policy"])

    def go_on(self, state: dict[str, Any]) -> None:
        """A clone begins from the policy alone."""
