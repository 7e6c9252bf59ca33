"""What counts as moving is told by unit and limits, not by how far an episode happened to move."""

from dataclasses import replace

import numpy as np
import pytest

from lwd_core.labels.checks import CHECKS, EpisodeSignals, Limits, scales
from storage_schemas.vocabulary import Verdict


def episode(
    state: np.ndarray, hz: float = 30.0, units: tuple[str, ...] | None = None, **other
) -> EpisodeSignals:
    n, dims = state.shape
    facts = {
        "t_ns": np.arange(n) * round(1e9 / hz),
        "state": state.astype(np.float32),
        "action": np.sin(np.arange(n)[:, None] * [0.1, 0.2]).astype(np.float32),
        "valid": np.ones(n, bool),
        "gap": np.zeros(n, bool),
        "control_hz": hz,
        "action_low": np.full(2, np.nan),
        "action_high": np.full(2, np.nan),
        "state_unit": units or ("",) * dims,
    }
    return EpisodeSignals(**facts | other)


def verdict(name: str, e: EpisodeSignals) -> Verdict:
    return CHECKS[name](e, Limits()).verdict


def noise(hz: float, size: float = 1.5e-6, seconds: float = 10) -> np.ndarray:
    return np.array([0.1, -0.3, 1.2]) + np.random.default_rng(0).normal(0, size, (int(hz * seconds), 3))


@pytest.mark.parametrize("hz", [10.0, 30.0, 200.0, 1000.0])
@pytest.mark.parametrize("units", [("",) * 3, ("rad",) * 3, ("m",) * 3, ("rad", "", "m")])
def test_an_arm_that_only_makes_noise_is_idle_and_frozen(hz: float, units: tuple[str, ...]) -> None:
    idle = episode(noise(hz), hz, units)
    assert verdict("risk.idle_share", idle) is Verdict.FAIL
    assert verdict("defect.frozen_state", idle) is Verdict.FAIL


@pytest.mark.parametrize("hz", [10.0, 30.0, 200.0, 1000.0])
def test_slow_motion_is_motion_at_any_rate(hz: float) -> None:
    t = np.arange(int(20 * hz)) / hz
    slow = episode(np.stack([0.02 * t, 0 * t, 0 * t], axis=1) + noise(hz, seconds=20), hz, ("rad",) * 3)
    assert verdict("risk.idle_share", slow) is Verdict.PASS
    assert verdict("defect.frozen_state", slow) is Verdict.PASS


def test_limits_stand_above_units() -> None:
    low, high = np.array([-1e-5, np.nan, np.nan]), np.array([1e-5, np.nan, np.nan])
    small = noise(30)
    small[:, 0] = np.random.default_rng(1).normal(0, 5e-6, len(small))
    assert verdict("risk.idle_share", episode(small, state_low=low, state_high=high)) is Verdict.PASS
    nan = [np.nan] * 3
    seen = np.array([[3.0, 0.5, 400.0, 2.0]])
    found = scales(seen, np.array([0, *nan]), np.array([8, *nan]), ("m", "deg", "", ""))
    assert found.tolist() == [8.0, 360.0, 400.0, 2.0]


def test_a_command_that_only_makes_noise_is_dead_and_does_not_jump() -> None:
    still = noise(30)[:, :2]
    e = episode(np.cumsum(np.full((300, 2), 0.01), axis=0), action=still.astype(np.float32))
    found = CHECKS["risk.dead_action"](e, Limits())
    assert (found.verdict, found.detail) == (Verdict.FAIL, "action dims [0, 1] never change")
    assert verdict("risk.action_jumps", e) is Verdict.UNKNOWN


def runs(*offsets: tuple[float, float], steps: int = 20) -> np.ndarray:
    """Recordings of equal motion, one behind the other, each from where it began."""
    return np.concatenate([np.cumsum(np.full((steps, 2), 0.1), axis=0) + offset for offset in offsets])


def test_recordings_that_were_run_together_are_found() -> None:
    found = CHECKS["defect.state_jumps"](episode(runs((0, 0), (10, -5), (20, -10))), Limits())
    assert (found.verdict, found.value) == (Verdict.FAIL, 2)
    assert found.detail == "the state jumps 2 times, at steps 20, 40"


def smooth(steps: int = 200) -> np.ndarray:
    t = np.arange(steps) / 30
    return np.stack([np.sin(t), np.cos(t), np.sin(2 * t)], axis=1)


def gripper(state: np.ndarray) -> np.ndarray:
    state[:, 2] = (np.arange(len(state)) // 40) % 2
    return state


def starts(state: np.ndarray) -> np.ndarray:
    """Waits for nearly all of it, then moves at a good pace."""
    still = np.repeat(state[:1], 2000, axis=0) + np.random.default_rng(0).normal(0, 1e-6, (2000, 3))
    return np.concatenate([still, state[:60]])


def paused(state: np.ndarray, periods: int, at: int = 20) -> EpisodeSignals:
    """The row ``at`` comes some control periods after the one before it."""
    e = episode(state)
    later = (np.arange(len(state)) >= at) * round((periods - 1) * 1e9 / e.control_hz)
    return replace(e, t_ns=e.t_ns + later, gap=np.arange(len(state)) == at)


@pytest.mark.parametrize(
    "e",
    [
        episode(smooth()),
        episode(gripper(smooth())),
        episode(starts(smooth()), units=("rad",) * 3),
        episode(np.stack([(np.arange(200) * 0.1) % (2 * np.pi)] * 2, axis=1), units=("rad",) * 2),
        paused(runs((0, 0), (10, -5)), periods=100),
        paused(np.delete(smooth(), range(90, 110), axis=0), periods=20, at=90),
        episode(smooth(), valid=np.arange(200) % 7 != 0),
        episode(np.ones((40, 2))),
    ],
)  # fmt: skip
def test_motion_grippers_turns_pauses_and_masked_rows_are_no_jumps(e: EpisodeSignals) -> None:
    assert verdict("defect.state_jumps", e) is Verdict.PASS


@pytest.mark.parametrize(
    ("e", "at"),
    [
        (paused(runs((0, 0), (10, -5)), periods=3), 20),
        (episode(runs((0, 0), (10, -5)), gap=np.arange(40) == 20), 20),
        (episode(runs((0, 0), (10, -5)), valid=np.arange(40) != 20), 21),
    ],
)
def test_a_jump_is_one_across_a_gap_and_a_masked_row_too(e: EpisodeSignals, at: int) -> None:
    found = CHECKS["defect.state_jumps"](e, Limits())
    assert (found.verdict, found.value) == (Verdict.FAIL, 1)
    assert found.detail == f"the state jumps 1 times, at steps {at}"


def test_what_is_not_a_number_stops_no_check() -> None:
    state = smooth()
    state[7, 1], state[9] = np.nan, np.inf
    action = smooth()[:, :2].astype(np.float32)
    action[3] = np.nan
    valid = np.isfinite(state).all(axis=1) & np.isfinite(action).all(axis=1)
    e = episode(state, units=("rad",) * 3, valid=valid, action=action)
    for name in CHECKS:
        if name not in ("defect.masked", "defect.frames_against_steps", "risk.saturated_action"):
            assert verdict(name, e) is Verdict.PASS, name
