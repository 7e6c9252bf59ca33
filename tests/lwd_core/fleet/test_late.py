"""Plans of a stated latency, in simulated time: what is executed tick by tick, and what it does to a task."""

import numpy as np
import pytest

from benchmarks.late_plans import try_out
from lwd_core.fleet.batching import Request
from lwd_core.fleet.late import LatePlanner
from lwd_core.fleet.pace import LeapTime
from lwd_core.fleet.planner import Plans, WhenLate, stitched

PERIOD = 1_000


class Counting:
    """Plans of 6 actions that say the tick they were asked at, times 10, and which of the plan they are."""

    policy_id, cameras, sizes = "counting", (), {}

    def act(self, states, instructions, generator, frames=None, embodiment=""):
        return (10 * states[:, :1, None] + np.arange(6)[None, :, None]).astype(np.float32)


def executed(rule: WhenLate, latency: int, ahead: int | None, ticks: int) -> list[float | None]:
    keeper = LeapTime(0)
    plans = Plans(LatePlanner(keeper, latency * PERIOD, 0), keeper, PERIOD, rule, ahead=ahead, patience=0)
    found = list[float | None]()
    for tick in range(ticks):
        action = plans.next(Request(Counting(), np.array([float(tick)]), "") if plans.wants else None)
        found.append(None if action is None else float(action[0]))
        keeper.sleep_ns(PERIOD)
    return found


def test_waiting_stands_still_for_the_latency_of_each_plan() -> None:
    assert executed(WhenLate.HOLD, 2, None, 10) == [None, None, 0, 1, 2, 3, 4, 5, None, None]


def test_the_old_plan_goes_on_until_the_new_one_is_there_and_the_past_is_left_out() -> None:
    # asked for at tick 4 with 4 left, there at tick 6, whose action is its third; the next at 7, there at 9
    assert executed(WhenLate.CONTINUE, 2, 4, 10) == [None, None, 0, 1, 2, 3, 42, 43, 44, 72]


def test_what_both_plans_speak_of_is_stitched_in_equal_steps() -> None:
    third = 1 / 3
    assert executed(WhenLate.BLEND, 2, 4, 6) == [None, None, 0, 1, 2, 3]
    got = executed(WhenLate.BLEND, 2, 4, 8)[6:]
    assert got == pytest.approx([4 + third * (42 - 4), 5 + 2 * third * (43 - 5)], abs=1e-4)
    new = np.ones((3, 2), np.float32)
    assert (stitched([], new) == new).all()
    assert stitched(list(np.zeros((5, 2), np.float32)), new)[:, 0].tolist() == [0.25, 0.5, 0.75]


def test_computing_ahead_beats_waiting_and_stitching_is_smoother() -> None:
    """On a simulated task, with plans that take 4 of their 12 ticks."""
    waits, ahead, blends = (
        try_out(rule, 4, 150) for rule in (WhenLate.HOLD, WhenLate.CONTINUE, WhenLate.BLEND)
    )
    assert ahead.ticks < 0.9 * waits.ticks
    assert blends.ticks < 0.9 * waits.ticks
    assert blends.jerk < 0.9 * ahead.jerk
