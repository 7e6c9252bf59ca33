"""A picture backbone of a thousand random weights."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lwd_core.features.extractor import FeatureExtractor
from lwd_core.rl.chosen import choose
from lwd_core.rl.encoders import EYES


@dataclass(frozen=True)
class Tiny:
    seed: int = 0
    width: int = 12

    def module(self) -> nn.Module:
        generator = torch.Generator().manual_seed(self.seed)
        return Network(torch.randn(self.width, 3, 4, 4, generator=generator) / 7)


class Network(nn.Module):
    def __init__(self, kernel: Tensor):
        super().__init__()
        self.conv = nn.Conv2d(3, len(kernel), 4, stride=4, bias=False)
        self.conv.load_state_dict({"weight": kernel})

    def forward(self, pictures: Tensor) -> Tensor:
        return self.conv(pictures.permute(0, 3, 1, 2).float() / 255).relu().mean((2, 3))


def tiny(seed: int = 0, height: int = 24, width: int = 32) -> FeatureExtractor:
    backbone = choose(EYES, "tests.lwd_core.features.tiny:Tiny", seed=seed)
    return FeatureExtractor(backbone, height, width)
