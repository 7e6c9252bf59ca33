"""Optimiser, schedule and weight averaging."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from lwd_core.rl.compute.parallel import mean, workers
from lwd_core.rl.progress import Progress

#: Of an average: how far it follows the newest at every step.
Rate = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay to ``floor`` · rate; ``clip`` is a global norm.

    Rates: LWD 2e-5 for a 3 B policy (a small net wants 1e-4 … 3e-4) and 5e-4 for critics, cosine for
    both; clip 1 is QAM's.
    """

    rate: NonNegativeFloat
    weight_decay: NonNegativeFloat = 0.0
    warmup: NonNegativeInt = 0
    floor: NonNegativeFloat = 0.1
    clip: NonNegativeFloat = 1.0


class NonFinite(ArithmeticError):
    """A gradient that is not finite; the weights were left as they were."""


class Optimiser:
    """Steps a set of parameters along their gradients; ``name`` is what errors call it."""

    def __init__(self, name: str, parameters: Iterable[nn.Parameter], config: OptimConfig):
        self.name = name
        everything = list(parameters)
        # Frozen ones keep their place, so that moments saved with them thawed still fit.
        self.parameters = [p for p in everything if p.requires_grad]
        self.config = config
        self.adam = torch.optim.AdamW(
            everything, lr=config.rate, weight_decay=config.weight_decay, fused=True
        )

    def step(self, loss: Tensor, progress: Progress) -> Tensor:
        """One clipped step down ``loss``; returns the gradient norm. Raises NonFinite."""
        gradients = self._shared(torch.autograd.grad(loss, self.parameters))
        norm = torch.stack(torch._foreach_norm(gradients)).norm()  # pyright: ignore[reportPrivateImportUsage]
        length = norm.item()
        if not math.isfinite(length):
            raise NonFinite(f"{self.name}: the gradient is not finite (loss {loss.item():g})")
        if self.config.clip and length > self.config.clip:
            torch._foreach_mul_(  # pyright: ignore[reportPrivateImportUsage]
                gradients, self.config.clip / length
            )
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = _laid_out_as(parameter, gradient)
        for group in self.adam.param_groups:
            group["lr"] = learning_rate(self.config, progress)
        self.adam.step()
        return norm

    def _shared(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Their means over all workers, in one message."""
        if workers() == 1:
            return gradients
        whole = mean(torch.cat([g.reshape(-1) for g in gradients]))
        pieces = whole.split([p.numel() for p in self.parameters])
        return tuple(piece.view_as(p) for piece, p in zip(pieces, self.parameters, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Moments and step counts."""
        return self.adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, for the same parameters."""
        self.adam.load_state_dict(state)


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the parameter's memory layout, which torch's fused step takes it to have: that of a
    convolution over pictures has its channels last."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def learning_rate(config: OptimConfig, progress: Progress) -> float:
    """Rate of an update."""
    warm = min(1.0, (progress.update + 1) / config.warmup) if config.warmup else 1.0
    decay = config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress.share))
    return config.rate * warm * decay


def average_rate(rate: float, update: int) -> float:
    """The rate of an average at its so-many-th update (from 0), so that a short run is not held back by the
    weights it began with: polynomial decay (Shamir and Zhang, ICML 2013, η = 8) until ``rate`` is more.

    The average then spans the last ninth of the updates, at most 1 / ``rate``. A rate of 0 takes the newest.
    """
    return max(rate, 9 / (update + 9)) if rate else 1.0


@torch.no_grad()
def ema(average: Sequence[Tensor], newest: Sequence[Tensor], rate: float) -> None:
    """average ← (1 − rate) · average + rate · newest, in place."""
    torch._foreach_lerp_(list(average), list(newest), rate)  # pyright: ignore[reportPrivateImportUsage]
