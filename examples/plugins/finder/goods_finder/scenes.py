"""Pictures of random scenes and what is true of them, without a demonstration.

To learn from, a scene is put together: the arm in any pose, goods anywhere, one perhaps in the hand; nothing
is simulated between two pictures. To be judged by, somebody carries goods about and now and then flails.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from goods_finder.kinds import KINDS
from goods_finder.network import SIZE
from lwd_core.extend import decode_frame
from lwd_core.fleet.sim.orders import ITEMS, PLACES, SHELF_HALF, SHELF_TOP, SHELVES
from lwd_core.fleet.sim.restocking import Stockroom
from lwd_core.fleet.sim.stocker import stock
from lwd_core.fleet.sim.tasks import tasks_by_sight

mujoco: Any = import_module("mujoco")  # a binary module without stubs

#: Scenes of robots and of evaluations are numbered below.
FIRST, FIRST_KEPT_OUT = 3_000_000_000, 4_000_000_000
_PICTURES, _TICKS = 8, 14  # of a driven scene, and between two of them
_POSES, _APART = 600, 4  # of the arm, and ticks between two of them
_HOLDS = (0.35, 0.6)  # the gripper's opening around an item
_GRIP = 0.05  # metres from what is held, its lowest point, to the hand


class Labelled(NamedTuple):
    """pictures (N, SIZE, SIZE, 3) u8; there (N, kinds) bool; places (N, kinds, 3) metres; pixels
    (N, kinds, 2), column and row as shares of the picture."""

    pictures: npt.NDArray[np.uint8]
    there: npt.NDArray[np.bool_]
    places: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.float32]


def composed(seeds: Sequence[int]) -> Labelled:
    """One picture of each scene."""
    room = Stockroom(tasks_by_sight()["restock"])
    poses = _poses(room)
    holding = [pose for pose in poses if _HOLDS[0] < pose.opening < _HOLDS[1]]
    return _together(_compose(room, poses, holding, seed) for seed in seeds)


def driven(seeds: Sequence[int]) -> Labelled:
    """Some pictures of each scene."""
    room = Stockroom(tasks_by_sight()["restock"])
    return _together(part for seed in seeds for part in _drive(room, seed))


def _together(parts: Iterator[Labelled]) -> Labelled:
    return Labelled(*(np.stack(column) for column in zip(*parts, strict=True)))


class _Pose(NamedTuple):
    """Joints of arm and goods (nq,), where the hand is (3,), and how far open."""

    joints: npt.NDArray[np.float64]
    hand: npt.NDArray[np.float64]
    opening: float


def _poses(room: Stockroom) -> list[_Pose]:
    """The hand on random ways about an empty table, opening and closing."""
    generator = np.random.default_rng(FIRST)
    room.reset(FIRST)
    room.model.geom_contype[_geoms(room)] = room.model.geom_conaffinity[_geoms(room)] = 0
    found: list[_Pose] = []
    grip, aim = -1.0, np.zeros(3)
    while len(found) < _POSES:
        hand = room.sight().hand
        if generator.random() < 0.2 or np.abs(aim - hand).max() < 0.03:
            aim = generator.uniform((-0.23, 0.5, 0.05), (0.23, 0.85, 0.28))
            grip = generator.choice((-1.0, 0.4, 1.0))
        for _ in range(_APART):
            room.step(np.array([*np.clip((aim - hand) * 12, -1, 1), grip]))
        sight = room.sight()
        found.append(_Pose(room.data.qpos.copy(), sight.hand.copy(), sight.opening))
    return found


def _geoms(room: Stockroom) -> list[int]:
    names = (mujoco.mj_id2name(room.model, mujoco.mjtObj.mjOBJ_GEOM, i) for i in range(room.model.ngeom))
    return [i for i, name in enumerate(names) if name and name.partition("-")[0] in ("can", "box", "ball")]


def _compose(room: Stockroom, poses: list[_Pose], holding: list[_Pose], seed: int) -> Labelled:
    generator = np.random.default_rng(seed)
    room.reset(seed)
    bodies = [room.model.body(f"item-{i}").id for i in range(ITEMS)]
    joints = room.model.jnt_qposadr[room.model.body_jntadr[bodies]]
    stands = room.data.qpos[joints + 2]  # heights of middles above what they stand on
    holds = generator.random() < 0.4
    pose = (holding if holds else poses)[generator.integers(len(holding if holds else poses))]
    shelves = generator.permutation(len(PLACES))
    room.data.qpos[:] = pose.joints
    for item, at in enumerate(joints):
        spot = np.array([*room.order.spots[item] + generator.uniform(-0.02, 0.02, 2), stands[item]])
        if item < len(PLACES) and generator.random() < 0.25:
            within = generator.uniform(-1, 1, 2) * SHELF_HALF * 0.7
            spot = np.array([*SHELVES[shelves[item]] + within, stands[item] + SHELF_TOP])
        if holds and item == ITEMS - 1:
            spot = pose.hand + np.append(generator.uniform(-0.012, 0.012, 2), stands[item] - _GRIP)
        turned = generator.uniform(-np.pi, np.pi) / 2 * (generator.random() < 0.3)
        room.data.qpos[at : at + 7] = (*spot, np.cos(turned), 0, 0, np.sin(turned))
    mujoco.mj_forward(room.model, room.data)
    return _look(room)


def _drive(room: Stockroom, seed: int) -> Iterator[Labelled]:
    generator = np.random.default_rng(seed)
    room.reset(seed)
    item, place = generator.integers(ITEMS), generator.integers(len(PLACES))
    for number in range(_PICTURES):
        yield _look(room)
        if generator.random() < 0.1 or number == 0:
            item, place = generator.integers(ITEMS), generator.integers(len(PLACES))
        flails = generator.random() < 0.25
        push = generator.uniform(-1, 1, 4)
        for _ in range(_TICKS):
            aimed = stock(replace(room.sight(), item=int(item), place=int(place)))
            room.step(np.clip(0.5 * aimed + push, -1, 1) if flails else aimed)


def _look(room: Stockroom) -> Labelled:
    picture = np.empty((SIZE, SIZE, 3), np.uint8)
    decode_frame(room.photograph(SIZE)["scene"], picture)
    there, places = np.zeros(len(KINDS), bool), np.zeros((len(KINDS), 3), np.float32)
    for goods, centre in zip(room.order.items, room.sight().centres, strict=True):
        kind = KINDS.index(goods)
        there[kind], places[kind] = True, centre
    return Labelled(picture, there, places, _pixels(room, places))


def _pixels(room: Stockroom, places: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Where the camera shows these places (n, 2)."""
    camera = room.model.camera("front").id
    seen = (places - room.data.cam_xpos[camera]) @ room.data.cam_xmat[camera].reshape(3, 3)
    scale = 0.5 / np.tan(np.deg2rad(room.model.cam_fovy[camera]) / 2)
    return (0.5 + scale * np.stack([seen[:, 0], -seen[:, 1]], 1) / -seen[:, 2:]).astype(np.float32)
