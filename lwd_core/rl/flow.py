"""Supervised flow matching (SFT), and what is asked of a flow: its velocity, its derivative, its end.

``x_w = (1 − w) x_0 + w a`` runs from noise at w = 0 to the action at w = 1; its velocity is
``a − x_0`` (Lipman et al., arXiv 2210.02747; rectified path).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lwd_core.rl.compute.parallel import total, workers
from lwd_core.rl.encoders import Observation
from lwd_core.rl.fields import Flow, PolicyField

Info = dict[str, Tensor]


@dataclass(frozen=True)
class ConditionedFlow:
    """A network's flow for a batch of observations.

    ``mask`` (B, A) is 0 on padded action dims: they neither enter nor leave the network, so that an
    embodiment with fewer dims is not moved by noise it does not have. ``limit``: see `PolicyField`.
    """

    field: Flow
    mask: Tensor | None = None
    limit: Tensor | float = 1.0

    @staticmethod
    def of(field: PolicyField, observation: Observation, mask: Tensor | None = None) -> "ConditionedFlow":
        """Encode the observations once for the whole flow."""
        return ConditionedFlow(field.at(observation), mask, field.limit)

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        if self.mask is None:
            return self.field.velocity(x, w)
        return self.mask * self.field.velocity(self.mask * x, w)


def limit_of(flow: Flow) -> Tensor | float:
    """How far its actions reach, a number or (A,); 1 of a flow that doesn't say."""
    return getattr(flow, "limit", 1.0)


def clipped(x: Tensor, limit: Tensor | float) -> Tensor:
    """x (…, A) within ± limit."""
    if isinstance(limit, Tensor):
        return x.clamp(min=-limit, max=limit)
    return x.clamp(-limit, limit)


def vjp(flow: Flow, x: Tensor, w: Tensor | float, g: Tensor) -> Tensor:
    """gᵀ ∂f/∂x (B, A) at x (B, A), for g (B, A)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (pulled,) = torch.autograd.grad(flow.velocity(x, w), x, g)
    return pulled


def flow_matching_loss(
    flow: Flow,
    action: Tensor,
    mask: Tensor,
    noise: Tensor,
    w: Tensor,
    weight: Tensor | None = None,
) -> tuple[Tensor, Info]:
    """Flow-matching loss on a batch of chunks.

    action, noise: (B, A); mask: (B, A), 1 on valid frames of real dims; w: (B, 1) uniform in [0, 1];
    weight: (B,) ≥ 0, which samples count. The mean is over valid numbers of a chunk, then over weight.
    """
    x = torch.lerp(noise, action, w)
    error = (flow.velocity(x, w) - (action - noise)).square()
    per_chunk = torch.where(mask > 0, error, 0.0).sum(-1) / mask.sum(-1).clamp_min(1)
    weight = torch.ones_like(per_chunk) if weight is None else weight
    whole = total(weight.sum()).clamp_min(torch.finfo(weight.dtype).tiny)
    loss = (per_chunk * weight).sum() / whole * workers()
    return loss, {"flow_loss": loss.detach()}


@torch.no_grad()
def sample(flow: Flow, noise: Tensor, steps: int) -> Tensor:
    """Euler integration from noise (…, B, A) at w = 0 to actions at w = 1, clipped to its limit."""
    x = noise
    for i in range(steps):
        x = x + flow.velocity(x, i / steps) / steps
    return clipped(x, limit_of(flow))


@torch.no_grad()
def best_of_n(flow: Flow, q: Callable[[Tensor], Tensor], noise: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The best of N chunks (B, A) and its Q (B,), by the mean of the heads.

    noise: (N, B, A); q: (N, B, A) to (heads, N, B).
    """
    chunks = sample(flow, noise, steps)
    best, index = q(chunks).mean(0).max(0)
    return chunks[index, torch.arange(chunks.shape[1], device=chunks.device)], best
