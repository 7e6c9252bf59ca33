import numpy as np
import pytest

from lwd_core.fleet.sim.tasks import all_tasks
from lwd_core.fleet.sim.tours import STAGES, Tour
from lwd_core.fleet.workcells import Workcells

TOURS = [task.name for task in all_tasks().values() if task.stages]


def goals_and_success(tour: Tour, seed: int, limit: int) -> tuple[list[tuple[float, ...]], list[bool]]:
    """Goals in the order they were shown, and success tick by tick."""
    state, shown, success = tour.reset(seed), [], []
    for _ in range(limit):
        if not shown or shown[-1] != tuple(state[-3:]):
            shown.append(tuple(state[-3:]))
        state, done = tour.step(tour.person(state))
        success.append(done)
        if done:
            break
    return shown, success


@pytest.mark.parametrize("name", TOURS)
def test_success_comes_once_at_the_end_of_the_last_stage(cells: Workcells, name: str) -> None:
    task = all_tasks()[name]
    with cells.borrow(task) as cell:
        tour = cell.robot
        shown, success = goals_and_success(tour, 1, task.limit)
    moves = [stage for stage in task.stages if stage != "withdraw"]
    assert success == [False] * (len(success) - 1) + [True]
    assert len(shown) == len(moves) >= 3


@pytest.mark.parametrize("name", TOURS)
def test_goals_belong_to_the_seed(cells: Workcells, name: str) -> None:
    task = all_tasks()[name]
    with cells.borrow(task) as cell:
        tour = cell.robot
        first = goals_and_success(tour, 1, task.limit)
        other = goals_and_success(tour, 2, task.limit)
        assert goals_and_success(tour, 1, task.limit) == first
    assert other != first


def test_a_stage_that_is_not_reached_holds_up_all_later_ones(cells: Workcells) -> None:
    task = all_tasks()["push-tour"]
    with cells.borrow(task) as cell:
        tour = cell.robot
        start = tour.reset(3)
        for _ in range(50):
            state, done = tour.step(np.zeros(4))
            assert not done
            assert np.array_equal(state[-3:], start[-3:])


def test_a_new_spot_is_some_way_from_the_object() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        state = np.zeros(39)
        state[4:7] = generator.uniform((-0.1, 0.6, 0), (0.1, 0.8, 0.1))
        spot = STAGES["push"].goal(state, generator)
        assert np.linalg.norm(spot[:2] - state[4:6]) >= 0.12
