import torch
from torch.nn import functional as F

from lwd_core.rl.compute.gelu import gelu, gelu_and_slope


def test_value_and_derivative_are_torchs():
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64, requires_grad=True)
    expected = F.gelu(z, approximate="tanh")
    (slope,) = torch.autograd.grad(expected.sum(), z)
    (ours,) = torch.autograd.grad(gelu(z).sum(), z)
    torch.testing.assert_close(ours, slope, atol=1e-12, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(gelu(z), expected.detach(), atol=1e-12, rtol=0)
        value, derivative = gelu_and_slope(z)
    torch.testing.assert_close(value, expected.detach(), atol=1e-12, rtol=0)
    torch.testing.assert_close(derivative, slope, atol=1e-12, rtol=0)
