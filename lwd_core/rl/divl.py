"""DIVL: distributional implicit value learning (arXiv 2605.00416), and IQL's expectile beside it.

V is a categorical law of Q̄ over the replay's actions at a state, fitted by cross-entropy; the
bootstrap reads an upper quantile of it, lower where the law is wide. No distributional Bellman
backup takes place: Q is a scalar, learned by mean-squared error.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

Info = dict[str, Tensor]

CDF_TOLERANCE = 1e-6  # float32 sums of exact masses land this close below them


@dataclass(frozen=True)
class Support:
    """Equally spaced atoms. LWD: 201 on [-0.1, 1.1], for returns in [0, 1]."""

    low: float = -0.1
    high: float = 1.1
    atoms: Annotated[int, Field(ge=2)] = 201

    @property
    def width(self) -> float:
        return (self.high - self.low) / (self.atoms - 1)

    def values(self, like: Tensor) -> Tensor:
        """(K,) on the device and with the type of ``like``."""
        return torch.linspace(self.low, self.high, self.atoms, dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class DIVLConfig:
    """Value learning.

    ``tau_base``, ``alpha``: LWD, 0.6 and 0.3 offline, 0.9 and 0.3 online. ``tau_min``, ``tau_max``:
    unreported there, inactive in its curves. ``adaptive`` False holds τ at ``tau_base``.
    ``value`` "expectile" is IQL (arXiv 2110.06169) with a scalar V and expectile ``tau_base``.
    """

    value: Literal["divl", "expectile"] = "divl"
    support: Support = field(default_factory=Support)
    tau_base: float = 0.6
    alpha: float = 0.3
    tau_min: float = 0.05
    tau_max: float = 0.95
    adaptive: bool = True


def project(support: Support, q: Tensor) -> Tensor:
    """Two-hot law (B, K) of scalars (B,): clipped to the support, split linearly on two neighbours."""
    position = (q.clamp(support.low, support.high) - support.low) / support.width
    lower = position.floor().clamp(0, support.atoms - 2)
    share = (position - lower).clamp(0, 1)
    law = q.new_zeros(*q.shape, support.atoms)
    index = lower.long().unsqueeze(-1)
    law.scatter_(-1, index, (1 - share).unsqueeze(-1))
    return law.scatter_(-1, index + 1, share.unsqueeze(-1))


def quantile(support: Support, law: Tensor, tau: Tensor | float) -> Tensor:
    """Smallest atom whose CDF is at least τ, no interpolation: (B,) of a law (B, K).

    τ is a number or (B,). The top atom, should rounding leave the last CDF below τ.
    """
    level = tau.unsqueeze(-1) if isinstance(tau, Tensor) else tau
    below = (law.cumsum(-1) < level - CDF_TOLERANCE).sum(-1)
    return support.values(law)[below.clamp_max(support.atoms - 1)]


def normalised_entropy(law: Tensor) -> Tensor:
    """Entropy over its maximum log K: (B,) in [0, 1]."""
    return torch.special.entr(law).sum(-1) / math.log(law.shape[-1])


def adaptive_tau(config: DIVLConfig, law: Tensor) -> Tensor:
    """τ = clip(τ_base − α·Hn, τ_min, τ_max): (B,), no gradient."""
    tau = config.tau_base - (config.alpha if config.adaptive else 0.0) * normalised_entropy(law.detach())
    return tau.clamp(config.tau_min, config.tau_max)


def value_loss(config: DIVLConfig, v: Tensor, q: Tensor) -> tuple[Tensor, Info]:
    """ψ's loss. v: (B, K) logits, or (B, 1) for the expectile; q: (B,), min of the heads of Q̄ at replay."""
    support = config.support
    clipped = ((q < support.low) | (q > support.high)).float().mean()
    if config.value == "expectile":
        error = q - v.squeeze(-1)
        weight = torch.where(error > 0, config.tau_base, 1 - config.tau_base)
        loss = (weight * error.square()).mean()
    else:
        loss = F.cross_entropy(v, project(support, q))
    return loss, {"value_loss": loss.detach(), "target_clip_share": clipped}


@torch.no_grad()
def bootstrap(config: DIVLConfig, v: Tensor) -> tuple[Tensor, Info]:
    """Value of the bootstrap states (B,) from V's output there; τ by the law's own uncertainty."""
    if config.value == "expectile":
        value = v.squeeze(-1)
        return value, {"bootstrap_value": value.mean()}
    law = v.softmax(-1)
    tau = adaptive_tau(config, law)
    value = quantile(config.support, law, tau)
    return value, {
        "entropy": normalised_entropy(law).mean(),
        "tau": tau.mean(),
        "bootstrap_value": value.mean(),
    }


def td_target(reward: Tensor, discount: Tensor, value: Tensor) -> Tensor:
    """y = Σ γ^i r + γ^(frames to the bootstrap) · value; discount is 0 after a terminal. All (B,)."""
    return reward + discount * value


def q_loss(q: Tensor, target: Tensor) -> tuple[Tensor, Info]:
    """φ's loss: mean-squared error of every head (N, B) to one target (B,)."""
    loss = (q - target).square().mean()
    gap = (q[0] - q[-1]).abs().mean()
    return loss, {
        "q_loss": loss.detach(),
        "q_mean": q.detach().mean(),
        "target_mean": target.mean(),
        "twin_gap": gap.detach(),
    }
