"""A state has the command that was computed from it, or none; what stamps cannot tell is said."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.pairings import drafted, loop, run
from lwd_core.errors import UserError
from lwd_core.logs.content import LogContent
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.fields import NO_STAMP
from lwd_core.logs.pairing import Following, StreamTimes, anchor, measure
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved, stamp

MS = 1_000_000
N = 120


def stamps(t: np.ndarray, header: np.ndarray | None = None) -> StreamTimes:
    t = np.asarray(t, dtype=np.int64)
    return StreamTimes(t, np.arange(len(t)), np.full(len(t), NO_STAMP) if header is None else header)


def arm(action: str = "", time: str = "{ticks: /state}"):
    return parse_embodiment(f"""\
name: arm
control_hz: 50
time: {time}
state: [{{topic: /state, field: values, dims: [{{name: i}}]}}]
action: [{{topic: /action, field: values, dims: [{{name: u}}]{action}}}]
""")


def read(folder: Path, delay: float, action: str = "", jitter: float = 0.0, lost: tuple[int, ...] = ()):
    """A loop whose state i and command i say i, the command ``delay`` ms later."""
    rng = np.random.default_rng(3)
    messages = []
    for i in range(N):
        t = START + i * PERIOD
        messages.append((t, "/state", i))
        if i not in lost:
            messages.append((t + round((delay + rng.normal(0, jitter)) * MS), "/action", i))
    log = Log()
    for t, topic, i in sorted(messages, key=lambda m: m[0]):
        log.write(topic, Vector(values=[i]), t)
    return read_log(LogSource(saved(folder, log.finish())), {"arm": arm(action)}, Sink())


def pairs(content: LogContent) -> list[tuple[float, float]]:
    rows = [row for episode in content.episodes for row in episode.steps.to_pylist()]
    return [(r["state"][0], r["action"][0]) for r in rows if r["valid"] and r["action"]]


@given(delay=st.floats(0.6, 19.4))
@settings(max_examples=40)
def test_a_delay_of_up_to_a_period_is_measured(delay: float):
    t = START + np.arange(N) * PERIOD
    noise = np.random.default_rng(0).normal(0, 0.1 * MS, N).astype(np.int64)
    found = measure(stamps(t), stamps(np.sort(t + int(delay * MS) + noise)), PERIOD)
    assert found.why is None
    assert abs(found.middle / MS - delay) < 0.1


@pytest.mark.parametrize("delay", [0, 1, 5, 9, 10, 11, 15, 19])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_tick_has_the_command_of_its_own_state(tmp_path: Path, delay: int, jitter: float):
    content = read(tmp_path, delay, jitter=jitter)
    if delay == 0 and jitter:
        assert pairs(content) == []
        assert "0 of 120 rows valid" in content.notes[-1]
        assert "delay_ms" in content.notes[-1]
    else:
        assert pairs(content) == [(i, i) for i in range(N - (delay > 0))]


@pytest.mark.parametrize(("delay", "stated"), [(0, 0), (20, 20), (0, 0.5), (25, 24), (-1, -1)])
def test_a_person_says_what_stamps_cannot_tell(tmp_path: Path, delay: float, stated: float):
    content = read(tmp_path, delay, f", delay_ms: {stated}", jitter=0.2)
    got = pairs(content)
    assert len(got) >= N - 3
    assert all(s == a for s, a in got)


def test_a_stated_delay_that_is_not_the_log_s_masks_and_says_so(tmp_path: Path):
    content = read(tmp_path, 15, ", delay_ms: 5")
    assert pairs(content) == []
    assert "not 5 ms as `delay_ms` says" in content.notes[-1]


def test_a_lost_command_masks_its_row_and_takes_no_neighbour_s(tmp_path: Path):
    content = read(tmp_path, 17, lost=(10, 11, 40), jitter=0.2)
    assert pairs(content) == [(i, i) for i in range(N - 1) if i not in (10, 11, 40)]
    assert "116 of 119 rows valid (/action: no command of that state, at 3)" in content.notes


def test_held_commands_stand_until_the_next(tmp_path: Path):
    content = read(tmp_path, 3, ", pairing: held, staleness_ms: 30")
    assert pairs(content) == [(i, i - 1) for i in range(1, N - 1)]


def test_commands_that_lie_anywhere_are_masked(tmp_path: Path):
    content = read(tmp_path, 10, jitter=12.0)
    assert pairs(content) == []
    assert "stamps do not tell" in content.notes[-1]


def test_ages_are_distances_and_the_actor_is_asked_when_the_command_is_given(tmp_path: Path):
    content = read(tmp_path, 7)
    ages = content.episodes[0].steps["action_age_ns"].to_pylist()
    assert set(ages[:-1]) == {7 * MS}
    assert ages[-1] is None


def test_slower_commands_are_the_ticks_and_have_the_state_they_were_computed_from(tmp_path: Path):
    log = Log()
    for ms in range(0, 3000, 5):
        if ms % 10 == 0:
            log.write("/state", Vector(values=[ms // 10]), START + ms * MS)
        if ms % 20 == 5:
            log.write("/action", Vector(values=[(ms - 5) // 10]), START + (ms - 2) * MS)
    content = read_log(
        LogSource(saved(tmp_path, log.finish())), {"arm": arm(time="{ticks: /action}")}, Sink()
    )
    (episode,) = content.episodes
    assert pairs(content) == [(i, i) for i in range(0, 298, 2)]
    assert episode.steps["gap"].to_pylist() == [False] * episode.steps.num_rows
    assert episode.steps["state"][-1].as_py() == [298]


def test_slower_commands_of_no_rhythm_are_asked_about_and_those_left_out_are_counted(tmp_path: Path):
    rng = np.random.default_rng(2)
    given = np.flatnonzero(rng.random(500) < 0.05).tolist()
    messages = [(i * PERIOD, "/state", i) for i in range(500)]
    messages += [(i * PERIOD + 6 * MS, "/command", i) for i in given]
    log = Log()
    for t, topic, i in sorted(messages):
        log.write(topic, Vector(values=[i]), START + t)
    source = LogSource(saved(tmp_path, log.finish()))
    draft = infer(source, "arm")
    asked = (
        "/command: its commands come in no rhythm, few are told of a state; if each stands until the next, "
    )
    assert f"{asked}`pairing: held` and ticks: /state" in draft.open
    content = read_log(source, {"arm": parse_embodiment(render(draft))}, Sink())
    kept = pairs(content)
    assert kept
    assert all(s == a for s, a in kept)
    left = len(given) - len(kept)
    assert f"/command: {left} of {len(given)} commands left out, of which state is not told" in content.notes


def test_a_command_that_bears_its_state_s_stamp_is_that_state_s(tmp_path: Path):
    log = Log()
    rng = np.random.default_rng(1)
    messages = [(i * PERIOD, "/state", i) for i in range(N)]
    messages += [(i * PERIOD + int(rng.uniform(0, 3) * PERIOD), "/action", i) for i in range(N)]
    for t, topic, i in sorted(messages):
        log.write(topic, Vector(values=[i], timestamp=stamp(START + i * PERIOD)), START + t)
    content = read_log(LogSource(saved(tmp_path, log.finish())), {"arm": arm()}, Sink())
    got = pairs(content)
    assert all(s == a for s, a in got)
    # commands that overtake one another have no order of their own: nothing is told of these
    assert len(got) > 0 or "rows valid" in content.notes[-1]


def test_commands_follow_the_slowest_states_that_keep_up():
    assert anchor([1000, 200, 10], 100) == 1
    assert anchor([3, 20, 10], 100) == 1


@given(
    delay=st.integers(1, 18),
    lost=st.sets(st.integers(1, N - 2), max_size=40),
    unseen=st.sets(st.integers(1, N - 2), max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_lost_no_pair_is_wrong(delay: int, lost: set[int], unseen: set[int]):
    t = START + np.arange(N, dtype=np.int64) * PERIOD
    states = np.array([i for i in range(N) if i not in unseen])
    commands = np.array([i for i in range(N) if i not in lost])
    found = Following.of(stamps(t[states]), stamps(t[commands] + delay * MS), PERIOD)
    for place, command in enumerate(found.command.tolist()):
        if states[place] in lost:
            assert command == -1
        else:
            assert commands[command] == states[place]


def test_empty_streams_pair_nothing():
    none = stamps(np.empty(0))
    some = stamps(START + np.arange(5) * PERIOD)
    assert Following.of(none, some, PERIOD).command.tolist() == []
    assert Following.of(some, none, PERIOD).command.tolist() == [-1] * 5
    assert Following.of(some, stamps(some.t[:1]), PERIOD).command.tolist() == [0, -1, -1, -1, -1]


def test_random_loops_have_no_wrong_row_and_keep_most():
    found = run(40, seed=5)
    assert found["wrong"] == 0
    assert found["kept_where_told"] > 0.9


def test_a_draft_says_the_delay_or_asks():
    rng = np.random.default_rng(2)
    messages, _ = loop(rng, "mild")
    assert drafted(messages).control_hz > 0
    exact = [
        (i * PERIOD + d, t, float(i)) for i in range(N) for d, t in ((0, "/state"), (9 * MS, "/command"))
    ]
    embodiment = drafted(exact)
    assert (embodiment.time.ticks, embodiment.control_hz) == ("/state", 50)
    assert embodiment.action[0].delay_ms == 9


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (", pairing: next", "pairing must be follows or held"),
        (", pairing: held, delay_ms: 3", "a held command has none"),
    ],
)
def test_settings_that_cannot_be_are_refused(action: str, words: str):
    with pytest.raises(UserError, match=words):
        arm(action)
