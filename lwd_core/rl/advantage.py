"""Advantage-conditioned cloning, in the manner of RECAP (arXiv 2511.14759).

The flow clones all data and is told of each chunk whether it was better than the state's value; asked for
"better", it acts. What it is told is a shift of the instruction's embedding along one fixed direction.
Better means above the quantile the learner bootstraps with, so at a constant τ about 1 − τ of replay is;
RECAP takes a percentile of each task. What a person chose is always good, as in RECAP. Its guidance by the
difference of two flows is left out: the flow is sampled as it is.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from lwd_core.rl.batch import Noise
from lwd_core.rl.encoders import Observation
from lwd_core.rl.extraction import Extraction, Info, PolicyStep
from lwd_core.rl.flow import flow_matching_loss
from lwd_core.rl.networks import VelocityField


@dataclass(frozen=True)
class AdvantageConditioning(Extraction):
    """Good is what beats the state's value, and whatever a person did."""

    def loss(self, at: PolicyStep, noise: Noise) -> tuple[Tensor, Info]:
        """Cloning of all chunks, each told whether it was good."""
        batch = at.batch
        good = torch.maximum((at.advantage() > 0).float(), batch.human)
        loss, _ = flow_matching_loss(
            at.policy(told(batch.observation, good)),
            batch.action,
            batch.mask,
            noise.normal(batch, batch.action.shape[1]),
            noise.uniform(batch, 1),
        )
        return loss, {"advantage_loss": loss.detach(), "good_share": good.mean()}

    def acting(self, theta: VelocityField) -> VelocityField:
        """θ as told "good"."""
        field = copy.deepcopy(theta)
        ask_for_good(field, theta)
        return field


def direction(like: Tensor) -> Tensor:
    """The unit vector (E,) along which an embedding says how good a chunk is."""
    return torch.full_like(like[0], like.shape[-1] ** -0.5)


def told(observation: Observation, good: Tensor) -> Observation:
    """The observation with good (B,), 1 or 0, written into its instruction."""
    sign = (2 * good - 1).unsqueeze(-1)
    return observation._replace(
        instruction=observation.instruction + sign * direction(observation.instruction)
    )


@torch.no_grad()
def ask_for_good(acting: VelocityField, trained: VelocityField) -> None:
    """Make ``acting`` the ``trained`` flow that is always told "good": a shift of one bias."""
    acting.load_state_dict(trained.state_dict())
    project = acting.encoder.project
    if project is None:
        raise ValueError("advantage conditioning speaks through the instruction; give it features")
    project.bias.add_(project.weight @ direction(project.weight))
