"""A step of the optimiser, whatever layout in memory a gradient has."""

import torch
from torch import nn

from lwd_core.rl.optim import OptimConfig, Optimiser
from lwd_core.rl.progress import Progress


def test_a_gradient_with_its_channels_last_steps_as_any_other() -> None:
    """Pictures are (B, h, w, 3), so a convolution's gradients have their channels last."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    twin = nn.Conv2d(3, 4, 3)
    twin.load_state_dict(layer.state_dict())
    pictures = torch.rand(2, 8, 8, 3)
    (gradient,) = torch.autograd.grad(layer(pictures.permute(0, 3, 1, 2)).square().sum(), layer.weight)
    assert gradient.stride() != layer.weight.stride()
    config = OptimConfig(1e-2, clip=0)
    Optimiser("layer", layer.parameters(), config).step(
        layer(pictures.permute(0, 3, 1, 2)).square().sum(), Progress(0, 2)
    )
    plain = torch.optim.AdamW(twin.parameters(), lr=1e-2, weight_decay=0)
    twin(pictures.permute(0, 3, 1, 2)).square().sum().backward()
    plain.step()
    torch.testing.assert_close(layer.weight, twin.weight)
    torch.testing.assert_close(layer.bias, twin.bias)
