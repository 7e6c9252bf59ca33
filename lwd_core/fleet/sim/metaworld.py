"""Simulated robots: Meta-World's Sawyer arm, its scenes, its scripted experts, its camera.

The experts are closed-loop functions of the observation, so they can take over anywhere: they
stand in for the person who demonstrates and who intervenes.
"""
# mujoco is a binary module without stubs
# pyright: reportAttributeAccessIssue=false

import copy
import warnings
from functools import cache

import numpy as np
import numpy.typing as npt
import simplejpeg

from lwd_core.fleet.robot import Action, State
from lwd_core.fleet.sim.quaternion import quaternion
from lwd_core.fleet.sim.rendering import Rendering  # before mujoco, which then looks for no screen
from lwd_core.fleet.task import Task

import metaworld.policies as experts  # isort: skip
import mujoco  # isort: skip
from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # isort: skip
from metaworld.sawyer_xyz_env import SawyerXYZEnv  # isort: skip

CONTROL_HZ = 80.0
CAMERA = "corner2"
IMAGE_SIZE = 128

# The experts ask for more than full speed on purpose; the action is clipped below.
warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high", category=UserWarning)

# Whose orientation the state holds, where the simulator would ask a slow library for it.
_OBJECT_FRAMES = {
    "push-v3": ("geom", "objGeom"),
    "pick-place-v3": ("geom", "objGeom"),
    "door-open-v3": ("geom", "handle"),
    "peg-insert-side-v3": ("site", "pegGrasp"),
}
_EXPERT_NAMES = {"peg-insert-side-v3": "SawyerPegInsertionSideV3Policy"}


class Arm:
    """One simulated Sawyer in the scene of one task; implements ``SimulatedRobot`` and ``Scene``.

    The same seed gives the same episode to the bit, in a new arm as in a used one.
    """

    control_hz = CONTROL_HZ

    def __init__(self, task: Task, rendering: Rendering | None = None) -> None:
        self.task = task
        self._env = _build(task.scene)
        self._env.max_path_length = task.limit
        self._expert = expert(task.scene)
        self._rendering = rendering or Rendering()

    def reset(self, seed: int) -> State:
        """Set up the scene of a seed; return the observation (39,)."""
        self._env.seed(seed)
        state, _ = self._env.reset()
        return state

    def step(self, action: Action) -> tuple[State, bool]:
        """One control tick of 12.5 ms."""
        state, _, _, _, info = self._env.step(action)
        return state, bool(info["success"])

    def person(self, state: State) -> Action:
        """The expert's action, clipped to [-1, 1]. Some experts write into what they are shown."""
        return np.clip(self._expert.get_action(state.copy()), -1.0, 1.0).astype(np.float64)

    @property
    def goal(self) -> State:
        """Where the object is to go, (3,) in metres."""
        return np.array(self._env._target_pos, dtype=np.float64)

    def aim(self, goal: State) -> None:
        """Move the goal, as the picture shows it; the state keeps what it showed when it was read."""
        self._env._target_pos = goal

    def photograph(self, size: int = 0) -> dict[str, bytes]:
        """The scene from the corner, a JPEG of ``size``², 128² by itself. Raises UserError where nothing
        can render."""
        return {CAMERA: self.picture(CAMERA, size)}

    def picture(self, corner: str, size: int = 0) -> bytes:
        """The same from a corner that is named."""
        env, size = self._env, size or IMAGE_SIZE
        seen = self._rendering.picture(self.task.scene, env.model, env.data, corner, size)
        return jpeg(seen[::-1, ::-1])  # cameras in corners hang upside down


def jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """A picture (h, w, 3), RGB, as cameras send it."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=85)


def _build(scene: str) -> SawyerXYZEnv:
    env = _scene_class(scene)()
    env.seeded_rand_vec = True
    env._freeze_rand_vec = False
    env._set_task_called = True
    env._partially_observable = False
    # cached while the goal was hidden: it would clip the goal to zero
    del env.sawyer_observation_space
    return env


@cache
def _scene_class(scene: str) -> type[SawyerXYZEnv]:
    """The scene's class without what costs time and tells us nothing.

    The model is compiled once: parsing meshes is nearly all of a build. Whether the gripper touches
    and cages the object goes only into the dense reward, which is not used here.
    """
    compiled: list[mujoco.MjModel] = []

    def initialize(env: SawyerXYZEnv) -> tuple[mujoco.MjModel, mujoco.MjData]:
        if not compiled:
            compiled.append(mujoco.MjModel.from_xml_path(env.fullpath))
        model = copy.copy(compiled[0])  # scenes move the model's own bodies
        return model, mujoco.MjData(model)

    base = ALL_V3_ENVIRONMENTS[scene]
    leaner: dict[str, object] = {
        "_initialize_simulation": initialize,
        "touching_main_object": False,
        "_gripper_caging_reward": lambda *_, **__: 0.0,
    }
    if scene in _OBJECT_FRAMES:
        kind, name = _OBJECT_FRAMES[scene]
        leaner["_get_quat_objects"] = lambda env: quaternion(getattr(env.data, kind)(name).xmat.tolist())
    return type(base.__name__, (base,), leaner)


def expert(scene: str) -> experts.policy.Policy:
    """The scripted expert of a scene."""
    stem = "".join(part.capitalize() for part in scene.removesuffix("-v3").split("-"))
    return getattr(experts, _EXPERT_NAMES.get(scene, f"Sawyer{stem}V3Policy"))()
