import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.errors import UserError
from lwd_core.fleet.supervisor import Demonstrator, Supervisor, Unattended
from lwd_core.fleet.task import Task
from storage_schemas.vocabulary import InterventionReason

STILL = np.zeros(39)


TASK = Task("move", 200, ("move",), usual=20, goal=slice(-3, None))


def reasons(rules: Supervisor, states: list[np.ndarray]) -> list[InterventionReason | None]:
    watch = rules.watch(TASK, np.random.default_rng(0))
    return [watch.decide(tick, state) for tick, state in enumerate(states)]


def moving(ticks: int, speed: float = 0.01) -> list[np.ndarray]:
    return [np.full(39, speed * tick) for tick in range(ticks)]


def test_a_robot_that_moves_is_left_alone_until_time_runs_out() -> None:
    given = reasons(Supervisor(rate=1, deadline=0.5), moving(120))
    assert given == [None] * 100 + [InterventionReason.TIME_RUNNING_OUT] * 20


def test_a_robot_that_stands_still_is_driven_for_a_stint_and_given_back() -> None:
    rules = Supervisor(rate=1, deadline=1, patience=10, stint=5)
    given = reasons(rules, [STILL] * 40)
    human = [tick for tick, reason in enumerate(given) if reason]
    # nine looks without motion, the tenth convinces; patience starts anew after the stint
    assert human == [*range(9, 14), *range(23, 28), *range(37, 40)]
    assert {given[t] for t in human} == {InterventionReason.NO_PROGRESS}


def test_a_goal_that_is_overdue_is_reached_by_a_person_who_then_gives_back() -> None:
    rules = Supervisor(rate=1, deadline=1, overdue=1.5)
    states = moving(100)
    for tick, state in enumerate(states):
        state[-3:] = 0 if tick < 50 else 1  # the stage is done at tick 50
    given = reasons(rules, states)
    human = [tick for tick, reason in enumerate(given) if reason]
    assert human == [*range(30, 50), *range(80, 100)]
    assert {given[t] for t in human} == {InterventionReason.OVERDUE}


def test_circling_on_the_spot_is_no_standing_still() -> None:
    states = [np.full(39, 0.05 * (tick % 2)) for tick in range(60)]
    assert not any(reasons(Supervisor(rate=1, deadline=1, patience=11), states))


@given(st.floats(0, 1))
def test_the_share_of_watched_episodes_is_the_rate(rate: float) -> None:
    generator = np.random.default_rng(0)
    rules = Supervisor(rate=rate, deadline=0)
    watched = sum(rules.watch(TASK, generator).decide(0, STILL) is not None for _ in range(400))
    assert watched / 400 == pytest.approx(rate, abs=0.1)


def test_nobody_and_the_demonstrator() -> None:
    generator = np.random.default_rng(0)
    assert Unattended().watch(TASK, generator).decide(9, STILL) is None
    assert Demonstrator().watch(TASK, generator).decide(0, STILL) is InterventionReason.DEMONSTRATION


@pytest.mark.parametrize(
    "wrong", [{"rate": 1.5}, {"deadline": -0.1}, {"overdue": 0.5}, {"patience": 1}, {"stint": 0}]
)
def test_figures_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match="supervisor"):
        Supervisor(**wrong)
