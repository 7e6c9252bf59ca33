"""A picture to where each kind of goods stands: a heat map a kind, and the place of what each cell shows."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from goods_finder.kinds import KINDS, MIDDLE, NUMBERS, UNIT
from lwd_core import UserError

SIZE = 128  # pixels a side, of pictures it learns from
ROWS = slice(20, 108)  # of these pixels: above and below nothing can be picked up
CELL = 4  # pixels a side of what a heat map tells apart
TERMS = 9  # of a place's readout
_SHARPER = 2.0  # than it learns maps to be, so that what is a little like it elsewhere counts little
WEIGHTS = Path(__file__).with_name("finder.safetensors")


@dataclass(frozen=True)
class GoodsFinder:
    """What the door ``lwd.eyes`` finds under ``goods-finder``."""

    @property
    def width(self) -> int:
        """Numbers of a picture's features."""
        return len(KINDS) * NUMBERS

    def module(self) -> nn.Module:
        """Pictures (B, height, width, 3) u8 to features (B, ``width``), see `kinds`."""
        network = FinderNetwork()
        made_for(network, "finder")
        return network.eval().requires_grad_(False)


def made_for(network: nn.Module, part: str) -> None:
    """Fill a network with what `python -m goods_finder` made: of ``finder`` or ``words``. UserError where it
    made nothing, or of another version."""
    begins = f"{part}."
    try:
        tensors = load_file(WEIGHTS)
        own = {name.removeprefix(begins): t for name, t in tensors.items() if name.startswith(begins)}
        network.load_state_dict(own)
    except (OSError, SafetensorError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(
            f"{WEIGHTS}: no weights of the finder ({line}); make them with `python -m goods_finder`"
        ) from error


class FinderNetwork(nn.Module):
    """Pictures (B, height, width, 3) u8 to features (B, 4 · kinds)."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width // 2, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 2, dilation=2),
            nn.ReLU(),
        )
        self.heat = nn.Conv2d(width, len(KINDS), 1)
        self.place = nn.Conv2d(width + 4, 3, 1)
        # so that at first of what is nowhere in particular about a third is there
        cells = (ROWS.stop - ROWS.start) * SIZE // CELL**2
        self.threshold = nn.Parameter(torch.full((len(KINDS),), -math.log(2 * cells)))
        for layer in self.body[::2]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.readout = nn.Linear(TERMS, 3, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        logits, places = self.found(pictures)
        there = logits.sigmoid()
        seen = torch.cat([there[..., None], places * there.round()[..., None]], -1)
        return seen.flatten(1)

    def maps(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of cells (B, kinds, cells) that a kind is there, and roughly the places, in units
        (B, 3, cells), of what cells show."""
        z = pictures.permute(0, 3, 1, 2).float() / 128 - 1
        if z.shape[-2:] != (SIZE, SIZE):
            z = F.interpolate(z, (SIZE, SIZE), mode="bilinear", antialias=True)
        z = self.body(z[:, :, ROWS])
        rows, columns = z.shape[-2:]
        down = torch.linspace(-1, 1, rows)[:, None].expand(len(z), 1, rows, columns)
        along = torch.linspace(-1, 1, columns).expand(len(z), 1, rows, columns)
        # how far apart things look depends on how far away they are, and that on the row
        seen_from = torch.cat([along, down, along * down, down * down], 1)
        return self.heat(z).flatten(2), self.place(torch.cat([z, seen_from], 1)).flatten(2)

    def there(self, heat: Tensor) -> Tensor:
        """Log-odds (B, kinds) of heat maps."""
        return heat.logsumexp(-1) + self.threshold

    def found(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds that each kind is there (B, kinds), and where, in units (B, kinds, 3)."""
        heat, rough = self.maps(pictures)
        return self.there(heat), self.readout(self.seen(heat, rough))

    def seen(self, heat: Tensor, rough: Tensor) -> Tensor:
        """What `readout` takes of each kind (B, kinds, TERMS): where its map is warm, the height of what is
        there, and products of these."""
        rows, columns = (ROWS.stop - ROWS.start) // CELL, SIZE // CELL
        warm = (_SHARPER * heat).softmax(-1)
        column = warm @ torch.linspace(-1, 1, columns).repeat(rows)
        row = warm @ torch.linspace(-1, 1, rows).repeat_interleave(columns)
        height = (heat.softmax(-1) @ rough.mT)[..., 2]
        terms = [torch.ones_like(row), column, row, height]
        terms += [column * row, column * height, row * height, row * row, height * height]
        return torch.stack(terms, -1)


def in_units(places: Tensor) -> Tensor:
    """Metres (…, 3) to units."""
    return (places - torch.tensor(MIDDLE)) / UNIT
