"""Somebody who restocks shelves: what they see of the table, and what they do about it.

A function of what is seen now, with no memory, so that whoever drives can be taken over at any moment: a
wrong item in hand is set down, one on a shelf where it doesn't belong is taken away first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lwd_core.fleet.robot import Action
from lwd_core.fleet.sim.orders import ITEMS, SHELF_HALF, SHELF_TOP, SHELVES

_OPEN, _CLOSE = -1.0, 1.0
_GAIN = 12.0  # of a metre's error

# Metres; heights of the hand are above what it is about to hold, heights of an item above what it stands on.
_GRIP, _HOVER, _CARRY = 0.05, 0.13, 0.2
_OVER = 0.012  # of what is below, to go down there
_RESTS = 0.008
_FINGERS = np.array([0.017, 0.035])  # how far an item is from the hand's middle, at most, when between them
_APART = 0.09  # of items, so that the fingers fit around each

_WIDE, _CLOSED = 0.93, 0.78  # the gripper's opening: fully open, and closed on the widest that it holds


@dataclass(frozen=True)
class Tabletop:
    """What a person sees. Metres; ``opening`` of the gripper in [0, 1].

    ``centres`` (ITEMS, 3) and ``bases`` (ITEMS,), the height of each one's lowest point; ``item`` is to go to
    the shelf ``place`` now, ``settled`` has what was delivered before; ``spots`` (ITEMS, 2) are where items
    stood at first.
    """

    hand: npt.NDArray[np.float64]
    opening: float
    centres: npt.NDArray[np.float64]
    bases: npt.NDArray[np.float64]
    item: int
    place: int
    settled: Mapping[int, int]
    spots: npt.NDArray[np.float64]

    def shelf_of(self, item: int) -> int | None:
        """The shelf an item stands on, None for none."""
        if abs(self.bases[item] - SHELF_TOP) > _RESTS:
            return None
        inside = np.all(np.abs(self.centres[item, :2] - SHELVES) <= SHELF_HALF, axis=1)
        return int(inside.argmax()) if inside.any() else None

    def between_fingers(self, item: int) -> bool:
        """Whether the fingers are around it."""
        aside = np.abs(self.centres[item, :2] - self.hand[:2])
        return bool(np.all(aside <= _FINGERS) and abs(self.hand[2] - self.bases[item] - _GRIP) < 0.025)


def stock(sight: Tabletop) -> Action:
    """The next action, (4,) in [-1, 1]."""
    belongs = {**sight.settled, sight.item: sight.place}
    on_shelf = {item: sight.shelf_of(item) for item in range(ITEMS)}
    astray = [i for i in range(ITEMS) if on_shelf[i] is not None and on_shelf[i] != belongs.get(i)]
    lost = [i for i in sight.settled if on_shelf[i] is None]
    held = next((i for i in range(ITEMS) if sight.between_fingers(i) and sight.opening < _CLOSED), None)
    if held is not None and held not in belongs:
        return _carry(sight, held, None)
    if held is not None:
        return _carry(sight, held, belongs[held])
    if astray:
        return _carry(sight, astray[0], belongs.get(astray[0]))
    item = lost[0] if lost else sight.item
    return _carry(sight, item, belongs[item])


def _carry(sight: Tabletop, item: int, place: int | None) -> Action:
    """Bring an item to a shelf, or back to a free spot of the table."""
    hand, at, base = sight.hand, sight.centres[item], sight.bases[item]
    aim = _free_spot(sight, item) if place is None else SHELVES[place]
    surface = 0.0 if place is None else SHELF_TOP
    there = np.abs(at[:2] - aim).max() < 0.03 if place is None else sight.shelf_of(item) == place
    if there and base - surface < _RESTS:
        # Let go, then rise.
        rise = 0.1 if sight.opening > _WIDE else 0.0
        return _towards(hand, np.array([*hand[:2], hand[2] + rise]), _OPEN)
    if not sight.between_fingers(item):
        return _reach(sight, at, base)
    if sight.opening > _CLOSED:
        return _towards(hand, np.array([*at[:2], base + _GRIP]), _CLOSE)
    if np.abs(at[:2] - aim).max() < _OVER:
        return _towards(hand, np.array([*(hand[:2] + aim - at[:2]), surface + _GRIP]), _CLOSE)
    if hand[2] < _CARRY - 0.03:
        return _towards(hand, np.array([*hand[:2], _CARRY + 0.03]), _CLOSE)
    return _towards(hand, np.array([*(hand[:2] + aim - at[:2]), _CARRY]), _CLOSE)


def _reach(sight: Tabletop, at: npt.NDArray[np.float64], base: float) -> Action:
    """Bring open fingers around what lies there, from above."""
    hand = sight.hand
    above = base + _HOVER
    if np.abs(at[:2] - hand[:2]).max() < _OVER:
        ready = sight.opening > _WIDE or hand[2] < base + _GRIP + 0.02
        return _towards(hand, np.array([*at[:2], base + _GRIP if ready else above]), _OPEN)
    if hand[2] < above - 0.03:
        # Not sideways while low: that would sweep the table.
        return _towards(hand, np.array([*hand[:2], above]), _OPEN)
    return _towards(hand, np.array([*at[:2], above]), _OPEN)


def _free_spot(sight: Tabletop, item: int) -> npt.NDArray[np.float64]:
    """Where an item can be set down: its own spot if that is free, else another's."""
    others = np.delete(sight.centres[:, :2], item, axis=0)
    for spot in (sight.spots[item], *sight.spots):
        if np.linalg.norm(others - spot, axis=1).min() > _APART:
            return spot
    return sight.spots[item]


def _towards(hand: npt.NDArray[np.float64], to: npt.NDArray[np.float64], grip: float) -> Action:
    return np.clip(np.array([*((to - hand) * _GAIN), grip]), -1.0, 1.0)
