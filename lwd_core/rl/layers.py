"""A velocity field's layers at fixed observations: there, and back from a gradient at their end.

In float32 on a CPU either is one call of `kernels.cpp`: each thread takes its rows through all layers while
they are in its cache. Elsewhere a layer is a product and a pass. Autograd does not look inside.
Shapes: B batch, A = H·D, h hidden width, L hidden layers, n rows: points of a path times B.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl import native
from lwd_core.rl.fused import in_one_pass
from lwd_core.rl.gelu import gelu_, gelu_and_slope_, linear_gelu

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

    def back(self, g: Tensor, slopes: Tensor, ups: Tensor | None = None) -> Tensor:
        """gᵀ ∂f/∂x (n, A), for g (n, A). ups: (L, n, h), filled in with the gradients before activations."""
        if self._one_call(g):
            return self._back_in_one_call(g, slopes, ups)
        up = g.to(self.action.dtype)
        weights = [*(weight for weight, _ in self.hidden), self.out[0]]
        for k in reversed(range(len(weights))):
            up = torch.mm(up, weights[k], out=None if ups is None else ups[k]).mul_(slopes[k])
        return torch.mm(up, self.action).to(g.dtype)

    def _one_call(self, x: Tensor) -> bool:
        return x.dtype == torch.float32 and in_one_pass(self.context) and self._compiled is not None

    @cached_property
    def _compiled(self) -> native.Field | None:
        """Where all tensors are, if `kernels.cpp` can do with them."""
        gemm, hidden = native.gemm(), list(zip(*self.hidden, strict=True)) or [(), ()]
        tensors = self.action, self.time, self.context, *self.out
        fit = all(native.fits(t) and t.dtype == torch.float32 for t in (*tensors, *hidden[0], *hidden[1]))
        if gemm is None or not fit:
            return None
        return native.Field(
            *(t.data_ptr() for t in tensors),
            *(native.addresses(t) for t in hidden),
            len(self.context),
            *reversed(self.action.shape),
            len(self.hidden),
            gemm,
        )

    def _forward_in_one_call(
        self, x: Tensor, w: Tensor | float, values: Tensor | None = None, slopes: Tensor | None = None
    ) -> Tensor:
        assert self._compiled
        x, times = x.contiguous(), None
        if isinstance(w, Tensor):
            times, w = w.to(x.dtype).expand(*x.shape[:-1], 1).contiguous(), 0.0
        rows = x.numel() // x.shape[-1]
        apart = _apart(rows, self.context, values)
        if apart != _apart(rows, self.context, slopes):
            raise ValueError("activations and their slopes: both or none, of one layout")
        velocity = torch.empty_like(x)
        native.call_field("field_forward", self._compiled, x, times, w, values, slopes, apart, velocity, rows)
        return velocity

    def _back_in_one_call(self, g: Tensor, slopes: Tensor, ups: Tensor | None) -> Tensor:
        assert self._compiled
        g, rows = g.contiguous(), len(g)
        apart = _apart(rows, self.context, slopes), _apart(rows, self.context, ups)
        down = torch.empty_like(g)
        native.call_field("field_back", self._compiled, g, slopes, apart[0], ups, apart[1], down, rows)
        return down


def _apart(rows: int, like: Tensor, layers: Tensor | None) -> int:
    """Numbers from one layer to the next. ValueError for what a kernel, which trusts it, would go beyond."""
    if layers is None:
        return 0
    width = like.shape[-1]
    apart, *within = layers.stride()
    if within != [width, 1] or layers.shape[1:] != (rows, width) or layers.dtype != like.dtype:
        raise ValueError(f"of each layer {rows} rows of {width} {like.dtype}, one after the other")
    return apart
