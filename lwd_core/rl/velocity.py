"""A velocity field at fixed observations: its values, its derivative by x, and its gradient replayed.

Weights are cast to the type of the products once, here, and what the observations add to the first layer
is computed once. Autograd does not look inside: the way back is written out. Shapes: B batch, A = H·D, h
hidden width, L hidden layers, T points of a path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lwd_core.rl.compute.layers import Layers
from lwd_core.rl.compute.walk import Step, Walked


@dataclass(frozen=True)
class VelocityAt:
    """A field whose observations are in ``layers``."""

    layers: Layers

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """x: (…, B, A); w: a number or a tensor that broadcasts to (…, B, 1). Differentiable by weights and
        context, not by x."""
        if not torch.is_grad_enabled():
            return self.layers.forward(x, w)
        if x.requires_grad:
            raise ValueError("a velocity has no gradient by x here; linearise gives it")
        recording = self.record(x.numel() // x.shape[-1] // len(self.layers.context))
        recording.velocity(x, w)
        return recording.replay().view(x.shape)

    def linearise(self, x: Tensor, w: Tensor) -> "Derivative":
        """The derivative by x at many path points at once: x (T, B, A), w (T, 1, 1)."""
        recording = self.record(len(x))
        recording.velocity(x, w)
        return Derivative(self.layers, recording.slopes.unflatten(1, x.shape[:2]))

    def record(self, points: int) -> "Recording":
        """The same field, that remembers up to so many points where it was evaluated."""
        return Recording(self.layers, points)


@dataclass(frozen=True)
class Derivative:
    """A field's Jacobians along a path, as a chain of plain products: no autograd. slopes: (L, T, B, h)."""

    layers: Layers
    slopes: Tensor

    def pull(self, i: int, g: Tensor) -> Tensor:
        """gᵀ ∂f/∂x at path point i, for g (B, A)."""
        return self.layers.back(g, self.slopes[:, i])


class Recording:
    """A field evaluated point by point without gradient, whose gradient is then taken at all of them at once.

    The path that the current policy draws has its velocities computed already; regression at the same
    points needs only the way back. values, slopes: (L, T·B, h), each layer's activation and its slope.
    """

    def __init__(self, layers: Layers, points: int):
        batch, width = layers.context.shape
        self.layers = layers
        self.values = layers.context.new_empty(1 + len(layers.hidden), points * batch, width)
        self.slopes = torch.empty_like(self.values)
        self._seen: list[tuple[Tensor, Tensor | float, Tensor]] = []  # points, flow times, velocities
        self._count = 0

    @torch.no_grad()
    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """See `VelocityAt.velocity`."""
        begin, self._count = self._count, self._count + x.numel() // x.shape[-1]
        rows = slice(begin, self._count)
        velocity = self.layers.visit(x, w, self.values[:, rows], self.slopes[:, rows])
        self._seen.append((x, w, velocity))
        return velocity

    def walk(
        self, x: Tensor, steps: Sequence[Step], noise: Tensor | None, mask: Tensor | None
    ) -> Walked | None:
        """See `Layers.walk`."""
        begin, count = self._count, len(steps) * (x.numel() // x.shape[-1])
        rows = slice(begin, begin + count)
        walked = self.layers.walk(x, steps, noise, mask, self.values[:, rows], self.slopes[:, rows])
        if walked is not None:
            self._count += count
            times = x.new_tensor([step.w for step in steps]).view(-1, *[1] * x.ndim)
            self._seen.append((walked[0][:-1], times, walked[1]))
        return walked

    def replay(self) -> Tensor:
        """The velocities (T, B, A) at all points so far, with the gradient of weights and context."""
        layers = self.layers
        points, flow_times, velocities = zip(*self._seen, strict=True)
        x, velocity = (torch.cat([rows.flatten(0, -2) for rows in kind]) for kind in (points, velocities))
        times = [
            torch.as_tensor(w, dtype=x.dtype, device=x.device).expand(*at.shape[:-1], 1).flatten()
            for at, w in zip(points, flow_times, strict=True)
        ]
        return _Replay.apply(  # pyright: ignore[reportReturnType]
            velocity.view(-1, len(layers.context), x.shape[-1]),
            x,
            torch.cat(times),
            self.values[:, : self._count],
            self.slopes[:, : self._count],
            layers,
            *layers.all(),
        )


class _Replay(torch.autograd.Function):
    """The way back through a field at points where it was evaluated: rows are T·B."""

    @staticmethod
    def forward(ctx, velocity, x, times, values, slopes, layers, *weights):
        # the weights too, so that autograd refuses a way back through ones that have moved since
        ctx.save_for_backward(x, times, values, slopes, *weights)
        ctx.layers = layers
        return velocity

    @staticmethod
    def backward(ctx, g):
        x, times, values, slopes, *_ = ctx.saved_tensors
        found = ctx.layers.gradients(x, times, g.flatten(0, 1), values, slopes)
        return *(None,) * 6, *found.all()
