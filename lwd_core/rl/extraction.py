"""From Q to a policy: the seam between the learner and a method of extracting one, and its door.

A method is a frozen dataclass: its fields are its settings, `Extraction.loss` is what θ steps down. Of all
else (averaging, cadence, the reference, checkpoints) it knows nothing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from lwd_core.plugins import Door
from lwd_core.rl import divl
from lwd_core.rl.batch import Batch, Noise
from lwd_core.rl.divl import DIVLConfig
from lwd_core.rl.encoders import Observation
from lwd_core.rl.fields import PolicyField
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.networks import Critic

Info = dict[str, Tensor]
State = dict[str, Tensor]


@dataclass(frozen=True)
class PolicyStep:
    """What a method sees of one update: the minibatch, θ, the reference β, Q and V.

    ``state`` is the method's own, see `Extraction.begin`; ``steps``: Euler steps β is sampled with.
    """

    batch: Batch
    theta: PolicyField
    beta: PolicyField
    critic: Critic
    target: Critic
    divl: DIVLConfig
    steps: int
    state: State

    def policy(self, observation: Observation | None = None) -> ConditionedFlow:
        """θ's flow at the batch's states, or at those given; the gradient goes to θ."""
        seen = self.batch.observation if observation is None else observation
        return ConditionedFlow.of(self.theta, seen, self.batch.dim_mask)

    @cached_property
    def reference(self) -> ConditionedFlow:
        """β's flow at the batch's states."""
        with torch.no_grad():
            return ConditionedFlow.of(self.beta, self.batch.observation, self.batch.dim_mask)

    def q(self, action: Tensor) -> Tensor:
        """Q of chunks (…, B, A) at the batch's states: (heads, …, B), with gradient by the chunk alone; what
        is masked does not reach it."""
        return self.critic.q(self._features, action * self.batch.mask, frozen=True)

    @torch.no_grad()
    def advantage(self) -> Tensor:
        """Of the replay's own chunks (B,): the least head of Q̄ less the value V bootstraps with."""
        batch = self.batch
        q = self.target.q(self.target.features(batch.observation), batch.action).amin(0)
        value, _ = divl.bootstrap(self.divl, self.critic.v(self._features))
        return q - value

    def real(self, noise: Tensor) -> Tensor:
        """Noise on the dims that exist."""
        return noise if self.batch.dim_mask is None else noise * self.batch.dim_mask

    @cached_property
    def _features(self) -> Tensor:
        with torch.no_grad():
            return self.critic.features(self.batch.observation)


class Extraction(ABC):
    """A method; subclasses are frozen dataclasses. Only `loss` must be written.

    ``acting_steps``: Euler steps its policy acts with; None takes the policy's own.
    """

    acting_steps: ClassVar[int | None] = None

    @abstractmethod
    def loss(self, at: PolicyStep, noise: Noise) -> tuple[Tensor, Info] | None:
        """θ's loss, and scalars to log; None for a policy that is the reference itself."""

    def acting(self, theta: PolicyField) -> PolicyField:
        """The field whose average acts: θ, unless θ has to be asked in a way of its own."""
        return theta

    def begin(self, before: State) -> State:
        """Tensors that the method keeps from update to update of a stage; they are stored with the learner's.
        ``before``: those that another stage ended with, perhaps by another method."""
        return {}

    def moved(self, state: State, info: Info) -> State:
        """``state`` after θ's step, of which `loss` told ``info``."""
        return state


EXTRACTIONS: Door[type[Extraction]] = Door(
    "lwd.extractions",
    {
        "qam": "lwd_core.rl.qam:QAM",
        "fql": "lwd_core.rl.fql:FQL",
        "best_of_n": "lwd_core.rl.best_of_n:BestOfN",
        "advantage": "lwd_core.rl.advantage:AdvantageConditioning",
        "reference": "lwd_core.rl.reference:ReferenceAlone",
    },
    needs=("loss",),
    kind="extraction",
)
