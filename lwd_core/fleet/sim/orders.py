"""What restocking is asked for: which items stand where, which go where, and how that is said.

Everything is drawn from a scene's seed, so that whoever knows the seed knows the order: the scene, the
robot's instruction, an evaluation. No simulator is needed for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_core import config_file
from storage_schemas.vocabulary import Words

_FILE = Path(__file__).with_name("restocking.yaml")

COLOURS = {
    "red": (0.85, 0.08, 0.08),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.10, 0.20, 0.90),
    "yellow": (0.95, 0.85, 0.10),
}
SHAPES = ("can", "box", "ball")
#: Shelves from left to right, as who stands before them (and the camera) sees them.
PLACES = ("left", "middle", "right")
ITEMS = 4

SHELVES = np.array([[0.165, 0.79], [0.0, 0.79], [-0.165, 0.79]])  # their middles, as `PLACES`, metres
SHELF_HALF = np.array([0.06, 0.06])
SHELF_TOP = 0.02

# Where items stand: one a column, so that the fingers fit around each. Metres, spread about the middle.
_COLUMNS = (-0.165, -0.055, 0.055, 0.165)
_MIDDLE_Y = 0.59
_SPREAD = (0.02, 0.05)


@dataclass(frozen=True)
class Goods:
    """One kind of goods; no two of a scene are alike."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Delivery:
    """An item, counted in the scene's items, and the shelf it goes to, counted in `PLACES`."""

    item: int
    place: int


@dataclass(frozen=True)
class Order:
    """A scene: items, their spots on the table, (ITEMS, 2) in metres, and what goes where, in sequence."""

    items: tuple[Goods, ...]
    spots: npt.NDArray[np.float64]
    deliveries: tuple[Delivery, ...]

    def say(self, choice: int, words: Words) -> str:
        """The order in words; ``choice`` picks among the wordings. ``wrong``: other items, other shelves."""
        deliveries = self.deliveries
        if words is Words.WRONG:
            further = 1 + choice % (ITEMS - 1)
            deliveries = (
                Delivery((d.item + further) % ITEMS, (d.place + 1) % len(PLACES)) for d in deliveries
            )
        wording = _wordings(words)[choice % len(_wordings(words))]
        return ", ".join(
            wording["then" if i else "first"].format(item=self.items[d.item], place=PLACES[d.place])
            for i, d in enumerate(deliveries)
        )


@cache
def written() -> Mapping[str, Any]:
    """What ``restocking.yaml`` says: tasks, and wordings of each kind."""
    return config_file.read(_FILE, "restocking's tasks and wordings")


@cache
def _wordings(words: Words) -> tuple[Mapping[str, str], ...]:
    """How the first delivery is said, and how each further one is."""
    if words in (Words.TRAIN, Words.UNSEEN):
        return tuple(written()[words])
    return tuple(written()[Words.TRAIN][:1])


@lru_cache(maxsize=256)
def drawn(seed: int, count: int) -> Order:
    """The order of a scene, of ``count`` deliveries to shelves that differ."""
    generator = np.random.default_rng([seed, count])
    kinds = [Goods(colour, shape) for colour in COLOURS for shape in SHAPES]
    chosen: list[int] = generator.permutation(len(kinds))[:ITEMS].tolist()
    items = tuple(kinds[i] for i in chosen)
    spots = np.column_stack((generator.permutation(_COLUMNS), np.full(ITEMS, _MIDDLE_Y)))
    spots += generator.uniform(-1, 1, spots.shape) * _SPREAD
    asked: list[int] = generator.permutation(ITEMS)[:count].tolist()
    places: list[int] = generator.permutation(len(PLACES))[:count].tolist()
    return Order(items, spots, tuple(map(Delivery, asked, places)))


def said(count: int, seed: int, words: Words) -> str:
    """What the robot is told in a scene of ``count`` deliveries."""
    return drawn(seed, count).say(seed, words)
