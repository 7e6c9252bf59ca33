import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.sim.tasks import all_tasks
from lwd_core.fleet.task import find_tasks
from lwd_core.fleet.workcells import Workcells


def test_every_task_can_be_said_in_several_ways_and_no_two_tasks_in_the_same() -> None:
    texts = [text for task in all_tasks().values() for text in task.instructions]
    assert len(set(texts)) == len(texts)
    assert all(len(task.instructions) >= 3 for task in all_tasks().values())


def test_an_unknown_task_is_named_together_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"fold-towel: no such task; there are .*drawer-open"):
        find_tasks(all_tasks(), ["push", "fold-towel"])


@pytest.mark.parametrize("name", list(all_tasks()))
def test_the_expert_solves_most_scenes_within_the_limit(cells: Workcells, name: str) -> None:
    task = all_tasks()[name]
    solved = 0
    with cells.borrow(task) as cell:
        arm = cell.robot
        for seed in range(5):
            state, done = arm.reset(seed), False
            for _ in range(task.limit):
                state, done = arm.step(arm.person(state))
                if done:
                    break
            solved += done
    assert solved >= 3
