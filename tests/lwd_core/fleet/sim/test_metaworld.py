import numpy as np
import pytest
import simplejpeg
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from lwd_core.fleet.sim.metaworld import CAMERA, Arm
from lwd_core.fleet.sim.rendering import can_render
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
