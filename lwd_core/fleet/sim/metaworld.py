"""Simulated robots: Meta-World's Sawyer arm, its scenes, its scripted experts, its camera.

The experts are closed-loop functions of the observation, so they can take over anywhere: they
stand in for the person who demonstrates and who intervenes.
"""
# mujoco is a binary module without stubs
# pyright: reportAttributeAccessIssue=false

import copy
import ctypes.util
import os
import warnings
from functools import cache

import numpy as np
import simplejpeg

from lwd_core.errors import UserError
from lwd_core.fleet.robot import Action, State
from lwd_core.fleet.sim.quaternion import quaternion
from lwd_core.fleet.task import Task

# Rendering without a screen; mujoco looks at the variable when it is imported.
HAS_EGL = ctypes.util.find_library("EGL") is not None
if HAS_EGL:
    os.environ.setdefault("MUJOCO_GL", "egl")

import metaworld.policies as experts  # noqa: E402
import mujoco  # noqa: E402
from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # noqa: E402
from metaworld.sawyer_xyz_env import SawyerXYZEnv  # noqa: E402

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
    """One simulated Sawyer in the scene of one task; implements ``Robot`` and ``Scene``.

    The same seed gives the same episode to the bit, in a new arm as in a used one.
    """

    control_hz = CONTROL_HZ

    def __init__(self, task: Task, studio: "Studio | None" = None) -> None:
        self.task = task
        self._env = _build(task.scene)
        self._env.max_path_length = task.limit
        self._expert = expert(task.scene)
        self._studio = studio or Studio()

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

    def photograph(self) -> dict[str, bytes]:
        """The scene from the corner, 128² JPEG. Raises UserError where nothing can render."""
        return {CAMERA: self._studio.photograph(self.task.scene, self._env)}


class Studio:
    """Renders scenes; one renderer serves all arms before the same scene (0.4 s to make, 8 ms a picture)."""

    def __init__(self) -> None:
        self._renderers: dict[str, mujoco.Renderer] = {}

    def photograph(self, scene: str, env: SawyerXYZEnv) -> bytes:
        """A JPEG of the scene as it is now."""
        if scene not in self._renderers:
            self._renderers[scene] = _renderer(env.model)
        renderer = self._renderers[scene]
        renderer.update_scene(env.data, camera=CAMERA)
        for flag in (
            mujoco.mjtRndFlag.mjRND_SHADOW,
            mujoco.mjtRndFlag.mjRND_REFLECTION,
            mujoco.mjtRndFlag.mjRND_SKYBOX,
        ):
            renderer.scene.flags[flag] = 0
        upright = np.ascontiguousarray(renderer.render()[::-1, ::-1])  # the camera hangs upside down
        return simplejpeg.encode_jpeg(upright, quality=85)

    def close(self) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


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


def _renderer(model: mujoco.MjModel) -> mujoco.Renderer:
    if not HAS_EGL:
        raise UserError(
            "cameras: no EGL library here; install libegl1 libegl-mesa0 libgl1-mesa-dri or run without"
        )
    model.vis.quality.offsamples = 0  # no anti-aliasing: ten times the frames
    return mujoco.Renderer(model, IMAGE_SIZE, IMAGE_SIZE)
