"""Pictures of MuJoCo scenes without a screen: one GL context a thread, whatever was imported before.

MuJoCo chooses how to render by the variable MUJOCO_GL when it is first imported, and what it chose then may
have no screen to draw on. Contexts are made here instead, by EGL unless the variable says otherwise.
"""

import atexit
import ctypes.util
import os
import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from lwd_core.errors import UserError
from lwd_core.fleet.sim.meshes import coarsened

VARIABLE, PLATFORM = "MUJOCO_GL", "PYOPENGL_PLATFORM"
_OFF = ("disable", "disabled", "off", "false", "0")
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa", "glfw": "GL"}
_PACKAGES = {
    "egl": "libegl1 libegl-mesa0 libgl1-mesa-dri",
    "osmesa": "libosmesa6",
    "glfw": "libgl1 and a screen",
}
_OWN = threading.local()


def wanting() -> str | None:
    """Why nothing can be rendered here, with the remedy; None where it can."""
    asked = _asked()
    if asked in _OFF:
        return f"{VARIABLE}={asked}: rendering is switched off; unset it, or set it to egl"
    if asked not in _LIBRARIES:
        return f"{VARIABLE}={asked}: no such way to render; set it to {', '.join(_LIBRARIES)}"
    if ctypes.util.find_library(_LIBRARIES[asked]) is None:
        return f"no {_LIBRARIES[asked]} library here; install {_PACKAGES[asked]}"
    platform = os.environ.get(PLATFORM, asked).lower()
    if asked != "glfw" and platform != asked:
        return f"{PLATFORM}={platform}: OpenGL is told to use another way than {VARIABLE}; unset it"
    loaded = getattr(sys.modules.get("OpenGL.platform"), "PLATFORM", None)
    if asked != "glfw" and loaded is not None and asked not in type(loaded).__name__.lower():
        return f"OpenGL was imported before, for a screen; set {PLATFORM}={asked} before Python starts"
    return None


def _asked() -> str:
    asked = os.environ.get(VARIABLE, "").lower().strip()
    return "egl" if asked in ("", "enable", "enabled", "on", "true", "1") else asked


if VARIABLE not in os.environ and "mujoco" not in sys.modules and wanting() is None:
    os.environ[VARIABLE] = "egl"  # spares looking for a screen

try:
    mujoco: Any = import_module("mujoco")  # a binary module without stubs
except (ImportError, RuntimeError) as problem:  # which say little of what is wrong with the variables
    missing = wanting()
    if missing is None:
        raise
    raise UserError(f"simulator: {missing}") from problem

#: About half a pixel of a picture that shows the whole scene.
_PIXEL = 0.5
_HIDDEN = (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_SKYBOX)


def can_render() -> bool:
    """Whether pictures can be taken here."""
    return wanting() is None


@dataclass(frozen=True)
class _Canvas:
    """What one scene at one size is drawn into: GL's copy of meshes and textures, and the list of geoms."""

    gl: Any
    drawn: Any
    scene: Any


class Rendering:
    """Takes pictures; scenes that share their meshes share what was made for the first (0.4 s).

    No shadows, reflections, sky and anti-aliasing: without them a picture costs a tenth. Meshes are as coarse
    as the picture.
    """

    def __init__(self) -> None:
        self._canvases: dict[tuple[int, str, int], _Canvas] = {}

    def picture(self, name: str, model: Any, data: Any, camera: str, size: int) -> npt.NDArray[np.uint8]:
        """The scene ``name`` as ``data`` is now, (size, size, 3) u8 RGB, its first row on top.

        Models of one name differ in where things stand and in colours alone. Raises `UserError` where
        nothing renders.
        """
        context = _context()
        context.make_current()
        key = (threading.get_ident(), name, size)
        canvas = self._canvases.get(key)
        if canvas is None:
            canvas = self._canvases[key] = _canvas(context, model, size)
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if view.fixedcamid < 0:
            raise UserError(f"scene {name}: it has no camera {camera}; name one of its model's")
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, view, everything, canvas.scene)
        out = np.empty((size, size, 3), np.uint8)
        whole = mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, canvas.drawn)
        mujoco.mjr_render(whole, canvas.scene, canvas.drawn)
        mujoco.mjr_readPixels(out, None, whole, canvas.drawn)
        return out[::-1]  # GL begins at the bottom

    def close(self) -> None:
        """Free what scenes hold; what another thread made goes with its context."""
        for (thread, _, _), canvas in self._canvases.items():
            if thread == threading.get_ident():
                canvas.gl.make_current()
                canvas.drawn.free()
        self._canvases.clear()


def _context() -> Any:
    """This thread's GL context, which every scene of every `Rendering` shares."""
    made = getattr(_OWN, "context", None)
    if made is None:
        missing = wanting()
        if missing:
            raise UserError(f"cameras: {missing}; or run without cameras")
        try:
            made = _OWN.context = import_module(f"mujoco.{_asked()}").GLContext(1, 1)
        except Exception as error:  # of PyOpenGL's many kinds, some of which say nothing
            said = str(error) or type(error).__name__
            raise UserError(
                f"cameras: {_asked()} gives no place to draw ({said}); install {_PACKAGES[_asked()]}, set "
                f"{VARIABLE} to another of {', '.join(_LIBRARIES)}, or run without cameras"
            ) from error
        if threading.current_thread() is threading.main_thread():
            atexit.register(made.free)  # before the library ends, which another one's contexts outlive
    return made


def _canvas(context: Any, model: Any, size: int) -> _Canvas:
    coarse = coarsened(model, _PIXEL * model.stat.extent / size)
    buffer = coarse.vis.global_
    coarse.vis.quality.offsamples, buffer.offwidth, buffer.offheight = 0, size, size
    drawn = mujoco.MjrContext(coarse, mujoco.mjtFontScale.mjFONTSCALE_50)
    scene = mujoco.MjvScene(model, 10_000)
    for flag in _HIDDEN:
        scene.flags[flag] = 0
    return _Canvas(context, drawn, scene)
