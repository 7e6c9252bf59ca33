"""A velocity field at fixed observations: its values, its derivative by x, and its gradient replayed.

Weights are cast to the type of the products once, here, and what the observations add to the first layer
is computed once. Autograd does not look inside: the way back is written out. Shapes: B batch, A = H·D, h
hidden width, T points of a path.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.gelu import gelu_, gelu_and_slope_, linear_gelu

Layer = tuple[Tensor, Tensor]  # weight and bias
ENOUGH = 64  # rows with which a product is as fast as with more, while what follows it stays in the cache


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
            recording = self.record()
            recording.velocity(x, w)
            return recording.replay()[0]
        if self._one_by_one(x, w):
            return torch.stack([self.velocity(*point) for point in _points(x, w)])
        z, bias, context = self._first(x, w)
        value = gelu_(z, bias, context)
        for (_, bias), weight in zip(self.hidden, self._forward, strict=True):
            value = linear_gelu(value, weight, bias)
        return self._last(value, x)

    def linearise(self, x: Tensor, w: Tensor) -> "Derivative":
        """The derivative by x at many path points at once: x (T, B, A), w (T, 1, 1)."""
        weights = [self.action, *(weight for weight, _ in self.hidden), self.out[0]]
        if self._one_by_one(x, w):
            return Derivative(weights, [self._trace(*point).slopes for point in _points(x, w)])
        slopes = [slope.view(*x.shape[:2], -1) for slope in self._trace(x, w).slopes]
        return Derivative(weights, list(zip(*slopes, strict=True)))

    def record(self) -> "Recording":
        """The same field, that remembers where it was evaluated."""
        return Recording(self)

    @cached_property
    def _forward(self) -> list[Tensor]:
        """The hidden weights, laid out for the way forward where that is worth a copy."""
        weights = [weight.detach() for weight, _ in self.hidden]
        return [w.t().contiguous().t() for w in weights] if _many(self.context) else weights

    def _one_by_one(self, x: Tensor, w: Tensor | float) -> bool:
        """Whether points of a path are better taken in turn. Products in bfloat16 want all rows at once."""
        path = x.ndim == 3 and (not isinstance(w, Tensor) or w.shape[1:] == (1, 1))
        return path and _many(x[0]) and self.action.dtype == torch.float32

    def _first(self, x: Tensor, w: Tensor | float) -> tuple[Tensor, Tensor | None, Tensor]:
        """Before the first GELU: the product, and a bias and a context to be added to it."""
        z, by_time = F.linear(x.to(self.action.dtype), self.action), w * self.time
        return (z.add_(by_time), None, self.context) if isinstance(w, Tensor) else (z, by_time, self.context)

    def _last(self, value: Tensor, x: Tensor) -> Tensor:
        # Products may be bf16; positions along the flow stay what they are.
        return F.linear(value, *self.out).to(x.dtype)

    def _trace(self, x: Tensor, w: Tensor | float) -> "Trace":
        """Activations and their slopes on the way; no gradient."""
        z, bias, context = self._first(x, w)
        value, slope = (t.flatten(0, -2) for t in gelu_and_slope_(z, bias, context))
        values, slopes = [value], [slope]
        for (_, bias), weight in zip(self.hidden, self._forward, strict=True):
            value, slope = gelu_and_slope_(F.linear(value, weight), bias)
            values.append(value)
            slopes.append(slope)
        times = torch.as_tensor(w, dtype=self.time.dtype, device=x.device).expand(*x.shape[:-1], 1)
        return Trace(x.flatten(0, -2), times.flatten(), values, slopes)


@dataclass(frozen=True)
class Trace:
    """Where a field was evaluated, row by row, and every hidden layer's activation and its slope there."""

    x: Tensor
    w: Tensor
    values: list[Tensor]
    slopes: list[Tensor]

    @staticmethod
    def joined(traces: list["Trace"]) -> "Trace":
        """One trace of all rows."""
        values = zip(*(t.values for t in traces), strict=True)
        slopes = zip(*(t.slopes for t in traces), strict=True)
        x, w = torch.cat([t.x for t in traces]), torch.cat([t.w for t in traces])
        return Trace(x, w, [torch.cat(v) for v in values], [torch.cat(s) for s in slopes])


