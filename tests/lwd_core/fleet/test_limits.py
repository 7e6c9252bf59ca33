"""What the embodiment file allows is what a robot is given."""

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.fleet.limits import Limiter
from lwd_core.logs.embodiment import parse_embodiment
from tests.lwd_core.fleet.arms import FILE, LIMITS

HOME = np.zeros(2)


@pytest.mark.parametrize(
    ("asked", "last", "state", "given", "bitten"),
    [
        # to_a at most .5 and 2 rad/s at 20 Hz; to_b as its dim says, and 4 rad/s
        ([0.05, 0.1], [0, 0], [0, 0], [0.05, 0.1], {}),
        ([0.9, 0.0], [0.45, 0], [0.45, 0], [0.5, 0.0], {"position": "to_a"}),
        ([0.4, -2.0], [0, 0], [0, 0], [0.1, -0.2], {"position": "to_b", "velocity": "to_a,to_b"}),
        ([0.5, 0.0], [0.5, 0], [0.1, 0], [0.4, 0.0], {"step": "to_a"}),
        # the first command is held against what is measured, where the file says by what
        ([0.5, 0.9], None, [0, 0], [0.1, 0.9], {"velocity": "to_a"}),
        # from out of range it comes back no faster than it may move
        ([0.9, 0.0], [1.0, 0], [1.0, 0], [0.9, 0.0], {"position": "to_a", "velocity": "to_a"}),
    ],
)
def test_a_command_is_brought_within_them(asked, last, state, given, bitten) -> None:
    limiter = Limiter(parse_embodiment(FILE + LIMITS))
    before = None if last is None else np.array(last, float)
    found = limiter(np.array(asked, float), before, np.array(state, float))
    assert found.action == pytest.approx(np.array(given))
    assert found.said(limiter.names) == bitten


def test_without_limits_a_command_keeps_to_its_dims() -> None:
    found = Limiter(parse_embodiment(FILE))(np.array([-3.0, 0.7]), HOME, HOME)
    assert found.action.tolist() == [-1.0, 0.7]


@pytest.mark.parametrize(
    ("action", "says"), [([np.nan, 0], "to_a is no finite number"), ([1.0], "names 2 dims")]
)
def test_what_is_no_command_is_refused(action, says) -> None:
    with pytest.raises(UserError, match=says):
        Limiter(parse_embodiment(FILE + LIMITS))(np.array(action, float), HOME, HOME)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ("{dims: [{dim: to_c}]}", "to_c is no dim of the action; there are to_a, to_b"),
        ("{dims: [{dim: to_a, state: c}]}", "c is no dim of the state"),
        ("{dims: [{dim: to_a, velocity: 0}]}", "velocity must be above 0"),
        ("{dims: [{dim: to_a, low: 1, high: 0}]}", "low must be below high"),
        ("{dims: [{dim: to_a}, {dim: to_a}]}", "named twice: to_a"),
        ("{version: 2, dims: []}", "version 2 is not known here"),
        ("{dims: [{dim: to_a, speed: 2}]}", "speed"),
    ],
)
def test_a_section_that_is_wrong_is_refused(limits, says) -> None:
    with pytest.raises(UserError, match=says):
        parse_embodiment(f"{FILE}limits: {limits}\n")


def test_limits_change_nothing_of_what_logs_mean() -> None:
    assert parse_embodiment(FILE + LIMITS).digest == parse_embodiment(FILE).digest
    with pytest.raises(UserError, match="share nothing"):
        Limiter(parse_embodiment(f"{FILE}limits: {{dims: [{{dim: to_a, low: 2}}]}}\n"))
