"""Two arms at a table: the robot, its scene, its cameras."""

from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from lwd_aloha.engine import mujoco
from lwd_aloha.hands import ARMS, OPEN, SHUT, Hand, Vector, hands_of
from lwd_core.extend import Task

CONTROL_HZ = 50.0
_TICKS = 10  # of the simulation, 2 ms each
_ROOM = 1.0  # metres; what falls off the table falls for ever, and is seen no farther
_UNSTABLE = tuple(
    int(kind)
    for kind in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
)
#: A camera by its name here and by the model's.
CAMERAS = {"top": "top", "left": "left_wrist", "right": "right_wrist"}
_PICTURE = (480, 640)
#: Joints at the start, radians; fingers nearly shut.
_START = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0)
#: Objects of a scene: where each may lie, metres (low, high), and how high its centre then is.
_AREAS = {
    "transfer_cube": (((0.0, 0.4), (0.2, 0.6), 0.02),),
    "insertion": (((0.1, 0.4), (0.2, 0.6), 0.01), ((-0.2, 0.4), (-0.1, 0.6), 0.022)),
}


class Table:
    """Both arms before one task; implements ``Robot`` and ``Scene``. States (28,), actions (14,).

    A state is seven numbers an arm (six joints in radians, the gripper from 0, shut, to 1) and a pose
    (position, quaternion) of each of two objects, the second zeros where there is one. An action is where
    the joints shall be.
    """

    control_hz = CONTROL_HZ

    def __init__(self, task: Task, cameras: "Cameras") -> None:
        self.task, self._cameras = task, cameras
        self.model = model_of(task.scene)
        self.data = mujoco.MjData(self.model)
        self._low, self._high = self.model.actuator_ctrlrange.T

    def reset(self, seed: int) -> Vector:
        """The scene of a seed."""
        chance = np.random.default_rng(seed)
        mujoco.mj_resetData(self.model, self.data)
        still = np.array([*_START, 0.024, -0.024] * 2)
        self.data.qpos[:16] = self.data.ctrl[:] = still
        for i, (low, high, height) in enumerate(_AREAS[self.task.scene]):
            self.data.qpos[16 + 7 * i : 23 + 7 * i] = (*chance.uniform(low, high), height, 1, 0, 0, 0)
        mujoco.mj_forward(self.model, self.data)
        return self.state()

    def step(self, action: Vector) -> tuple[Vector, bool]:
        """One control tick of 20 ms; done when the task is."""
        asked = np.clip(action.reshape(2, 7), -np.pi, np.pi)
        fingers = SHUT + asked[:, 6:] * (OPEN - SHUT)
        wanted = np.hstack([asked[:, :6], fingers, -fingers]).ravel()
        self.data.ctrl[:] = np.clip(wanted, self._low, self._high)
        before = self.data.qpos.copy()
        mujoco.mj_step(self.model, self.data, nstep=_TICKS)
        if any(self.data.warning[kind].number for kind in _UNSTABLE):
            # Where arms jam the simulation can burst, and would begin anew: here everything stands still.
            mujoco.mj_resetData(self.model, self.data)
            self.data.qpos[:] = before
            mujoco.mj_forward(self.model, self.data)
        return self.state(), self.done()

    def state(self) -> Vector:
        """What the robot observes, (28,)."""
        arms = self.data.qpos[:16].reshape(2, 8)[:, :7].copy()
        arms[:, 6] = (arms[:, 6] - SHUT) / (OPEN - SHUT)
        objects = np.zeros(14)
        objects[: self.model.nq - 16] = np.clip(self.data.qpos[16:], -_ROOM, _ROOM)
        return np.concatenate([arms.ravel(), objects])

    def hands(self) -> dict[str, Hand]:
        """Where both hands are."""
        return hands_of(self.model, self.data)

    def done(self) -> bool:
        """Whether the cube is between the left fingers alone, or the peg has reached the socket's pin."""
        touching = self._touching()
        if self.task.scene == "insertion":
            return ("peg", "pin") in touching
        at_cube = {other for thing, other in touching if thing == "cube"}
        return at_cube == {"left finger 1", "left finger 2"}

    def photograph(self, size: int = 0) -> dict[str, bytes]:
        """From above and beside each hand, 640 by 480 or ``size``²."""
        return self._cameras.photograph(self, size)

    def _touching(self) -> set[tuple[str, str]]:
        names = _names(self.model)
        pairs = (sorted((names[a], names[b])) for a, b in self.data.contact.geom)
        return {(a, b) for a, b in pairs if a != b}


class Cameras:
    """What draws the pictures, once for all tables of one task and size."""

    def __init__(self) -> None:
        self._drawing: dict[tuple[str, int], Any] = {}

    def photograph(self, table: Table, size: int) -> dict[str, bytes]:
        """A JPEG of each camera."""
        key = (table.task.scene, size)
        if key not in self._drawing:
            self._drawing[key] = mujoco.Renderer(table.model, *((size, size) if size else _PICTURE))
        drawing = self._drawing[key]
        seen: dict[str, bytes] = {}
        for name, camera in CAMERAS.items():
            drawing.update_scene(table.data, camera)
            seen[name] = simplejpeg.encode_jpeg(drawing.render(), quality=85)
        return seen

    def close(self) -> None:
        """Free what they hold."""
        for drawing in self._drawing.values():
            drawing.close()
        self._drawing.clear()


@cache
def model_of(scene: str) -> Any:
    """gym-aloha's model of a scene; drawn without shadows and anti-aliasing, which cost most of a picture."""
    package = util.find_spec("gym_aloha")  # not imported: it would bring an environment we have no use for
    if package is None or package.origin is None:
        raise ImportError("gym_aloha is not installed; pip install gym-aloha")
    assets = Path(package.origin).parent / "assets"
    model = mujoco.MjModel.from_xml_path(str(assets / f"bimanual_viperx_{scene}.xml"))
    model.vis.quality.offsamples = model.vis.quality.shadowsize = 0
    return model


@cache
def _names(model: Any) -> list[str]:
    """What each geom is part of: a finger, an object, the table; empty for what nobody asks about."""
    said: list[str] = []
    for i in range(model.ngeom):
        name = model.geom(i).name
        kind = {"red_box": "cube", "red_peg": "peg", "table": "table", "pin": "pin"}.get(name, "")
        for arm in ARMS:
            for finger, side in enumerate(ARMS, 1):
                if name == f"vx300s_{arm}/10_{side}_gripper_finger":
                    kind = f"{arm} finger {finger}"
        said.append(kind)
    return said
