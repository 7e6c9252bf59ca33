"""An order's text to the goods it means, where these stand, and the shelf they go to.

What is said is read by a layer trained beforehand on many wordings (`python -m goods_finder`); what it means
is looked up in what the camera shows. So what moves the arm meets places alone, whatever the words were.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from goods_finder.kinds import KINDS, NUMBERS
from goods_finder.network import GoodsFinder, weights
from lwd_core.errors import UserError
from lwd_core.extend import Backbone, EncoderConfig, Observation
from lwd_core.fleet.sim.orders import PLACES


class OrderWords(nn.Module):
    """Sentence embeddings (B, E) to log-odds of kinds (B, kinds) and of shelves (B, shelves)."""

    def __init__(self, width: int):
        super().__init__()
        self.read = nn.Linear(width, len(KINDS) + len(PLACES))

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        kinds, shelves = self.read(embedding).split((len(KINDS), len(PLACES)), -1)
        return kinds, shelves


@dataclass(frozen=True)
class OrderReader(Backbone):
    """What the door ``lwd.backbones`` finds under ``order-reader``."""

    def encoder(self, config: EncoderConfig) -> nn.Module:
        seen_by = config.vision and config.vision.pretrained
        if seen_by is None or not isinstance(seen_by.made, GoodsFinder):
            raise UserError("network.backbone: order-reader needs `vision` with `pretrained: goods-finder`")
        return OrderEncoder(config)


class OrderEncoder(nn.Module):
    """(B, S + 4 + shelves): the state, whether the goods that are meant are seen and where, and the shelf."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.words = OrderWords(config.instruction_dim)
        self.words.load_state_dict(weights("words"))
        self.words.requires_grad_(False)
        self.width = config.state_dim + NUMBERS + len(PLACES)
        self.project = None

    def forward(self, observation: Observation) -> Tensor:
        if observation.image is None:
            raise ValueError("this network has a camera; give it features")
        seen = observation.image[:, 0].unflatten(-1, (len(KINDS), NUMBERS))
        kinds, shelves = self.words(observation.instruction)
        meant = seen[torch.arange(len(seen)), kinds.argmax(-1)]
        shelf = F.one_hot(shelves.argmax(-1), len(PLACES))
        return torch.cat([observation.state, meant, shelf], -1)
