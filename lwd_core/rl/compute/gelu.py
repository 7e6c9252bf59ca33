"""GELU in its tanh form, after a product's bias, with its slope, and before LayerNorm.

Written with a sigmoid: ½ z (1 + tanh u) = z σ(2u), the same function at half the cost on a CPU. Where a
gradient is wanted the derivative is computed beside the value, so that the backward pass is one product.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lwd_core.rl.compute import native
from lwd_core.rl.compute.fused import fused, in_one_pass, kernel

LAYER_NORM_EPS = 1e-6  # flax's default, which QAM uses
FEW = 1 << 12  # numbers

_A = 2 * (2 / torch.pi) ** 0.5
_B = 0.044715 * _A


def gelu(z: Tensor) -> Tensor:
    """Elementwise; differentiable once."""
    if torch.is_grad_enabled() and z.requires_grad and not torch.compiler.is_compiling():
        return _Gelu.apply(z)  # pyright: ignore[reportReturnType]
    return F.gelu(z, approximate="tanh") if _few(z) else _gelu(z)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gelu(x Wᵀ + b) without gradient."""
    if _few(x) or not in_one_pass(x):
        return gelu(F.linear(x, weight, bias.to(x.dtype)))
    return gelu_(F.linear(x, weight), bias)


def _few(z: Tensor) -> bool:
    """Whether calls cost more than numbers: then, and in a program written down, torch's own is best."""
    return torch.compiler.is_compiling() or z.numel() <= FEW


def gelu_(z: Tensor, bias: Tensor | None, context: Tensor | None = None) -> Tensor:
    """gelu(z + bias + context) without gradient, in the place of z (…, B, h). bias: (h,); context: (B, h)."""
    if _few(z) or not in_one_pass(z):
        return gelu(_plus(z, bias, context))
    return _in_place(z, None, bias, context)


def gelu_and_slope_(z: Tensor, slope: Tensor, bias: Tensor | None, context: Tensor | None = None) -> None:
    """Puts the value of `gelu_` in the place of z and its derivative into ``slope``."""
    if in_one_pass(z):
        _in_place(z, slope, bias, context)
        return
    value, derivative = gelu_and_slope(_plus(z, bias, context))
    z.copy_(value)
    slope.copy_(derivative)


def _in_place(z: Tensor, slope: Tensor | None, bias: Tensor | None, context: Tensor | None) -> Tensor:
    rows, width = z.numel() // z.shape[-1], z.shape[-1]
    _expect("slope", slope, z.shape, z.dtype)
    _expect("bias", bias, z.shape[-1:], torch.float32)
    _expect("context", context, z.shape[-2:], z.dtype)
    native.call("gelu", z, bias, context, slope, rows, width, rows if context is None else len(context))
    return z


def _expect(name: str, given: Tensor | None, shape: torch.Size, kind: torch.dtype) -> None:
    """ValueError for what a kernel, which takes addresses and trusts them, would read or write beyond."""
    if given is not None and (given.shape, given.dtype, given.is_contiguous()) != (shape, kind, True):
        raise ValueError(f"{name}: {tuple(shape)} of {kind}, contiguous")


def _plus(z: Tensor, bias: Tensor | None, context: Tensor | None) -> Tensor:
    z = z if bias is None else z.add_(bias)
    return z if context is None else z.add_(context)


@kernel
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


def gelu_norm(z: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LayerNorm(gelu(z + bias)) · scale + shift, in one pass over z's place.

    z: (N, B, h); bias, scale, shift: (N, 1, h); differentiable once.
    """
    if in_one_pass(z):
        return _GeluNormInOnePass.apply(z, bias, scale, shift)  # pyright: ignore[reportReturnType]
    z = z + bias.to(z.dtype)
    if fused(z):
        return _GeluNorm.apply(z, scale, shift)  # pyright: ignore[reportReturnType]
    return torch.addcmul(shift, F.layer_norm(gelu(z), z.shape[-1:], eps=LAYER_NORM_EPS), scale)


@kernel
def _gelu(z: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return z * torch.sigmoid(z * (_A + _B * z * z))
    u = z * z
    return u.mul_(_B).add_(_A).mul_(z).sigmoid_().mul_(z)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        value, slope = z.clone(memory_format=torch.contiguous_format), torch.empty_like(z)
        gelu_and_slope_(value, slope, None)
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        return g * slope


@kernel
def _norm(z: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value = z * torch.sigmoid(z * (_A + _B * z * z))
    centre = value.mean(-1, keepdim=True, dtype=torch.promote_types(z.dtype, torch.float32))
    deviation = value - centre
    inverse = (deviation.square().mean(-1, keepdim=True) + LAYER_NORM_EPS).rsqrt()
    return (deviation * inverse * scale + shift).to(z.dtype), centre, inverse


@kernel
def _norm_pull(z: Tensor, scale: Tensor, centre: Tensor, inverse: Tensor, g: Tensor) -> Tensor:
    square = z * z
    s = torch.sigmoid(z * (_A + _B * square))
    value = z * s
    slope = s + value * (1 - s) * (_A + 3 * _B * square)
    normal = (value - centre) * inverse
    g = g * scale
    inner = g - g.mean(-1, keepdim=True) - normal * (g * normal).mean(-1, keepdim=True)
    return (slope * inverse * inner).to(z.dtype)


@kernel
def _norm_weights(z: Tensor, centre: Tensor, inverse: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    normal = (z * torch.sigmoid(z * (_A + _B * z * z)) - centre) * inverse
    return (g * normal).sum(1, keepdim=True), g.to(normal.dtype).sum(1, keepdim=True)


class _GeluNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, scale, shift):
        y, centre, inverse = _norm(z, scale, shift)
        ctx.save_for_backward(z, scale, centre, inverse)
        return y

    @staticmethod
    def backward(ctx, g):
        z, scale, centre, inverse = ctx.saved_tensors
        weights = (None, None)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            weights = _norm_weights(z, centre, inverse, g)
        return _norm_pull(z, scale, centre, inverse, g), *weights


class _GeluNormInOnePass(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, bias, scale, shift):
        for name, weight in (("bias", bias), ("scale", scale), ("shift", shift)):
            _expect(name, weight, torch.Size((z.shape[0], 1, z.shape[2])), torch.float32)
        y = torch.empty_like(z)
        centre, inverse = scale.new_empty(2, *z.shape[:2])
        native.call("norm", z, bias, scale, shift, y, centre, inverse, *z.shape)
        ctx.save_for_backward(z, scale, centre, inverse)
        return y

    @staticmethod
    def backward(ctx, g):
        z, scale, centre, inverse = ctx.saved_tensors
        g = g.contiguous()
        _expect("gradient", g, z.shape, z.dtype)
        pulled = torch.empty_like(z)
        weights = scale.new_empty(3, *scale.shape) if any(ctx.needs_input_grad[1:]) else None
        native.call("norm_pull", z, scale, centre, inverse, g, pulled, weights, *z.shape)
        return pulled, *((None,) * 3 if weights is None else weights)
