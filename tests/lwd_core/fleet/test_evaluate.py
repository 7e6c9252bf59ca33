import numpy as np
import pytest

from lwd_core.fleet.evaluate import evaluate
from lwd_core.fleet.sim.metaworld import Arm
from lwd_core.fleet.sim.tasks import all_tasks
from lwd_core.fleet.workcells import Workcells
from lwd_core.policies.scenes import Purpose, scene_seeds, training_seeds
from storage_schemas.tables import EVALUATIONS
from tests.lwd_core.fleet.conftest import Scripted

SEEDS = scene_seeds(Purpose.EVALUATION, 3)
TASKS = ("push", "button-press-topdown")


class Presses:
    """Does what the button's expert would, whatever the task."""

    policy_id = "presses"
    cameras = ()

    def __init__(self, expert: Arm) -> None:
        self.expert = expert

    def act(
        self,
        states: np.ndarray,
        instructions: list[str],
        generator: np.random.Generator,
        frames=None,
        embodiment: str = "",
    ) -> np.ndarray:
        return np.array([[self.expert.person(state)] for state in states.astype(float)], np.float32)


def test_rows_are_what_the_table_says_and_success_is_seen(cells: Workcells) -> None:
    with cells.borrow(all_tasks()["button-press-topdown"]) as cell:
        expert = cell.robot
        rows = evaluate(Presses(expert), TASKS, SEEDS, now_ns=5, cells=cells)
    assert rows.schema == EVALUATIONS.schema
    assert rows.num_rows == 6
    by_task = {task: [r for r in rows.to_pylist() if r["task"] == task] for task in TASKS}
    assert [r["seed"] for r in by_task["push"]] == list(SEEDS)
    assert all(r["success"] and r["steps"] < 200 for r in by_task["button-press-topdown"])
    assert all(not r["success"] and r["steps"] == 200 for r in by_task["push"])


def test_the_same_noise_gives_the_same_rows(cells: Workcells) -> None:
    rows = [evaluate(Scripted(), TASKS, SEEDS, now_ns=0, cells=cells, noise_seed=1) for _ in range(2)]
    assert rows[0] == rows[1]


def test_all_trials_share_the_network(cells: Workcells) -> None:
    policy, seen = Scripted(), []
    evaluate(
        policy, TASKS, SEEDS, now_ns=0, cells=cells, progress=lambda done, total: seen.append((done, total))
    )
    assert set(policy.batches) == {6}
    assert seen == [(i, 6) for i in range(1, 7)]


def test_no_policy_is_judged_where_it_practised(cells: Workcells) -> None:
    with pytest.raises(ValueError, match="training range"):
        evaluate(Scripted(), TASKS, training_seeds("a", 2), now_ns=0, cells=cells)
