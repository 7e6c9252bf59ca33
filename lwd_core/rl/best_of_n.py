"""Best of N: the reference proposes, Q chooses. Cloning the choice lets a robot act without Q."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import PositiveInt
from torch import Tensor

from lwd_core.rl.batch import Noise
from lwd_core.rl.extraction import Extraction, Info, PolicyStep
from lwd_core.rl.flow import Flow, best_of_n, flow_matching_loss


@dataclass(frozen=True)
class BestOfN(Extraction):
    """``samples`` is N; 1 clones the reference itself."""

    samples: PositiveInt = 8

    def loss(self, at: PolicyStep, noise: Noise) -> tuple[Tensor, Info]:
        """See `policy_loss`."""
        batch, width = at.batch, at.batch.action.shape[1]
        proposals = at.real(noise.normal(batch, self.samples, width).transpose(0, 1))
        return policy_loss(
            at.policy(),
            at.reference,
            at.q,
            proposals,
            noise.normal(batch, width),
            noise.uniform(batch, 1),
            at.steps,
            batch.mask,
        )


def policy_loss(
    theta: Flow,
    beta: Flow,
    q: Callable[[Tensor], Tensor],
    proposals: Tensor,
    noise: Tensor,
    w: Tensor,
    steps: int,
    mask: Tensor,
) -> tuple[Tensor, Info]:
    """θ's loss: flow matching on the best of β's proposals from noise (N, B, A)."""
    action, value = best_of_n(beta, q, proposals, steps)
    loss, _ = flow_matching_loss(theta, action, mask, noise, w)
    return loss, {"best_of_n_loss": loss.detach(), "path_q": value.mean()}
