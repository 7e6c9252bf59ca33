"""A velocity field at fixed observations: its values, its derivative by x, and its gradient replayed.

Weights are cast to the type of the products once, here, and what the observations add to the first layer
is computed once. Shapes: B batch, A = H·D, h hidden width, T points of a path.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.gelu import gelu, gelu_and_slope, linear_gelu

Layer = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class VelocityAt:
    """context: (B, h), the observations' share of the first layer; action: (h, A), time: (h,), the rest of
    it; hidden: weights (h, h) and biases (h,); out: (A, h) and (A,)."""

    context: Tensor
    action: Tensor
    time: Tensor
    hidden: tuple[Layer, ...]
    out: Layer

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """x: (…, B, A); w: a number or a tensor that broadcasts to (…, B, 1). Differentiable."""
        value = gelu(self._first(x, w))
        for weight, bias in self.hidden:
            if torch.is_grad_enabled():
                value = gelu(F.linear(value, weight, bias))
            else:
                value = linear_gelu(value, weight, bias)
        # Products may be bf16; positions along the flow stay what they are.
        return F.linear(value, *self.out).to(x.dtype)

    def linearise(self, x: Tensor, w: Tensor) -> "Derivative":
        """The derivative by x at many path points at once: x (T, B, A), w (T, 1, 1)."""
        return Derivative(self._weights(), self._trace(x, w).slopes)

    def record(self) -> "Recording":
        """The same field, that remembers where it was evaluated."""
        return Recording(self)

    def _first(self, x: Tensor, w: Tensor | float) -> Tensor:
        return (F.linear(x.to(self.action.dtype), self.action) + self.context) + (w * self.time).to(
            self.context.dtype
        )

    def _trace(self, x: Tensor, w: Tensor | float) -> "Trace":
        """Activations and their slopes on the way; no gradient."""
        value, slope = gelu_and_slope(self._first(x, w))
        values, slopes = [value], [slope]
        for weight, bias in self.hidden:
            value, slope = gelu_and_slope(F.linear(value, weight, bias))
            values.append(value)
            slopes.append(slope)
        return Trace(x, values, slopes)

    def _weights(self) -> list[Tensor]:
        return [self.action, *(weight for weight, _ in self.hidden), self.out[0]]


@dataclass(frozen=True)
class Trace:
    """Where a field was evaluated, and every hidden layer's activation and its slope there."""

    x: Tensor
    values: list[Tensor]
    slopes: list[Tensor]


@dataclass(frozen=True)
class Derivative:
    """A field's Jacobians along a path, as a chain of plain products: no autograd."""

    weights: list[Tensor]
    slopes: list[Tensor]

    def pull(self, i: int, g: Tensor) -> Tensor:
        """gᵀ ∂f/∂x at path point i, for g (B, A)."""
        dtype, g = g.dtype, g.to(self.weights[0].dtype)
        for weight, slope in zip(reversed(self.weights[1:]), reversed(self.slopes), strict=True):
            g = torch.mm(g, weight).mul_(slope[i])
        return torch.mm(g, self.weights[0]).to(dtype)


class Recording:
    """A field evaluated point by point without gradient, whose gradient is then taken at all of them at once.

    The path that the current policy draws has its velocities computed already; regression at the same
    points needs only the way back.
    """

    def __init__(self, field: VelocityAt):
        self.field = field
        self._times: list[float] = []
        self._traces: list[Trace] = []
        self._velocities: list[Tensor] = []

    @torch.no_grad()
    def velocity(self, x: Tensor, w: float) -> Tensor:
        """x: (B, A)."""
        trace = self.field._trace(x, w)
        velocity = F.linear(trace.values[-1], *self.field.out).to(x.dtype)
        self._times.append(w)
        self._traces.append(trace)
        self._velocities.append(velocity)
        return velocity

    def replay(self) -> Tensor:
        """The velocities (T, B, A) at all points so far; differentiable by weights and context, not by x."""
        field = self.field
        layers = len(self._traces[0].values)
        return _Replay.apply(  # pyright: ignore[reportReturnType]
            torch.stack(self._velocities),
            torch.tensor(self._times, dtype=field.time.dtype, device=field.time.device),
            torch.cat([t.x for t in self._traces]),
            [torch.cat([t.values[k] for t in self._traces]) for k in range(layers)],
            [torch.cat([t.slopes[k] for t in self._traces]) for k in range(layers)],
            field.context,
            field.action,
            field.time,
            *(tensor for layer in (*field.hidden, field.out) for tensor in layer),
        )


class _Replay(torch.autograd.Function):
    """The way back through a field at points where it was evaluated: rows are T·B."""

    @staticmethod
    def forward(ctx, velocity, times, x, values, slopes, context, action, time, *layers):
        ctx.save_for_backward(times, x, *values, *slopes, *layers[::2])
        ctx.dtype, ctx.rows = context.dtype, len(context)
        return velocity

    @staticmethod
    def backward(ctx, g):
        times, x, *rest = ctx.saved_tensors
        depth = len(rest) // 3
        values, slopes, weights = rest[:depth], rest[depth : 2 * depth], rest[2 * depth :]
        g = g.flatten(0, 1).to(weights[0].dtype)
        gradients: list[Tensor] = []
        for value, slope, weight in zip(reversed(values), reversed(slopes), reversed(weights), strict=True):
            gradients += [g.sum(0), g.mT @ value]
            g = torch.mm(g, weight).mul_(slope)
        steps = g.view(len(times), ctx.rows, -1)
        per_step = steps.sum(1)
        return (
            *(None,) * 5,
            steps.sum(0),
            g.mT @ x.to(g.dtype),
            times @ per_step.to(times.dtype),
            *reversed(gradients),
        )
