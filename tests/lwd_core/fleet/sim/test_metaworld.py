import os
import re
import subprocess
import sys

import numpy as np
import pytest
import simplejpeg
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from lwd_core.fleet.sim import rendering
from lwd_core.fleet.sim.meshes import FEW, coarsened
from lwd_core.fleet.sim.metaworld import CAMERA, Arm
from lwd_core.fleet.sim.rendering import Rendering, can_render
from lwd_core.fleet.sim.tasks import all_tasks
from lwd_core.fleet.workcells import Workcells


def trajectory(arm: Arm, seed: int, ticks: int) -> np.ndarray:
    states = [arm.reset(seed)]
    for _ in range(ticks):
        states.append(arm.step(arm.person(states[-1]))[0])
    return np.array(states)


@pytest.mark.parametrize("name", ["push", "door-open", "assembly"])
def test_a_used_arm_repeats_a_new_one_to_the_bit(cells: Workcells, name: str) -> None:
    task = all_tasks()[name]
    with cells.borrow(task) as cell:
        used = cell.robot
        other = trajectory(used, 7, 60)
        again = trajectory(used, 3, 60)
    assert np.array_equal(trajectory(Arm(task), 3, 60), again)
    assert not np.array_equal(other, again)
    assert again.shape == (61, 39)


@pytest.mark.parametrize("name", [task.name for task in all_tasks().values() if not task.stages])
def test_leaving_the_reward_out_changes_neither_motion_nor_success(cells: Workcells, name: str) -> None:
    task = all_tasks()[name]
    stock = ALL_V3_ENVIRONMENTS[task.scene]()
    stock.seeded_rand_vec, stock._freeze_rand_vec, stock._set_task_called = True, False, True
    stock._partially_observable = False
    del stock.sawyer_observation_space
    stock.seed(11)
    expected, _ = stock.reset()
    with cells.borrow(task) as cell:
        arm = cell.robot
        state = arm.reset(11)
        for _ in range(120):
            assert np.array_equal(state, expected)
            action = arm.person(state)
            state, done = arm.step(action)
            expected, _, _, _, info = stock.step(action)
            assert done == bool(info["success"])


def test_the_goal_is_seen(cells: Workcells) -> None:
    with cells.borrow(all_tasks()["push"]) as cell:
        arm = cell.robot
        goals = [arm.reset(seed)[-3:] for seed in (1, 2)]
    assert not np.allclose(goals[0], 0)
    assert not np.allclose(goals[0], goals[1])


@pytest.mark.skipif(not can_render(), reason="nothing to render with")
def test_the_camera_sees_the_arm_move(cells: Workcells) -> None:
    with cells.borrow(all_tasks()["drawer-open"]) as cell:
        arm = cell.robot
        trajectory(arm, 1, 0)
        before = simplejpeg.decode_jpeg(arm.photograph()[CAMERA])
        trajectory(arm, 1, 40)
        after = simplejpeg.decode_jpeg(arm.photograph()[CAMERA])
    assert before.shape == (128, 128, 3)
    assert before.std() > 20
    assert np.abs(before.astype(int) - after).max() > 60


@pytest.mark.skipif(not can_render(), reason="nothing to render with")
def test_a_picture_has_the_size_asked_for_and_what_is_large_in_it_is_as_sharp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arm = Arm(all_tasks()["drawer-open"])
    arm.reset(1)
    small = simplejpeg.decode_jpeg(arm.photograph(64)[CAMERA])
    assert small.shape == (64, 64, 3)
    model, data = arm._env.model, arm._env.data
    coarse, fine = (coarsened(model, cell) for cell in (0.012, 1e-9))
    assert coarse.mesh_facenum.sum() < 0.4 * model.mesh_facenum.sum() < fine.mesh_facenum.sum()
    few = model.mesh_facenum <= FEW
    assert np.array_equal(coarse.mesh_facenum[few], model.mesh_facenum[few])
    one = Rendering().picture("coarse", model, data, CAMERA, 96).astype(int)
    monkeypatch.setattr(rendering, "_PIXEL", 1e-9)
    other = Rendering().picture("fine", model, data, CAMERA, 96)
    assert 0 < np.abs(one - other).mean() < 3


IMPORTS = """
import {first}
from lwd_core.fleet.sim.metaworld import Arm
from lwd_core.fleet.sim.tasks import all_tasks
arm = Arm(all_tasks()["push"])
arm.reset(1)
try:
    print(len(arm.photograph(32)["corner2"]))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("first", "variables", "says"),
    [
        ("mujoco", {}, r"\d+"),
        ("OpenGL.GL", {}, "UserError cameras: OpenGL was imported before.*; set PYOPENGL_PLATFORM=egl"),
        ("numpy", {"MUJOCO_GL": "off"}, "UserError cameras: MUJOCO_GL=off: rendering is switched off"),
        ("numpy", {"PYOPENGL_PLATFORM": "glx"}, "UserError cameras: PYOPENGL_PLATFORM=glx: .*; unset it"),
    ],
)  # fmt: skip
@pytest.mark.skipif(not can_render(), reason="nothing to render with")
def test_it_renders_whatever_was_imported_first_or_says_why_not(
    first: str, variables: dict, says: str
) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(first=first)],
        env=kept | variables,
        capture_output=True,
        text=True,
    )
    assert re.match(says, ran.stdout), ran.stdout + ran.stderr
