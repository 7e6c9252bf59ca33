"""MLPs side by side in one call, there and back; `networks.py` says the same product by product.

Shapes: N networks, n rows, h hidden width, L hidden layers.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lwd_core.rl.compute import native
from lwd_core.rl.compute.fused import in_one_pass


@dataclass(frozen=True)
class Weights:
    """Of each layer (N, in, out) and (N, 1, out), and of the LayerNorm after all but the last (N, 1, h)."""

    weights: list[Tensor]
    biases: list[Tensor]
    scales: list[Tensor]
    shifts: list[Tensor]

    def inner(self) -> tuple[list[Tensor], ...]:
        """Of all layers but the last."""
        return self.weights[:-1], self.biases[:-1], self.scales, self.shifts

    def all(self) -> list[Tensor]:
        return [*self.weights, *self.biases, *self.scales, *self.shifts]

    @staticmethod
    def of(tensors: list[Tensor]) -> "Weights":
        """Inverse of `all`."""
        layers = (len(tensors) + 2) // 4
        ends = [layers, 2 * layers, 3 * layers - 1]
        return Weights(*(tensors[a:b] for a, b in zip([0, *ends], [*ends, None], strict=True)))

    def like(self) -> "Weights":
        """New ones, with any numbers."""
        return Weights.of([torch.empty_like(tensor) for tensor in self.all()])

    def pointers(self) -> tuple[Any, ...]:
        """For `native.Stack` or `native.StackGradients`."""
        return tuple(
            native.addresses(tensors) for tensors in (self.weights, self.biases, self.scales, self.shifts)
        )

    def compiled(self) -> native.Stack:
        heads, inputs, _ = self.weights[0].shape
        width, outputs = self.weights[-1].shape[1:]
        return native.Stack(*self.pointers(), heads, inputs, width, outputs, len(self.scales), native.gemm())


def in_one_call(x: Tensor, weights: Weights) -> Tensor | None:
    """(n, in) to (N, n, out), differentiable once; None where it is not one call."""
    widths = {w.shape[1] for w in weights.weights[1:]} | {w.shape[2] for w in weights.weights[:-1]}
    fits = x.dtype == torch.float32 and x.shape[1:] == weights.weights[0].shape[1:2] and len(widths) == 1
    if (
        not fits
        or torch.is_autocast_enabled("cpu")
        or not in_one_pass(x)
        or not native.all_fit(weights.all())
    ):
        return None
    given = [x, *weights.all()]
    if not torch.is_grad_enabled():  # what a way back would need is not kept then
        given = [tensor.detach() for tensor in given]
    return _InOneCall.apply(*given)  # pyright: ignore[reportReturnType]


class _InOneCall(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, *tensors: Tensor) -> Tensor:
        weights = Weights.of(list(tensors))
        stack = weights.compiled()
        rows, kept, held = len(x), native.Kept(), []
        if any(ctx.needs_input_grad):
            layers = len(weights.scales), stack.heads, rows
            held = [x.new_empty(2, *layers, stack.h), x.new_empty(2, *layers)]
            kept = native.Kept(*(part.data_ptr() for pair in held for part in pair))
        end = x.new_empty(stack.heads, rows, stack.outputs)
        native.call_with("stack_forward", stack, x, kept, end, rows)
        ctx.save_for_backward(x, *held, *tensors)
        return end

    @staticmethod
    def backward(ctx, g: Tensor):
        x, held, norms, *tensors = ctx.saved_tensors
        weights = Weights.of(tensors)
        stack, kept = weights.compiled(), native.Kept(*(p.data_ptr() for pair in (held, norms) for p in pair))
        by_x, *by_weights = ctx.needs_input_grad
        down = torch.empty_like(x) if by_x else None
        found = weights.like() if any(by_weights) else None
        gradients = native.StackGradients(*found.pointers()) if found else native.StackGradients()
        ups = torch.empty_like(held[0])
        native.call_with("stack_back", stack, x, g.contiguous(), kept, ups, down, gradients, len(x))
        return down, *(found.all() if found else [None] * len(tensors))
