"""Somebody who does both tasks, from whatever state the robot is in.

What is done next follows from what is seen, so the same person demonstrates from the start and takes over
in the middle. Hands are led along straight lines at an even pace, and inverse kinematics makes joints of it.
"""

from dataclasses import dataclass

import numpy as np

from lwd_aloha.hands import ARMS, Hand, Reaching, Vector, opening, rotation, towards, turn
from lwd_aloha.table import Table

_STRIDE, _TURN = 0.007, 0.05  # metres and radians a tick that a hand is led
_SWING = 0.08  # radians a tick that a joint is sent
_DOWN = np.deg2rad(60)  # how steeply a hand reaches for what lies on the table
_WIDE = 0.068  # metres between the fingers
_CUBE, _PEG, _SOCKET = 0.04, 0.02, 0.044
_HOVER, _LIFTED = 0.08, 0.1  # metres above what is fetched, and above the table
_MEET = np.array([0.0, 0.5, 0.25])
_UP = np.array([0.0, 0.0, 1.0])
_NEAR = 0.01
_LOWEST = 0.02  # metres above the table, where shutting fingers don't rub on it
_APART, _IN = 0.15, 0.09  # metres from the socket's middle to the peg's: before it, and at the pin


@dataclass(frozen=True)
class Want:
    """Where a hand shall be, how turned, and how far open, metres."""

    at: Vector
    turned: Vector
    gap: float


def pointing(x: float, down: float, roll: float = 0.0) -> Vector:
    """A hand (3, 3) that points along the table, ``x`` 1 or -1, and down by an angle, its fingers turned by
    ``roll`` from opening sideways; radians."""
    ahead = np.array([x * np.cos(down), 0, -np.sin(down)])
    side = np.array([0.0, x, 0])
    fingers = np.cos(roll) * side + np.sin(roll) * np.cross(ahead, side)
    return np.stack([ahead, fingers, np.cross(ahead, fingers)], axis=1)


_FETCHING = {"left": pointing(1, _DOWN), "right": pointing(-1, _DOWN)}
#: Level, fingers above and below what the other hand holds from its sides.
_TAKING = pointing(1, 0.0, np.pi / 2)


