"""One-step distillation in the manner of FQL (arXiv 2502.02538), an alternative to QAM.

The policy takes the reference's whole flow in one Euler step, and is pulled uphill on Q at the same time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from lwd_core.rl.batch import Noise
from lwd_core.rl.extraction import Extraction, Info, PolicyStep
from lwd_core.rl.flow import Flow, clipped, limit_of, sample


@dataclass(frozen=True)
class FQL(Extraction):
    """``distillation`` weighs staying with the reference against Q; FQL's α, which it tunes in 3 … 1000."""

    acting_steps: ClassVar[int | None] = 1
    distillation: NonNegativeFloat = 10.0

    def loss(self, at: PolicyStep, noise: Noise) -> tuple[Tensor, Info]:
        """See `policy_loss`."""
        batch = at.batch
        x0 = at.real(noise.normal(batch, batch.action.shape[1]))
        return policy_loss(self, at.policy(), at.reference, at.q, x0, at.steps, batch.mask)


def policy_loss(
    config: FQL,
    theta: Flow,
    beta: Flow,
    q: Callable[[Tensor], Tensor],
    noise: Tensor,
    steps: int,
    mask: Tensor,
) -> tuple[Tensor, Info]:
    """θ's loss. q: (B, A) to (heads, B); noise, mask: (B, A); the teacher β takes ``steps`` Euler steps."""
    with torch.no_grad():
        teacher = sample(beta, noise, steps)
    action = noise + theta.velocity(noise, 0.0)
    error = torch.where(mask > 0, (action - teacher).square(), 0.0).sum(-1) / mask.sum(-1).clamp_min(1)
    value = q(clipped(action, limit_of(theta))).mean(0)
    loss = (config.distillation * error - value).mean()
    return loss, {
        "fql_loss": loss.detach(),
        "distillation_error": error.detach().mean(),
        "path_q": value.detach().mean(),
    }
