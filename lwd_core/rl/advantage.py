"""Advantage-conditioned cloning, in the manner of RECAP (arXiv 2511.14759).

The flow clones all data and is told of each chunk whether it was better than the state's value; asked for
"better", it acts. How a field is told is its own (`PolicyField.told`).
Better means above the quantile the learner bootstraps with, so at a constant τ about 1 − τ of replay is;
RECAP takes a percentile of each task. What a person chose is always good, as in RECAP. Its guidance by the
difference of two flows is left out: the flow is sampled as it is.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from lwd_core.rl.batch import Noise
from lwd_core.rl.extraction import Extraction, Info, PolicyStep
from lwd_core.rl.fields import PolicyField
from lwd_core.rl.flow import flow_matching_loss


@dataclass(frozen=True)
class AdvantageConditioning(Extraction):
    """Good is what beats the state's value, and whatever a person did."""

    def loss(self, at: PolicyStep, noise: Noise) -> tuple[Tensor, Info]:
        """Cloning of all chunks, each told whether it was good."""
        batch = at.batch
        good = torch.maximum((at.advantage() > 0).float(), batch.human)
        loss, _ = flow_matching_loss(
            at.policy(at.theta.told(batch.observation, good)),
            batch.action,
            batch.mask,
            noise.normal(batch, batch.action.shape[1]),
            noise.uniform(batch, 1),
        )
        return loss, {"advantage_loss": loss.detach(), "good_share": good.mean()}

    def acting(self, theta: PolicyField) -> PolicyField:
        """θ as told "good"."""
        field = copy.deepcopy(theta)
        field.ask_for_good(theta)
        return field
