"""An order's text to the goods it means, where these stand, and the shelf they go to.

What is said is read by a layer trained beforehand on many wordings (`python -m goods_finder`); what it means
is looked up in what the camera shows. So what moves the arm meets places alone, whatever the words were.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from goods_finder.kinds import KINDS, NUMBERS
from goods_finder.network import GoodsFinder, in_units, made_for
from lwd_core import UserError
from lwd_core.extend import Backbone, EncoderConfig, Observation
from lwd_core.fleet.sim.orders import PLACES, SHELF_TOP, SHELVES

_TOPS = np.full((len(PLACES), 1), SHELF_TOP)
_NEAR = 0.25  # units, within which every millimetre counts


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
        if config.vision and len(config.vision.cameras) > 1:
            raise UserError("network.vision.cameras: order-reader looks through one; name that one alone")
        return OrderEncoder(config)


class OrderEncoder(nn.Module):
    """(B, S + 16): the state; of the goods that are meant whether they are seen, where, and how far from the
    hand; how far the shelf is."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.words = OrderWords(config.instruction_dim)
        made_for(self.words, "words")
        self.words.requires_grad_(False)
        self.register_buffer(
            "shelves", in_units(torch.tensor(np.append(SHELVES, _TOPS, 1), dtype=torch.float))
        )
        # where the hand is, in units: what the state says of it is standardised, so it is learned
        self.hand = nn.Linear(config.state_dim, 3)
        nn.init.eye_(self.hand.weight)
        nn.init.zeros_(self.hand.bias)
        self.width = config.state_dim + NUMBERS + 4 * 3
        self.project = None

    def forward(self, observation: Observation) -> Tensor:
        if observation.image is None:
            raise ValueError("this network has a camera; give it features")
        seen = observation.image[:, 0].unflatten(-1, (len(KINDS), NUMBERS))
        kinds, shelves = self.words(observation.instruction)
        meant = seen[torch.arange(len(seen)), kinds.argmax(-1)]
        hand = self.hand(observation.state)
        to_goods, to_shelf = meant[:, 1:] - hand, self.shelves[shelves.argmax(-1)] - hand
        near = torch.tanh(torch.cat([to_goods, to_shelf], -1) / _NEAR)
        return torch.cat([observation.state, meant, to_goods, to_shelf, near], -1)
