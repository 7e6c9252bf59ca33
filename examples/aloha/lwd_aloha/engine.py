"""MuJoCo that draws without a screen, whoever imported it before."""

import os
from importlib import import_module
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
mujoco: Any = import_module("mujoco")  # a binary module without stubs
if os.environ["MUJOCO_GL"] == "egl":
    # what it chose when it was first imported may want a screen
    context: Any = import_module("mujoco.gl_context")
    context.GLContext = import_module("mujoco.egl").GLContext
