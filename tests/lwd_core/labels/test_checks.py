from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.labels.checks import CHECKS, EpisodeSignals, Limits
from storage_schemas.vocabulary import Verdict


def sound(steps=200, seed=0) -> EpisodeSignals:
    """An episode with nothing wrong: smooth, moving, at its rate."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0, 6, steps)[:, None] + rng.uniform(0, 6, 3)
    action = np.sin(phase[:, :2]).astype(np.float32) * 0.8
    return EpisodeSignals(
        t_ns=10**18 + np.arange(steps) * 10**8,
        state=np.cos(phase).astype(np.float32),
        action=action,
        valid=np.ones(steps, bool),
        gap=np.zeros(steps, bool),
        control_hz=10.0,
        action_low=np.full(2, -1.0),
        action_high=np.full(2, 1.0),
        state_unit=("rad", "rad", "m"),
        frames={"front": 200, "wrist": 200},
    )


def frozen(e):
    state = e.state.copy()
    state[50:80] = state[50]
    return replace(e, state=state)


def with_action(change):
    def damage(e):
        action = e.action.copy()
        change(action)
        return replace(e, action=action)

    return damage


def back_in_time(e):
    t = e.t_ns.copy()
    t[100] = t[90]
    return replace(e, t_ns=t)


def lost(e):
    gap = e.gap.copy()
    gap[3] = True
    return replace(e, gap=gap)


def stale(e):
    valid = e.valid.copy()
    valid[3] = False
    return replace(e, valid=valid)


DAMAGE = {
    "defect.monotone_time": back_in_time,
    "defect.gaps": lost,
    "defect.rate": lambda e: replace(e, control_hz=30.0),
    "defect.masked": stale,
    "defect.frozen_state": frozen,
    "defect.state_jumps": lambda e: replace(e, state=np.concatenate([e.state[:90], e.state[90:] + 3])),
    "defect.frames_against_steps": lambda e: replace(e, frames={"front": 200, "wrist": 116}),
    "defect.units": lambda e: replace(e, state=e.state * 90),
    "defect.action_is_next_state": lambda e: replace(e, action=np.roll(e.state[:, :2], -1, axis=0)),
    "risk.dead_action": with_action(lambda a: a.__setitem__((slice(None), 1), 0.3)),
    "risk.saturated_action": with_action(lambda a: a.__setitem__((slice(0, 190), 1), 1.0)),
    "risk.action_jumps": with_action(lambda a: a.__setitem__((slice(None, None, 5), 0), -1.0)),
    "risk.idle_share": lambda e: replace(e, state=np.repeat(e.state[::4], 4, axis=0)),
    "risk.long_enough": lambda e: replace(e, action=e.action[:4]),
}


def test_every_check_has_its_damage():
    assert DAMAGE.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
@given(seed=st.integers(0, 2**16))
def test_a_sound_episode_passes(name, seed):
    finding = CHECKS[name](sound(seed=seed), Limits())
    assert finding.verdict is Verdict.PASS, finding


@pytest.mark.parametrize("name", CHECKS)
def test_the_damage_is_found_and_said(name):
    finding = CHECKS[name](DAMAGE[name](sound()), Limits())
    assert finding.verdict is Verdict.FAIL
    assert finding.detail
    assert finding.value is not None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("defect.rate", lambda e: replace(e, t_ns=e.t_ns[:2])),
        ("defect.frames_against_steps", lambda e: replace(e, frames=None)),
        ("defect.units", lambda e: replace(e, state_unit=("", "", ""))),
        ("defect.action_is_next_state", lambda e: replace(e, state=e.state[:, :1])),
        ("risk.dead_action", lambda e: replace(e, action=e.action[:1])),
        ("risk.saturated_action", lambda e: replace(e, action_low=np.full(2, np.nan))),
        ("risk.action_jumps", lambda e: replace(e, action=e.action[:1])),
        ("risk.idle_share", lambda e: replace(e, state=e.state[:1])),
    ],
)
def test_what_cannot_be_known_is_unknown(name, change):
    assert CHECKS[name](change(sound()), Limits()).verdict is Verdict.UNKNOWN


def test_a_past_action_in_the_state_is_no_copied_state():
    episode = sound()
    past = np.concatenate([np.zeros_like(episode.action[:1]), episode.action])[: len(episode.state)]
    state = np.concatenate([past, episode.state], axis=1)
    measured = np.arange(state.shape[1]) >= past.shape[1]
    seen = replace(episode, state=state, measured=measured)
    assert CHECKS["defect.action_is_next_state"](seen, Limits()).verdict == "pass"
    assert CHECKS["defect.action_is_next_state"](replace(seen, measured=None), Limits()).verdict == "fail"
