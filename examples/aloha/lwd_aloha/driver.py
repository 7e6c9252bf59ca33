"""Somebody who does both tasks, from whatever state the robot is in.

What is done next follows from what is seen, so the same person demonstrates from the start and takes over
in the middle.
"""

import numpy as np

from lwd_aloha.hands import Hand, Reaching, Vector, opening, rotation, towards
from lwd_aloha.table import Table

_LEFT, _RIGHT = 0, 1
_STRIDE, _TURN = 0.007, 0.05  # metres and radians a tick a hand is sent ahead of itself
_DOWN = np.deg2rad(60)  # how steeply a hand reaches for what lies on the table
_WIDE, _SHUT = 0.068, 0.0  # gaps
_CUBE = 0.04
_HOVER = 0.08
_MEET = np.array([0.0, 0.5, 0.25])


def pointing(x: float, down: float, roll: float = 0.0) -> Vector:
    """A hand (3, 3) that points along the table, ``x`` 1 or -1, and down by an angle, its fingers
    turned by ``roll`` from opening sideways."""
    ahead = np.array([x * np.cos(down), 0, -np.sin(down)])
    side = np.array([0.0, x, 0])
    normal = np.cross(ahead, side)
    open_ = np.cos(roll) * side + np.sin(roll) * normal
    return np.stack([ahead, open_, np.cross(ahead, open_)], axis=1)


_PICKS = (pointing(1, _DOWN), pointing(-1, _DOWN))
_TAKES = pointing(1, 0.0, np.pi / 2)


class Driver:
    """Implements ``Person``."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._reaching = Reaching(table.model)
        self._sent: list[tuple[Vector, Vector]] = []

    def take_over(self, state: Vector) -> None:
        """Begin from where the hands are."""
        self._sent = []

    def drive(self, state: Vector) -> Vector:
        """The action (14,) of this tick."""
        hands = self._table.hands()
        both = [hands["left"], hands["right"]]
        sent = self._sent or [(hand.at, hand.turned) for hand in both]
        wanted = transfer(both[0], both[1], state[14:21])
        self._sent = [_next(*pair) for pair in zip(sent, wanted, strict=True)]
        action: list[float] = []
        for arm, (at, turned) in enumerate(self._sent):
            action += self._reaching.joints(self._table.data.qpos, arm, at, turned).tolist()
            action.append(float(np.clip(opening(wanted[arm][2]), 0, 1)))
        return np.array(action)


def _next(sent, wanted):
    (at, turned), (to, facing, _) = sent, wanted
    way = to - at
    return at + way * min(1.0, _STRIDE / max(np.linalg.norm(way), 1e-9)), towards(turned, facing, _TURN)


def transfer(left: Hand, right: Hand, cube: Vector):
    at = cube[:3]
    wait = _MEET + (-0.12, 0, 0)
    idle = (wait, _TAKES, _WIDE)
    mine, theirs = holds(right, at), holds(left, at)
    if theirs and left.gap < _CUBE + 0.002:
        if np.linalg.norm(right.seen_from(at)) > 0.1 or right.gap > _CUBE + 0.012:
            return (left.at, _TAKES, _SHUT), (right.at - 0.05 * right.turned[:, 0], _PICKS[1], _WIDE)
        return (left.at, _TAKES, _SHUT), (right.at, _PICKS[1], _WIDE)
    if mine:
        if np.linalg.norm(at - _MEET) < 0.015:
            goal = at - (0.008, 0, 0)
            if np.linalg.norm(left.seen_from(goal)) < 0.008:
                return (goal, _TAKES, _SHUT), (right.at + _MEET - at, _PICKS[1], _SHUT)
            return (goal, _TAKES, _WIDE), (right.at + _MEET - at, _PICKS[1], _SHUT)
        to = _MEET if at[2] > 0.1 else np.array([at[0], at[1], 0.15])
        return idle, (right.at + to - at, _PICKS[1], _SHUT)
    seen = right.seen_from(at)
    over = at + (0, 0, _HOVER)
    turned = np.linalg.norm(rotation(right.turned, _PICKS[1])) < 0.1
    if np.linalg.norm(seen) < 0.01:
        return idle, (at, _PICKS[1], _SHUT)
    if np.linalg.norm((right.at - over)[:2]) < 0.012 and turned and right.gap > 0.055:
        return idle, (at, _PICKS[1], _WIDE)
    if right.at[2] < at[2] + 0.05 and np.linalg.norm(seen) > 0.012 and not turned:
        return idle, (right.at + (0, 0, 0.08), _PICKS[1], _WIDE)
    return idle, (over, _PICKS[1], _WIDE)


def holds(hand: Hand, at: Vector) -> bool:
    x, y, z = np.abs(hand.seen_from(at))
    return x < 0.02 and y < 0.012 and z < 0.02 and hand.gap < _CUBE + 0.003
