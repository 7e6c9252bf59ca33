"""An encoder of observations: the state through a small MLP, the instruction's embedding beside it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lwd_core.extend import Backbone, EncoderConfig, Observation


@dataclass(frozen=True)
class StateMLP(Backbone):
    """features: width the state is brought to."""

    features: int = 64

    def encoder(self, config: EncoderConfig) -> nn.Module:
        return Encoder(config, self.features)


class Encoder(nn.Module):
    """(B, features + instruction_features)."""

    def __init__(self, config: EncoderConfig, features: int):
        super().__init__()
        self.state = nn.Sequential(nn.Linear(config.state_dim, features), nn.GELU())
        self.project = nn.Linear(config.instruction_dim, config.instruction_features)
        self.width = features + config.instruction_features

    def forward(self, observation: Observation) -> Tensor:
        return torch.cat([self.state(observation.state), self.project(observation.instruction)], -1)
