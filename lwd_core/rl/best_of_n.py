"""Best of N: the reference proposes, Q chooses. Cloning the choice lets a robot act without Q."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lwd_core.rl.flow import Flow, flow_matching_loss, sample

Info = dict[str, Tensor]


@dataclass(frozen=True)
class BestOfNConfig:
    """``samples`` is N; 1 clones the reference itself."""

    samples: int = 8


@torch.no_grad()
def best_of_n(flow: Flow, q: Callable[[Tensor], Tensor], noise: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The best of N chunks (B, A) and its Q (B,), by the mean of the heads.

    noise: (N, B, A); q: (N, B, A) to (heads, N, B).
    """
    chunks = sample(flow, noise, steps)
    best, index = q(chunks).mean(0).max(0)
    return chunks[index, torch.arange(chunks.shape[1], device=chunks.device)], best


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
