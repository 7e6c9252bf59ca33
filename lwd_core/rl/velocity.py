"""A velocity field at fixed observations: its values, its derivative by x, and its gradient replayed.

Weights are cast to the type of the products once, here, and what the observations add to the first layer
is computed once. Autograd does not look inside: the way back is written out. Shapes: B batch, A = H·D, h
hidden width, L hidden layers, T points of a path.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.gelu import gelu_, gelu_and_slope_, linear_gelu

Layer = tuple[Tensor, Tensor]  # weight and bias


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
        """x: (…, B, A); w: a number or a tensor that broadcasts to (…, B, 1). Differentiable by weights and
        context, not by x."""
        if torch.is_grad_enabled():
            if x.requires_grad:
                raise ValueError("a velocity has no gradient by x here; linearise gives it")
            recording = self.record(x[..., 0].numel() // len(self.context))
            recording.velocity(x, w)
            return recording.replay().view(x.shape)
        z = F.linear(x.to(self.action.dtype), self.action)
        bias = w * self.time
        if isinstance(w, Tensor):
            z, bias = z.add_(bias), None
        value = gelu_(z, bias, self.context)
        for weight, bias in self.hidden:
            value = linear_gelu(value, weight, bias)
        # Products may be bf16; positions along the flow stay what they are.
        return F.linear(value, *self.out).to(x.dtype)

    def linearise(self, x: Tensor, w: Tensor) -> "Derivative":
        """The derivative by x at many path points at once: x (T, B, A), w (T, 1, 1)."""
        weights = [self.action, *(weight for weight, _ in self.hidden), self.out[0]]
        recording = self.record(len(x))
        recording.visit(x, w)
        return Derivative(weights, recording.slopes)

    def record(self, points: int) -> "Recording":
        """The same field, that remembers up to so many points where it was evaluated."""
        return Recording(self, points)


@dataclass(frozen=True)
class Derivative:
    """A field's Jacobians along a path, as a chain of plain products: no autograd. slopes: (L, T, B, h)."""

    weights: list[Tensor]
    slopes: Tensor

    def pull(self, i: int, g: Tensor) -> Tensor:
        """gᵀ ∂f/∂x at path point i, for g (B, A)."""
        dtype, g = g.dtype, g.to(self.weights[0].dtype)
        for weight, slope in zip(
            reversed(self.weights[1:]), reversed(self.slopes[:, i].unbind()), strict=True
        ):
            g = torch.mm(g, weight).mul_(slope)
        return torch.mm(g, self.weights[0]).to(dtype)


class Recording:
    """A field evaluated point by point without gradient, whose gradient is then taken at all of them at once.

    The path that the current policy draws has its velocities computed already; regression at the same
    points needs only the way back. values, slopes: (L, T, B, h), each layer's activation and its slope.
    """

    def __init__(self, field: VelocityAt, points: int):
        self.field = field
        self.values = field.context.new_empty(1 + len(field.hidden), points, *field.context.shape)
        self.slopes = torch.empty_like(self.values)
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []  # points, flow times, velocities: rows
        self._count = 0

    @torch.no_grad()
    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """See `VelocityAt.velocity`."""
        last = self.visit(x, w)
        velocity = F.linear(last, *self.field.out).to(x.dtype)
        times = torch.as_tensor(w, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], 1)
        self._seen.append((x.flatten(0, -2), times.flatten(), velocity))
        return velocity.view(x.shape)

    @torch.no_grad()
    def visit(self, x: Tensor, w: Tensor | float) -> Tensor:
        """Fill in activations and slopes at the next points; the last layer's activations."""
        field, begin = self.field, self._count
        self._count += x[..., 0].numel() // len(field.context)
        value, context = x.flatten(0, -2).to(field.action.dtype), field.context
        by_time = w * field.time
        first = field.action, None if isinstance(w, Tensor) else by_time
        for k, (weight, bias) in enumerate((first, *field.hidden)):
            z, slope = self.values[k, begin : self._count], self.slopes[k, begin : self._count]
            value = torch.mm(value, weight.t(), out=z.flatten(0, 1))
            if bias is None:
                z.add_(by_time)
            gelu_and_slope_(z, slope, bias, None if k else context)
        return value

    def replay(self) -> Tensor:
        """The velocities (T, B, A) at all points so far, with the gradient of weights and context."""
        field = self.field
        x, times, velocity = (torch.cat(rows) for rows in zip(*self._seen, strict=True))
        return _Replay.apply(  # pyright: ignore[reportReturnType]
            velocity.view(self._count, len(field.context), -1),
            x,
            times,
            self.values[:, : self._count].flatten(1, 2),
            self.slopes[:, : self._count].flatten(1, 2),
            field.context,
            field.action,
            field.time,
            *(tensor for layer in (*field.hidden, field.out) for tensor in layer),
        )


class _Replay(torch.autograd.Function):
    """The way back through a field at points where it was evaluated: rows are T·B."""

    @staticmethod
    def forward(ctx, velocity, x, times, values, slopes, context, action, time, *layers):
        ctx.save_for_backward(x, times, values, slopes, action, *layers[::2])
        ctx.batch = len(context)
        return velocity

    @staticmethod
    def backward(ctx, g):
        x, times, values, slopes, action, *weights = ctx.saved_tensors
        up = g.flatten(0, 1).to(action.dtype)
        gradients: list[Tensor] = []
        for value, slope, weight in zip(
            reversed(values.unbind()), reversed(slopes.unbind()), reversed(weights), strict=True
        ):
            gradients += [up.sum(0, dtype=times.dtype), up.mT @ value]
            up = torch.mm(up, weight).mul_(slope)
        return (
            *(None,) * 5,
            up.view(-1, ctx.batch, len(action)).sum(0),
            up.mT @ x.to(up.dtype),
            times @ up.to(times.dtype),
            *reversed(gradients),
        )