@dataclass(frozen=True)
class Derivative:
    """A field's Jacobians along a path, as a chain of plain products: no autograd. slopes: of each point, of
    each layer."""

    weights: list[Tensor]
    slopes: list[list[Tensor]] | list[tuple[Tensor, ...]]

    def pull(self, i: int, g: Tensor) -> Tensor:
        """gᵀ ∂f/∂x at path point i, for g (B, A)."""
        dtype, g = g.dtype, g.to(self.weights[0].dtype)
        for weight, slope in zip(reversed(self.weights[1:]), reversed(self.slopes[i]), strict=True):
            g = torch.mm(g, weight).mul_(slope)
        return torch.mm(g, self.weights[0]).to(dtype)


class Recording:
    """A field evaluated point by point without gradient, whose gradient is then taken at all of them.

    The path that the current policy draws has its velocities computed already; regression at the same
    points needs only the way back.
    """

    def __init__(self, field: VelocityAt):
        self.field = field
        self._traces: list[Trace] = []
        self._velocities: list[Tensor] = []

    @torch.no_grad()
    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """See `VelocityAt.velocity`."""
        trace = self.field._trace(x, w)
        velocity = self.field._last(trace.values[-1], x).view(x.shape)
        self._traces.append(trace)
        self._velocities.append(velocity)
        return velocity

    def replay(self) -> Tensor:
        """The velocities (T, …, B, A) at all points so far, with the gradient of weights and context."""
        field = self.field
        return _Replay.apply(  # pyright: ignore[reportReturnType]
            torch.stack(self._velocities),
            self._traces,
            field.context,
            field.action,
            field.time,
            *(tensor for layer in (*field.hidden, field.out) for tensor in layer),
        )


class _Replay(torch.autograd.Function):
    """The way back through a field at points where it was evaluated."""

    @staticmethod
    def forward(ctx, velocity, traces, context, action, time, *layers):
        ctx.save_for_backward(action, *layers[::2])
        ctx.traces, ctx.batch = traces, len(context)
        return velocity

    @staticmethod
    def backward(ctx, g):
        action, *weights = ctx.saved_tensors
        traces, ups = ctx.traces, list(g.to(action.dtype).reshape(len(g), -1, action.shape[1]))
        if action.dtype == torch.bfloat16:  # which wants all rows at once, and sums that stay in the product
            traces, ups = [Trace.joined(traces)], [torch.cat(ups)]
        sums: list[Tensor | None] = [None] * (3 + 2 * len(weights))
        for trace, up in zip(traces, ups, strict=True):
            parts: list[Tensor | Layer] = []
            for value, slope, weight in zip(
                reversed(trace.values), reversed(trace.slopes), reversed(weights), strict=True
            ):
                parts += [up.sum(0, dtype=trace.w.dtype), (up.mT, value)]
                up = torch.mm(up, weight).mul_(slope)
            context = up.view(-1, ctx.batch, len(action)).sum(0)
            parts += [trace.w @ up.to(trace.w.dtype), (up.mT, trace.x.to(up.dtype)), context]
            sums = [_add(total, part) for total, part in zip(sums, reversed(parts), strict=True)]
        return None, None, *sums


def _many(rows: Tensor) -> bool:
    return not torch.compiler.is_compiling() and len(rows) >= ENOUGH


def _points(x: Tensor, w: Tensor | float) -> Iterator[tuple[Tensor, float]]:
    times = w.flatten().tolist() if isinstance(w, Tensor) else [w] * len(x)
    return zip(x, times, strict=True)


def _add(total: Tensor | None, part: Tensor | Layer) -> Tensor:
    """A sum of gradients and one more, which may be given as a product."""
    if isinstance(part, Tensor):
        return part if total is None else total.add_(part)
    return torch.mm(*part) if total is None else total.addmm_(*part)
