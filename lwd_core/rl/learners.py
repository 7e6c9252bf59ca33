"""What learns in a stage: the seam between a training run and an algorithm, and its door.

An algorithm is a frozen dataclass of settings that makes a learner around a policy; the learner updates it
on a minibatch and is stored, resumed and exported by its state.
"""

from abc import ABC, abstractmethod
from typing import Any, Protocol

from torch import Tensor, nn

from lwd_core.plugins import Door
from lwd_core.rl.batch import Batch, Noise
from lwd_core.rl.networks import CriticShape
from lwd_core.rl.policy import FlowPolicy
from lwd_core.rl.progress import Progress

Info = dict[str, Tensor]


class Trained(Protocol):
    """A learner: ``policy`` is what acts and is exported."""

    policy: FlowPolicy

    def update(self, batch: Batch, noise: Noise, progress: Progress) -> Info:
        """One update on one minibatch; scalars to log."""
        ...

    def diagnose(self, batch: Batch, noise: Noise) -> Info:
        """Scalars that are too dear for every update."""
        ...

    def modules(self) -> dict[str, nn.Module]:
        """Every network, by the name it is stored under; the policy as ``policy``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything the next update depends on but batch and noise; ``modules`` by name, as above."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, for the same shapes."""
        ...

    def go_on(self, state: dict[str, Any]) -> None:
        """Begin a stage from the state in which the same algorithm ended another."""
        ...


class Algorithm(ABC):
    """Settings of an algorithm; subclasses are frozen dataclasses."""

    @abstractmethod
    def learner(self, policy: FlowPolicy, critic: CriticShape) -> Trained:
        """A learner whose policy starts as a copy of this one; ``critic`` is the shape of its Q."""

    @property
    def clones(self) -> str:
        """Which chunks it clones, see `batch.chosen`: a run marks who finished only if that is asked."""
        return "all"


LEARNERS: Door[type[Algorithm]] = Door(
    "lwd.learners",
    {
        "lwd": "lwd_core.rl.learner:LearnerConfig",
        "policy_td": "lwd_core.rl.policy_td:PolicyTDConfig",
        "imitation": "lwd_core.rl.imitation:ImitationConfig",
    },
    needs=("learner",),
    kind="learner",
)
