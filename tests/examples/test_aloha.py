"""ALOHA's package: two arms in MuJoCo whose driver does both tasks, from the start and from the middle."""

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from lwd_core.fleet.robot import Person, Workcell
from lwd_core.fleet.workcells import Workcells
from lwd_core.lake.frames import jpeg_size
from tests.packages import EXAMPLES


@pytest.fixture(scope="module")
def cells() -> Iterator[Workcells]:
    sys.path.insert(0, str(EXAMPLES / "aloha"))
    with Workcells("lwd_aloha:Aloha") as cells:
        yield cells
    sys.path.remove(str(EXAMPLES / "aloha"))


def driven(cell: Workcell, person: Person, state: np.ndarray, ticks: int = 200) -> tuple[bool, np.ndarray]:
    """Whether the task was done, and every action of it (T, 14)."""
    actions: list[np.ndarray] = []
    for _ in range(ticks):
        actions.append(person.drive(state))
        state, done = cell.robot.step(actions[-1])
        if done:
            return True, np.array(actions)
    return False, np.array(actions)


def test_its_file_says_what_it_is(cells: Workcells) -> None:
    file = cells.embodiment
    with cells.borrow(cells.tasks["insertion"]) as cell:
        assert cell.scene.reset(0).shape == (len(file.state_dims),) == (28,)
    low, high = (np.array([getattr(dim, end) for dim in file.action_dims]) for end in ("low", "high"))
    assert file.action_dims == file.state_dims[:14]
    assert (low < high).all()


@pytest.mark.parametrize("task", ["transfer-cube", "insertion"])
def test_its_driver_does_a_task_within_the_limits(cells: Workcells, task: str) -> None:
    low, high = (np.array([getattr(d, end) for d in cells.embodiment.action_dims]) for end in ("low", "high"))
    with cells.borrow(cells.tasks[task]) as cell:
        for seed in range(3):
            done, actions = driven(cell, cell.person(), cell.scene.reset(seed))
            assert done
            assert (actions >= low).all()
            assert (actions <= high).all()


def test_it_takes_over_in_the_middle(cells: Workcells) -> None:
    with cells.borrow(cells.tasks["transfer-cube"]) as cell:
        state, chance = cell.scene.reset(5), np.random.default_rng(0)
        for _ in range(3):
            wild = state[:14] + chance.uniform(-0.4, 0.4, 14)
            for _ in range(10):
                state, _ = cell.robot.step(wild)
        person = cell.person()
        person.take_over(state)
        assert driven(cell, person, state)[0]


def test_what_falls_off_the_table_is_seen_no_farther_than_a_metre(cells: Workcells) -> None:
    with cells.borrow(cells.tasks["transfer-cube"]) as cell:
        state = cell.scene.reset(0)
        cell.robot.data.qpos[16] = 2.0
        for _ in range(40):
            state, done = cell.robot.step(state[:14])
        assert not done
        assert state[[14, 16]].tolist() == [1, -1]


def test_a_simulation_that_bursts_stands_still(cells: Workcells, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes of it there
    with cells.borrow(cells.tasks["transfer-cube"]) as cell:
        before = cell.scene.reset(0)
        cell.robot.data.qvel[8] = np.nan
        state, done = cell.robot.step(before[:14])
        assert not done
        assert (state == before).all()
        after, _ = cell.robot.step(state[:14])
        assert np.abs(after - state).max() < 0.1


def test_the_same_seed_is_the_same_episode_in_a_used_cell_as_in_a_new_one(cells: Workcells) -> None:
    task = cells.tasks["transfer-cube"]
    with cells.borrow(task) as used, cells.borrow(task) as new:
        state = used.scene.reset(1)
        driven(used, used.person(), state, 30)
        again, fresh = used.scene.reset(2), new.scene.reset(2)
        assert (again == fresh).all()
        assert (again != state).any()
        assert (driven(used, used.person(), again, 60)[1] == driven(new, new.person(), fresh, 60)[1]).all()


def test_three_cameras_show_it(cells: Workcells) -> None:
    with cells.borrow(cells.tasks["insertion"]) as cell:
        cell.scene.reset(0)
        assert set(cell.cameras) == {"top", "left", "right"}
        large, small = cell.robot.photograph(), cell.robot.photograph(64)
        assert {jpeg_size(jpeg) for jpeg in large.values()} == {(480, 640)}
        assert {jpeg_size(jpeg) for jpeg in small.values()} == {(64, 64)}
        cell.scene.reset(1)
        assert cell.robot.photograph(64)["top"] != small["top"]


def test_it_draws_where_mujoco_was_imported_before() -> None:
    code = (
        "import mujoco; from lwd_core.fleet.workcells import Workcells as All\n"
        "cells = All('lwd_aloha:Aloha')\n"
        "with cells, cells.borrow(cells.tasks['insertion']) as cell:\n"
        "    cell.scene.reset(0); print(*sorted(cell.robot.photograph(64)))"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    paths = os.pathsep.join([str(EXAMPLES / "aloha"), *filter(None, [kept.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, "-c", code], env=kept | {"PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert ran.stdout.split() == ["left", "right", "top"], ran.stderr


def test_it_draws_beside_the_other_simulator(cells: Workcells) -> None:
    with cells.borrow(cells.tasks["insertion"]) as cell, Workcells() as others:
        cell.scene.reset(0)
        before = cell.robot.photograph(64)
        with others.borrow(others.tasks["drawer-open"]) as other:
            other.scene.reset(0)
            seen = other.robot.photograph(64)
            assert cell.robot.photograph(64) == before
            assert other.robot.photograph(64) == seen
