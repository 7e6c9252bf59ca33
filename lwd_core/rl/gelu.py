"""GELU in its tanh form, written with a sigmoid: the same function, at half the cost on a CPU.

½ z (1 + tanh u) = z σ(2u). Where a gradient is wanted the derivative is computed beside the value, so
that the backward pass is one product.
"""

import torch
from torch import Tensor

_A = 2 * (2 / torch.pi) ** 0.5
_B = 0.044715 * _A


def gelu(z: Tensor) -> Tensor:
    """Elementwise; differentiable once."""
    if torch.compiler.is_compiling():
        return z * torch.sigmoid(z * (_A + _B * z * z))  # fused by the compiler, forward and backward
    if torch.is_grad_enabled() and z.requires_grad:
        return _Gelu.apply(z)  # pyright: ignore[reportReturnType]
    u = z * z
    return u.mul_(_B).add_(_A).mul_(z).sigmoid_().mul_(z)


def gelu_and_slope(z: Tensor) -> tuple[Tensor, Tensor]:
    """Value and derivative; no gradient goes through."""
    if torch.compiler.is_compiling():
        square = z * z
        s = torch.sigmoid(z * (_A + _B * square))
        value = z * s
        return value, s + value * (1 - s) * (_A + 3 * _B * square)
    square = z * z
    s = (square * _B).add_(_A).mul_(z).sigmoid_()
    value = z * s
    slope = square.mul_(3 * _B).add_(_A).mul_(value)
    slope.addcmul_(slope, s, value=-1)
    return value, slope.add_(s)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        value, slope = gelu_and_slope(z)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        return g * slope
