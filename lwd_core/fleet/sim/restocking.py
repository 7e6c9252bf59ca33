"""Restocking: four items on a table, three shelves behind them, and an order in words.

Meta-World's arm, table and materials, with goods and shelves of our own. What is to be done stands in
the instruction alone and what stands where in the picture alone: the state is proprioception.
"""

import copy
from functools import cache
from importlib import import_module, resources
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_core.fleet.robot import Action, State
from lwd_core.fleet.sim.metaworld import CONTROL_HZ, IMAGE_SIZE, jpeg
from lwd_core.fleet.sim.orders import (
    COLOURS,
    ITEMS,
    PLACES,
    SHAPES,
    SHELF_HALF,
    SHELF_TOP,
    SHELVES,
    Order,
    drawn,
)
from lwd_core.fleet.sim.proprioception import CAMERA
from lwd_core.fleet.sim.rendering import Rendering  # before mujoco, which then looks for no screen
from lwd_core.fleet.sim.stocker import Tabletop, stock
from lwd_core.fleet.task import Task

mujoco: Any = import_module("mujoco")  # a binary module without stubs

_TICKS = 5  # of the simulation, for one of control
_STRIDE = 0.01  # metres the hand moves in a tick at full speed
_LOW, _HIGH = (-0.4, 0.42, 0.05), (0.4, 0.9, 0.35)
_START = (0.0, 0.6, 0.2)
_DOWN = (1.0, 0.0, 1.0, 0.0)
_CLAWS_APART = 0.1
# Before the shelves, looking down on the whole table.
_CAMERA = "front"
_LOOKS = 'pos="0 1.5 .82" xyaxes="-1 0 0 0 -.68 .733" fovy="27"'
# Red and cyan are Meta-World's for arm and fingers; here colours mean goods.
_RED, _CYAN, _GREY, _WHITE = (0.5, 0.1, 0.1, 1.0), (0, 1, 1, 1), (0.35, 0.36, 0.4, 1.0), (1, 1, 1, 1)
_SETTLING = 60  # ticks until the hand is there
_CLEAR = 0.11  # metres the hand is above an item it has let go

CAN_RADIUS, CAN_HALF, BOX_HALF, BALL_RADIUS = 0.022, 0.033, 0.022, 0.024
_SIZES = {"can": f"{CAN_RADIUS} {CAN_HALF}", "box": f"{BOX_HALF} " * 3, "ball": f"{BALL_RADIUS}"}
_TYPES = {"can": "cylinder", "box": "box", "ball": "sphere"}

_WORLD = """
<mujoco>
  <compiler meshdir="{assets}/sawyer_xyz" texturedir="{assets}/sawyer_xyz"/>
  <include file="{assets}/scene/basic_scene.xml"/>
  <include file="{assets}/objects/assets/xyz_base_dependencies.xml"/>
  <worldbody>
    <include file="{assets}/objects/assets/xyz_base.xml"/>
    <camera name="{camera}" {looks}/>
    {bodies}
  </worldbody>
  <actuator>
    <position ctrllimited="true" ctrlrange="-1 1" joint="r_close" kp="400"/>
    <position ctrllimited="true" ctrlrange="-1 1" joint="l_close" kp="400"/>
  </actuator>
  <equality><weld body1="mocap" body2="hand" solref="0.02 1"/></equality>
</mujoco>
"""
_SHELF = """
<geom name="shelf-{name}" type="box" pos="{x} {y} {half}" size="{w} {d} {half}" rgba=".6 .58 .52 1"
      contype="0" conaffinity="1" solimp="0.99 0.99 0.01" solref="0.01 1"/>
"""
# An item carries every shape; the scene's is seen and felt. Damped, so that a ball comes to rest.
_ITEM = """
<body name="item-{i}">
  <joint type="free" damping=".003"/>
  <inertial pos="0 0 0" mass=".1" diaginertia="4e-5 4e-5 4e-5"/>
  {shapes}
</body>
"""
_GEOM = """
<geom name="{shape}-{i}" type="{type}" size="{size}" condim="6" friction="1 .05 .002" solimp="0.99 0.99 0.01"
      solref="0.01 1"/>
"""