class Driver:
    """Implements ``Person``."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._reaching = Reaching(table.model)
        self._led: list[tuple[Vector, Vector]] = []
        self._sent: Vector | None = None

    def take_over(self, state: Vector) -> None:
        """Begin from where the hands are."""
        self._led, self._sent = [], None

    def drive(self, state: Vector) -> Vector:
        """The action (14,) of this tick."""
        table = self._table
        hands = table.hands()
        plan = insert if table.task.scene == "insertion" else transfer
        wants = plan(hands["left"], hands["right"], *state[14:].reshape(2, 7))
        led = self._led or [(hands[arm].at, hands[arm].turned) for arm in ARMS]
        self._led = [_lead(*have, want) for have, want in zip(led, wants, strict=True)]
        sent = state[:14].reshape(2, 7) if self._sent is None else self._sent
        action = np.empty((2, 7))
        for arm, (at, turned) in enumerate(self._led):
            joints = self._reaching.joints(table.data.qpos, arm, at, turned)
            action[arm, :6] = sent[arm, :6] + np.clip(joints - sent[arm, :6], -_SWING, _SWING)
            action[arm, 6] = np.clip(opening(wants[arm].gap), 0, 1)
        self._sent = action
        return action.ravel()


def transfer(left: Hand, right: Hand, cube: Vector, _: Vector) -> tuple[Want, Want]:
    """The right hand fetches the cube and brings it to the middle, the left one takes it there."""
    at, waits = cube[:3], Want(_MEET - (0.12, 0, 0), _TAKING, _WIDE)
    facing = _FETCHING["right"]
    if _holds(left, at, _CUBE):
        clear = right.gap > _CUBE + 0.012
        return Want(left.at, _TAKING, 0), Want(right.at - 0.05 * clear * right.turned[:, 0], facing, _WIDE)
    if not _holds(right, at, _CUBE):
        return waits, _fetch(right, cube, "right", np.pi / 2)
    carried = _carry(right, at, _MEET, facing)
    if np.linalg.norm(at - _MEET) > 0.015:
        return waits, carried
    there = at - (0.008, 0, 0)  # not quite as deep as the other hand
    return Want(there, _TAKING, 0 if np.linalg.norm(left.at - there) < _NEAR else _WIDE), carried


def insert(left: Hand, right: Hand, peg: Vector, socket: Vector) -> tuple[Want, Want]:
    """Each hand fetches one, they meet in the middle, and the peg goes in."""
    has_socket, has_peg = _holds(left, socket[:3], _SOCKET), _holds(right, peg[:3], _PEG)
    goal = _MEET - (0.05, 0, 0)
    ours = (
        _carry(left, socket[:3], goal, _FETCHING["left"])
        if has_socket
        else _fetch(left, socket, "left", np.pi)
    )
    if not has_peg:
        return ours, _fetch(right, peg, "right", np.pi)
    # The hole is where the socket is, once it is about where it shall be.
    ready = has_socket and np.linalg.norm(socket[:3] - goal) < 0.02
    hole = socket[:3] if ready else goal
    off = peg[:3] - hole
    # Once it is before the hole it goes in, the walls guiding it, unless it has strayed.
    slack = 0.004 if off[0] > _APART - 0.01 else 0.008
    aligned = ready and np.abs(off[1:]).max() < slack and off[0] < _APART + 0.01
    to = hole + np.array([max(_IN, off[0] - 0.012) if aligned else _APART, 0, 0])
    return ours, _carry(right, peg[:3], to, _FETCHING["right"])


def _lead(at: Vector, turned: Vector, want: Want) -> tuple[Vector, Vector]:
    """Where a hand is led next."""
    way = want.at - at
    part = min(1.0, _STRIDE / max(float(np.linalg.norm(way)), 1e-9))
    return at + part * way, towards(turned, want.turned, _TURN)


def _fetch(hand: Hand, thing: Vector, arm: str, alike: float) -> Want:
    """Open above a thing (7,), down, shut; it looks the same turned by ``alike`` radians."""
    at = thing[:3] + max(0.0, _LOWEST - thing[2]) * _UP
    facing = turn(_UP, _yaw(thing[3:], alike)) @ _FETCHING[arm]
    off = hand.seen_from(at)
    if np.linalg.norm(off) < _NEAR:
        return Want(at, facing, 0)
    ready = hand.gap > 0.055 and np.linalg.norm(rotation(hand.turned, facing)) < 0.15
    if ready and np.linalg.norm((hand.at - at)[:2]) < 0.012:
        return Want(at, facing, _WIDE)
    above = at + _HOVER * _UP
    if hand.at[2] < at[2] + _HOVER / 2:  # not sideways while low: that would sweep the table
        return Want(np.array([*hand.at[:2], above[2]]), facing, _WIDE)
    return Want(above, facing, _WIDE)


def _carry(hand: Hand, at: Vector, to: Vector, facing: Vector) -> Want:
    """Bring what a hand holds at ``at`` to a place: up first, then there."""
    if at[2] < _LIFTED:
        to = np.array([*at[:2], _LIFTED + 0.03])
    return Want(hand.at + to - at, facing, 0)


def _holds(hand: Hand, at: Vector, width: float) -> bool:
    """Whether a thing this wide is between the fingers and they are shut on it."""
    x, y, z = np.abs(hand.seen_from(at))
    return bool(x < 0.025 and y < 0.012 and z < 0.025 and hand.gap < width + 0.002)


def _yaw(quaternion: Vector, alike: float) -> float:
    """How a thing is turned about the vertical, in ±``alike`` / 2 radians."""
    w, x, y, z = quaternion
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return float((yaw + alike / 2) % alike - alike / 2)
