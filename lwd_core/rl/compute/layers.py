"""A velocity field's layers at fixed observations: there, and back from a gradient at their end.

In float32 on a CPU either is one call of `kernels/`, and so are all steps of a walk: each thread takes its
rows through all layers while they are in its cache. Elsewhere a layer is a product and a pass. Autograd does
not look inside. Shapes: B batch, A = H·D, h hidden width, L hidden layers, n rows: points of a path times B.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.compute import native
from lwd_core.rl.compute.fused import in_one_pass
from lwd_core.rl.compute.gelu import gelu_, gelu_and_slope_, linear_gelu
from lwd_core.rl.compute.walk import Step, Walked

Layer = tuple[Tensor, Tensor]  # weight and bias


@dataclass(frozen=True)
class Layers:
    """context: (B, h), the observations' share of the first layer; action: (h, A), time: (h,), the rest of
    it; hidden: weights (h, h) and biases (h,); out: (A, h) and (A,)."""

    context: Tensor
    action: Tensor
    time: Tensor
    hidden: tuple[Layer, ...]
    out: Layer

    def weights(self) -> list[Tensor]:
        """(out, in), from the first layer to the last."""
        return [self.action, *(weight for weight, _ in self.hidden), self.out[0]]

    def biases(self) -> list[Tensor]:
        """Of all layers but the first."""
        return [*(bias for _, bias in self.hidden), self.out[1]]

    def all(self) -> list[Tensor]:
        """In the order of `weights` and `biases`, after context and time."""
        return [self.context, self.time, *self.weights(), *self.biases()]

    def forward(self, x: Tensor, w: Tensor | float) -> Tensor:
        """Velocities (…, B, A) at x (…, B, A); w: a number or a tensor that broadcasts to (…, B, 1)."""
        if self._one_call(x):
            return self._forward_in_one_call(x, w)
        z = F.linear(x.to(self.action.dtype), self.action)
        bias = w * self.time
        if isinstance(w, Tensor):
            z, bias = z.add_(bias), None
        value = gelu_(z, bias, self.context)
        for weight, bias in self.hidden:
            value = linear_gelu(value, weight, bias)
        # Products may be bf16; positions along the flow stay what they are.
        return F.linear(value, *self.out).to(x.dtype)

    def visit(self, x: Tensor, w: Tensor | float, values: Tensor, slopes: Tensor) -> Tensor:
        """`forward`, that also fills in each layer's activations and their slopes: (L, n, h)."""
        if self._one_call(x):
            return self._forward_in_one_call(x, w, values, slopes)
        value, by_time = x.flatten(0, -2).to(self.action.dtype), w * self.time
        first = self.action, None if isinstance(w, Tensor) else by_time
        for k, (weight, bias) in enumerate((first, *self.hidden)):
            z, slope = (kept[k].view(-1, *self.context.shape) for kept in (values, slopes))
            value = torch.mm(value, weight.t(), out=values[k])
            if bias is None:
                z.add_(by_time)
            gelu_and_slope_(z, slope, bias, None if k else self.context)
        return F.linear(value, *self.out).to(x.dtype).view(x.shape)

    def back(self, g: Tensor, slopes: Tensor) -> Tensor:
        """gᵀ ∂f/∂x (n, A), for g (n, A)."""
        up = self._ups(g, slopes)
        return torch.mm(up, self.action).to(g.dtype)

    def gradients(self, x: Tensor, times: Tensor, g: Tensor, values: Tensor, slopes: Tensor) -> "Layers":
        """Of context and weights, given that of the velocities g (n, A) at points x (n, A) and flow times
        (n,), and what `visit` filled in there."""
        if self._one_call(g):
            return self._gradients_in_one_call(x, times, g, values, slopes)
        ups = torch.empty_like(values)
        self._ups(g, slopes, ups)
        first, biases = ups[0], ups.sum(1, dtype=times.dtype)
        weights = [up.mT @ value for up, value in zip(ups[1:], values[:-1], strict=True)]
        end = g.to(values.dtype)
        return Layers(
            first.view(-1, *self.context.shape).sum(0),
            first.mT @ x.to(first.dtype),
            times @ first.to(times.dtype),
            tuple(zip(weights, biases[1:], strict=True)),
            (end.mT @ values[-1], end.sum(0, dtype=times.dtype)),
        )

    def _ups(self, g: Tensor, slopes: Tensor, kept: Tensor | None = None) -> Tensor:
        """The gradient before the first activation (n, h), and in ``kept`` (L, n, h) before each."""
        up = g.to(self.action.dtype)
        for k, weight in reversed(list(enumerate(self.weights()[1:]))):
            up = torch.mm(up, weight, out=None if kept is None else kept[k]).mul_(slopes[k])
        return up

    def walk(
        self,
        x: Tensor,
        steps: Sequence[Step],
        noise: Tensor | None,
        mask: Tensor | None,
        values: Tensor | None = None,
        slopes: Tensor | None = None,
    ) -> Walked | None:
        """See `walk.walk`; None where it is not one call. mask: (B, A), what moves; values, slopes: of all
        steps, see `visit`."""
        if not self._one_call(x):
            return None
        assert self._compiled
        rows, count = x.numel() // x.shape[-1], len(steps)
        points, velocities = x.new_empty(1 + count, *x.shape), x.new_empty(count, *x.shape)
        points[0] = x
        noise = None if noise is None else _expect("noise", noise.contiguous(), velocities.shape)
        mask = None if mask is None else _expect("mask", mask.contiguous(), self._observed)
        apart = _both_apart(count * rows, self.context, values, slopes)
        native.call_with(
            "field_walk",
            self._compiled,
            _steps(steps),
            count,
            noise,
            mask,
            points,
            velocities,
            values,
            slopes,
            apart,
            rows,
        )
        return points, velocities

    def pull_along(
        self, points: Tensor, steps: Sequence[Step], last: Tensor, mask: Tensor | None
    ) -> Tensor | None:
        """See `walk.pull_along`; None where it is not one call. mask: (B, A), dims that exist."""
        if not self._one_call(points):
            return None
        assert self._compiled
        points = _expect("points", points.contiguous(), torch.Size((len(steps), *last.shape)))
        mask = None if mask is None else _expect("mask", mask.contiguous(), self._observed)
        gradients = torch.empty_like(points)
        native.call_with(
            "field_adjoint",
            self._compiled,
            _steps(steps),
            len(steps),
            mask,
            points,
            _expect("last", last.contiguous(), self._observed),
            gradients,
            len(last),
        )
        return gradients

    @property
    def _observed(self) -> torch.Size:
        """(B, A)."""
        return torch.Size((len(self.context), self.action.shape[1]))

    def _one_call(self, x: Tensor) -> bool:
        fits = x.dtype == torch.float32 and x.shape[-1] == self.action.shape[1]
        return fits and in_one_pass(self.context) and self._compiled is not None

    @cached_property
    def _compiled(self) -> native.Field | None:
        """Where all tensors are, if `kernels/` can do with them."""
        if not native.all_fit(self.all()):
            return None
        return native.Field(
            *(native.addresses(tensors) for tensors in (self.weights(), self.biases())),
            self.time.data_ptr(),
            self.context.data_ptr(),
            len(self.context),
            *reversed(self.action.shape),
            len(self.hidden),
            native.gemm(),
        )

    def _forward_in_one_call(
        self, x: Tensor, w: Tensor | float, values: Tensor | None = None, slopes: Tensor | None = None
    ) -> Tensor:
        assert self._compiled
        x, times = x.contiguous(), None
        if isinstance(w, Tensor):
            times, w = w.to(x.dtype).expand(*x.shape[:-1], 1).contiguous(), 0.0
        rows = x.numel() // x.shape[-1]
        apart = _both_apart(rows, self.context, values, slopes)
        velocity = torch.empty_like(x)
        native.call_with("field_forward", self._compiled, x, times, w, values, slopes, apart, velocity, rows)
        return velocity

    def _gradients_in_one_call(
        self, x: Tensor, times: Tensor, g: Tensor, values: Tensor, slopes: Tensor
    ) -> "Layers":
        assert self._compiled
        rows = len(g)
        if rows % len(self.context):
            raise ValueError(f"{rows} rows are not points of a path at {len(self.context)} observations")
        found = Layers(
            torch.empty_like(self.context),
            torch.empty_like(self.action),
            torch.empty_like(self.time),
            tuple((torch.empty_like(weight), torch.empty_like(bias)) for weight, bias in self.hidden),
            (torch.empty_like(self.out[0]), torch.empty_like(self.out[1])),
        )
        native.call_with(
            "field_back",
            self._compiled,
            _expect("points", x.contiguous(), g.shape),
            _expect("times", times.contiguous(), g.shape[:1]),
            g.contiguous(),
            values,
            slopes,
            _both_apart(rows, self.context, values, slopes),
            values.new_empty(len(values), rows, values.shape[-1]),
            native.FieldGradients(
                *(native.addresses(tensors) for tensors in (found.weights(), found.biases())),
                found.time.data_ptr(),
                found.context.data_ptr(),
            ),
            rows,
        )
        return found


def _steps(steps: Sequence[Step]) -> "ctypes.Array[native.Step]":
    return (native.Step * len(steps))(*steps)


def _expect(name: str, given: Tensor, shape: torch.Size) -> Tensor:
    """ValueError for what a kernel, which trusts it, would read beyond."""
    if given.shape != shape or given.dtype != torch.float32:
        raise ValueError(f"{name}: {tuple(shape)} of float32, not {tuple(given.shape)} of {given.dtype}")
    return given


def _both_apart(rows: int, like: Tensor, values: Tensor | None, slopes: Tensor | None) -> int:
    apart = _apart(rows, like, values)
    if apart != _apart(rows, like, slopes):
        raise ValueError("activations and their slopes: both or none, of one layout")
    return apart


def _apart(rows: int, like: Tensor, layers: Tensor | None) -> int:
    """Numbers from one layer to the next. ValueError for what a kernel, which trusts it, would go beyond."""
    if layers is None:
        return 0
    width = like.shape[-1]
    apart, *within = layers.stride()
    if within != [width, 1] or layers.shape[1:] != (rows, width) or layers.dtype != like.dtype:
        raise ValueError(f"of each layer {rows} rows of {width} {like.dtype}, one after the other")
    return apart