class Stockroom:
    """The arm before shelves and goods; implements ``SimulatedRobot`` and ``Scene``. ``task.stages``: one a
    delivery.

    A delivery is done when its item stands on its shelf, let go, every earlier one still where it belongs
    and no other item on any shelf.
    """

    control_hz = CONTROL_HZ

    def __init__(self, task: Task, rendering: Rendering | None = None) -> None:
        self._deliveries = max(1, len(task.stages))
        self._rendering = rendering or Rendering()
        self.model, self._settled = copy.copy(_world()[0]), _world()[1]
        self.data = mujoco.MjData(self.model)
        self._geoms = [[self.model.geom(f"{shape}-{i}").id for shape in SHAPES] for i in range(ITEMS)]
        self._bodies = [self.model.body(f"item-{i}").id for i in range(ITEMS)]
        self._hand = self.model.body("hand").id
        self._claws = [self.model.body(f"{side}claw").id for side in ("right", "left")]
        self._order = drawn(0, self._deliveries)
        self._before = np.zeros(4)
        self._at = 0

    @property
    def order(self) -> Order:
        """What the scene is asked for."""
        return self._order

    def reset(self, seed: int) -> State:
        """The scene of a seed; returns the state (8,): hand and gripper, now and a tick before."""
        self._order, self._at = drawn(seed, self._deliveries), 0
        for geoms, item in zip(self._geoms, self._order.items, strict=True):
            for geom, shape in zip(geoms, SHAPES, strict=True):
                there = shape == item.shape
                self.model.geom_contype[geom] = self.model.geom_conaffinity[geom] = there
                self.model.geom_rgba[geom] = (*COLOURS[item.colour], float(there))
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self._settled
        for body, item, spot in zip(self._bodies, self._order.items, self._order.spots, strict=True):
            at = self.model.jnt_qposadr[self.model.body_jntadr[body]]
            self.data.qpos[at : at + 7] = (*spot, _half_height(item.shape, 1.0), 1, 0, 0, 0)
        self.data.mocap_pos[0], self.data.mocap_quat[0] = _START, _DOWN
        mujoco.mj_forward(self.model, self.data)
        self._before = self._proprioception()
        return np.concatenate([self._before, self._before])

    def step(self, action: Action) -> tuple[State, bool]:
        """One control tick of 12.5 ms; done with the last delivery."""
        _move(self.model, self.data, action)
        mujoco.mj_forward(self.model, self.data)
        now = self._proprioception()
        state, self._before = np.concatenate([now, self._before]), now
        if self._done():
            self._at += 1
        return state, self._at == self._deliveries

    def person(self) -> "Stocker":
        """Somebody who sees the table and knows the order."""
        return Stocker(self)

    def photograph(self, size: int = 0) -> dict[str, bytes]:
        """The table from the front, a JPEG of ``size``², 128² by itself. Raises UserError where nothing can
        render."""
        seen = self._rendering.picture("restocking", self.model, self.data, _CAMERA, size or IMAGE_SIZE)
        return {CAMERA: jpeg(seen)}

    def sight(self) -> Tabletop:
        """What a person sees of the scene."""
        at = min(self._at, self._deliveries - 1)
        centres = self.data.xpos[self._bodies]
        turned = self.data.xmat[self._bodies]
        bases = np.array(
            [
                z - _half_height(item.shape, *m[[8, 6, 7]])
                for z, m, item in zip(centres[:, 2], turned, self._order.items, strict=True)
            ]
        )
        return Tabletop(
            hand=self._before[:3],
            opening=float(self._before[3]),
            centres=centres,
            bases=bases,
            item=self._order.deliveries[at].item,
            place=self._order.deliveries[at].place,
            settled={d.item: d.place for d in self._order.deliveries[:at]},
            spots=self._order.spots,
        )

    def _done(self) -> bool:
        sight = self.sight()
        belongs = {**sight.settled, sight.item: sight.place}
        return (
            all(sight.shelf_of(item) == belongs.get(item) for item in range(ITEMS))
            and sight.hand[2] - sight.centres[sight.item][2] > _CLEAR
        )

    def _proprioception(self) -> npt.NDArray[np.float64]:
        apart = np.linalg.norm(self.data.xpos[self._claws[0]] - self.data.xpos[self._claws[1]])
        return np.array([*self.data.xpos[self._hand], min(apart / _CLAWS_APART, 1.0)])


class Stocker:
    """Implements ``Person``."""

    def __init__(self, room: Stockroom) -> None:
        self._room = room

    def take_over(self, state: State) -> None:
        """Nothing to prepare: what is done follows from what is seen."""

    def drive(self, state: State) -> Action:
        """The action of this tick."""
        return stock(self._room.sight())


def _move(model: Any, data: Any, action: Action) -> None:
    """One control tick."""
    data.mocap_pos[0] = np.clip(data.mocap_pos[0] + np.clip(action[:3], -1, 1) * _STRIDE, _LOW, _HIGH)
    data.ctrl[:] = (action[3], -action[3])
    mujoco.mj_step(model, data, nstep=_TICKS)


@cache
def _world() -> tuple[Any, npt.NDArray[np.float64]]:
    """The compiled model, and its joints (nq,) with the hand at its start, open."""
    shelves = (
        _SHELF.format(name=name, x=x, y=y, w=SHELF_HALF[0], d=SHELF_HALF[1], half=SHELF_TOP / 2)
        for name, (x, y) in zip(PLACES, SHELVES, strict=True)
    )
    items = (
        _ITEM.format(
            i=i, shapes="".join(_GEOM.format(i=i, shape=s, type=_TYPES[s], size=_SIZES[s]) for s in SHAPES)
        )
        for i in range(ITEMS)
    )
    assets = resources.files("metaworld") / "assets"
    xml = _WORLD.format(assets=assets, camera=_CAMERA, looks=_LOOKS, bodies="".join([*shelves, *items]))
    model = mujoco.MjModel.from_xml_string(xml)
    # how the hand hangs on what moves it, as Meta-World sets it
    model.eq_data[0] = (0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5)
    for colour, instead in ((_RED, _GREY), (_CYAN, _WHITE)):
        model.geom_rgba[np.isclose(model.geom_rgba, colour).all(axis=1)] = instead
    model.site_rgba[:, 3] = 0
    data = mujoco.MjData(model)
    data.mocap_pos[0], data.mocap_quat[0] = _START, _DOWN
    for _ in range(_SETTLING):
        _move(model, data, np.array([0.0, 0.0, 0.0, -1.0]))
    return model, data.qpos.copy()


def _half_height(shape: str, zz: float, zx: float = 0.0, zy: float = 0.0) -> float:
    """Of an item whose rotation has that last row."""
    if shape == "can":
        return CAN_HALF * abs(zz) + CAN_RADIUS * float(np.sqrt(max(0.0, 1 - zz * zz)))
    return BALL_RADIUS if shape == "ball" else BOX_HALF * (abs(zz) + abs(zx) + abs(zy))
