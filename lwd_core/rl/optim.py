"""Optimiser, schedule and weight averaging."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay to ``floor`` · rate; ``clip`` is a global norm.

    Rates: LWD 2e-5 for a 3 B policy (a small net wants 1e-4 … 3e-4) and 5e-4 for critics, cosine for
    both; clip 1 is QAM's.
    """

    rate: float
    weight_decay: float = 0.0
    warmup: int = 0
    floor: float = 0.1
    clip: float = 1.0


class Optimiser:
    """Steps a set of parameters along their gradients."""

    def __init__(self, parameters: Iterable[nn.Parameter], config: OptimConfig):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.config = config
        self.adam = torch.optim.AdamW(
            self.parameters, lr=config.rate, weight_decay=config.weight_decay, fused=True
        )

    def step(self, loss: Tensor, progress: float, update: int) -> Tensor:
        """One step down ``loss``, at ``progress`` in [0, 1] of the cosine; returns the gradient norm."""
        gradients = torch.autograd.grad(loss, self.parameters)
        return self.apply(gradients, progress, update)

    def apply(self, gradients: Sequence[Tensor], progress: float, update: int) -> Tensor:
        """One step along given gradients, clipped together."""
        norm = nn.utils.get_total_norm(gradients)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.config.clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip, norm)
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.config, progress, update)
        self.adam.step()
        return norm


def learning_rate(config: OptimConfig, progress: float, update: int) -> float:
    """Rate at an update (from 0) that stands at ``progress`` of its stage."""
    warm = min(1.0, (update + 1) / config.warmup) if config.warmup else 1.0
    decay = config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.rate * warm * decay


@torch.no_grad()
def ema(average: Sequence[Tensor], newest: Sequence[Tensor], rate: float) -> None:
    """average ← (1 − rate) · average + rate · newest, in place."""
    torch._foreach_lerp_(list(average), list(newest), rate)  # pyright: ignore[reportPrivateImportUsage]
