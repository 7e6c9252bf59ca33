"""Supervised flow matching (SFT), and sampling from a flow.

``x_w = (1 − w) x_0 + w a`` runs from noise at w = 0 to the action at w = 1; its velocity is
``a − x_0`` (Lipman et al., arXiv 2210.02747; rectified path).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lwd_core.rl.compute.parallel import total, workers
from lwd_core.rl.compute.walk import Linearised, Step, Walked, walk
from lwd_core.rl.encoders import Observation
from lwd_core.rl.networks import VelocityField
from lwd_core.rl.velocity import Recording, VelocityAt

Info = dict[str, Tensor]


class Flow(Protocol):
    """A velocity field at fixed observations, over flattened chunks x (…, B, A)."""

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor: ...

    def linearise(self, x: Tensor, w: Tensor) -> Linearised:
        """x: (T, B, A), w: (T, 1, 1)."""
        ...


@dataclass(frozen=True)
class ConditionedFlow:
    """A network's flow for a batch of observations.

    ``mask`` (B, A) is 0 on padded action dims: they neither enter nor leave the network, so that an
    embodiment with fewer dims is not moved by noise it does not have.
    """

    field: VelocityAt
    mask: Tensor | None = None

    @staticmethod
    def of(field: VelocityField, observation: Observation, mask: Tensor | None = None) -> "ConditionedFlow":
        """Encode the observations once for the whole flow."""
        return ConditionedFlow(field.at(observation), mask)

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        return self._real(self.field.velocity(self._real(x), w))

    def linearise(self, x: Tensor, w: Tensor) -> Linearised:
        derivative = self.field.linearise(self._real(x), w)
        return derivative if self.mask is None else _MaskedDerivative(derivative, self.mask)

    def walk(self, x: Tensor, steps: Sequence[Step], noise: Tensor | None) -> Walked | None:
        return self.field.layers.walk(self._real(x), steps, noise, self.mask)

    def pull_along(self, points: Tensor, steps: Sequence[Step], last: Tensor) -> Tensor | None:
        return self.field.layers.pull_along(self._real(points), steps, last, self.mask)

    def record(self, points: int) -> "RecordedFlow":
        """The same flow, that remembers up to so many points where it was evaluated."""
        return RecordedFlow(self.field.record(points), self.mask)

    def _real(self, value: Tensor) -> Tensor:
        return value if self.mask is None else self.mask * value


@dataclass(frozen=True)
class RecordedFlow:
    """See `Recording`."""

    recording: Recording
    mask: Tensor | None

    def velocity(self, x: Tensor, w: float) -> Tensor:
        if self.mask is None:
            return self.recording.velocity(x, w)
        return self.mask * self.recording.velocity(self.mask * x, w)

    def walk(self, x: Tensor, steps: Sequence[Step], noise: Tensor | None) -> Walked | None:
        x = x if self.mask is None else self.mask * x
        return self.recording.walk(x, steps, noise, self.mask)

    def replay(self) -> Tensor:
        """Velocities (T, B, A) at all points so far, with the gradient of the network's weights."""
        velocity = self.recording.replay()
        return velocity if self.mask is None else self.mask * velocity


@dataclass(frozen=True)
class _MaskedDerivative:
    inner: Linearised
    mask: Tensor

    def pull(self, i: int, g: Tensor) -> Tensor:
        return self.mask * self.inner.pull(i, self.mask * g)


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
    """Euler integration from noise (…, B, A) at w = 0 to actions at w = 1, clipped to [-1, 1]."""
    points, _ = walk(flow, noise, [Step(i / steps, 1.0, 1 / steps) for i in range(steps)])
    return points[-1].clamp(-1, 1)
