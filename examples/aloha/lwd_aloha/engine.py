"""MuJoCo, told before it is imported that there is no screen."""

import os
from importlib import import_module
from typing import Any

os.environ.setdefault("MUJOCO_GL", "egl")
mujoco: Any = import_module("mujoco")  # a binary module without stubs
