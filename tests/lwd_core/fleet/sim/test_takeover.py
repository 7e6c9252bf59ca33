import numpy as np
import pytest

from lwd_core.fleet.sim.takeover import OPENING, Teleoperator
from lwd_core.fleet.sim.tasks import all_tasks
from lwd_core.fleet.workcells import Workcells


class Still:
    """A robot whose person does nothing; only what it is asked counts."""

    def person(self, state):
        return np.zeros(4)


def state(distance):
    seen = np.zeros(39)
    seen[4] = distance
    return seen


def test_an_empty_hand_is_opened_first():
    person = Teleoperator(Still())
    person.take_over(state(0.2))
    actions = [person.drive(state(0.2)) for _ in range(OPENING + 2)]
    assert [a[3] for a in actions] == [-1.0] * OPENING + [0.0, 0.0]
    assert all((a[:3] == 0).all() for a in actions)


def test_what_is_held_is_not_let_go():
    person = Teleoperator(Still())
    person.take_over(state(0.03))
    assert person.drive(state(0.03))[3] == 0.0


def test_whoever_drove_all_along_has_nothing_to_open():
    assert Teleoperator(Still()).drive(state(0.2))[3] == 0.0


@pytest.mark.parametrize("opens", [True, False])
def test_opening_is_what_saves_a_push_with_a_closed_hand(opens):
    """A hand closed on nothing for 40 ticks: the expert alone fails where a person succeeds."""
    task = all_tasks()["push"]
    cells, done = Workcells(), 0
    with cells.borrow(task) as cell:
        arm = cell.robot
        for seed in range(4):
            seen, success = arm.reset(seed), False
            person = Teleoperator(arm)
            for tick in range(task.limit):
                if tick == 40 and opens:
                    person.take_over(seen)
                seen, success = arm.step(np.array([0, 0, 0, 1.0]) if tick < 40 else person.drive(seen))
                if success:
                    break
            done += success
    cells.close()
    assert done >= 3 if opens else done <= 1
