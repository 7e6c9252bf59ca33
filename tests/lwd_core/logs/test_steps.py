"""A clock that was set cuts the log; what is only stored out of order is sorted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Control, Event, Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from lwd_core.logs.steps import Track, outliers, runs_backwards, steps
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved, stamp

N = 100
SECOND = 1_000_000_000
MS = 1_000_000


def track(t: np.ndarray, topic: str = "/state", others: tuple[np.ndarray, ...] = ()) -> Track:
    t = np.asarray(t, dtype=np.int64)
    return Track(topic, np.arange(len(t)) * 2 + (topic != "/state"), t, others)


def clock(n: int = 200, jitter: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, jitter * PERIOD, n)
    return (START + np.arange(n) * PERIOD + noise).astype(np.int64)


@given(
    back=st.one_of(st.floats(0.022, 1.9), st.floats(4.2, 5000)),
    at=st.integers(100, 150),
    jitter=st.sampled_from([0.0, 0.02]),
)
@settings(max_examples=80, deadline=None)
def test_a_step_back_of_any_size_is_found(back: float, at: int, jitter: float):
    t = clock(jitter=jitter)
    t[at:] -= int(back * SECOND)
    (step,), alone = steps([track(t), track(t + 3 * MS, "/action")])
    assert (step.number, alone) == (2 * at, {})
    assert step.by == pytest.approx(-back * SECOND, abs=PERIOD / 5)
    assert "set back by" in str(step)


@given(sizes=st.lists(st.integers(5, 40), min_size=2, max_size=6), order=st.randoms())
@settings(max_examples=60, deadline=None)
def test_chunks_stored_in_another_order_are_no_step(sizes: list[int], order):
    t = clock(sum(sizes), jitter=0.02)
    chunks = np.split(t, np.cumsum(sizes)[:-1])
    order.shuffle(chunks)
    stored = np.concatenate(chunks)
    assert steps([track(stored), track(stored + 3 * MS, "/action")]) == ([], {})


@given(late=st.sets(st.integers(5, 190), max_size=20), by=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_late_messages_are_no_step(late: set[int], by: int):
    order = sorted(range(200), key=lambda i: i + (by + 0.5 if i in late else 0))
    assert steps([track(clock()[order])]) == ([], {})


def test_several_steps_in_both_directions():
    t = clock(400)
    t[100:] -= 300 * MS
    t[200:] += 7200 * SECOND
    t[300:] -= 3600 * SECOND
    found, alone = steps([track(t), track(t + MS, "/action")])
    assert [(s.number, round(s.by / SECOND, 1)) for s in found] == [(200, -0.3), (400, 7200), (600, -3600)]
    assert alone == {}


def test_a_step_forward_is_told_by_another_clock():
    t, other = clock(), clock() - 5 * MS
    t[80:] += 2 * SECOND
    assert steps([track(t)]) == ([], {})  # a silence
    (step,), _ = steps([track(t, others=(other,))])
    assert (step.number, step.by) == (160, 2 * SECOND)
    stalled = clock()
    stalled[80:140] = stalled[140] - 60 + np.arange(60)  # a writer that stalls and then catches up
    assert steps([track(stalled, others=(other,))]) == ([], {})


@given(ahead=st.floats(0.045, 600), at=st.integers(20, 180), jitter=st.sampled_from([0.0, 0.02]))
@settings(max_examples=60, deadline=None)
def test_a_topic_that_steps_ahead_alone_is_told_by_those_that_go_on(ahead: float, at: int, jitter: float):
    t = clock(jitter=jitter)
    command = t + 3 * MS
    command[at:] += int(ahead * SECOND)
    found, alone = steps([track(t), track(command, "/action")])
    assert (found, {topic: step.number for topic, step in alone.items()}) == ([], {"/action": 2 * at + 1})


@given(lost=st.sets(st.integers(1, 198), max_size=80), quiet=st.integers(1, 150), pause=st.floats(0, 90))
@settings(max_examples=60, deadline=None)
def test_lost_messages_a_silent_topic_and_a_pause_are_no_step_ahead(lost: set[int], quiet: int, pause: float):
    t = clock(jitter=0.02)
    t[120:] += int(pause * SECOND)
    state, command = track(t), track(t + 3 * MS, "/action")
    kept = np.setdiff1d(np.arange(200), [*lost, *range(quiet, quiet + 40)])
    silent = Track("/action", command.number[kept], command.t[kept])
    assert steps([state, silent]) == ([], {})


def test_a_topic_whose_clock_steps_alone_is_left_out():
    t = clock()
    sensor = t.copy()
    sensor[90:] -= SECOND
    found, alone = steps([track(t), track(sensor, "/imu")])
    assert found == []
    assert alone["/imu"].number == 181


def test_the_published_bag_of_unsorted_chunks_is_sorted():
    assert steps([track(np.array([1, 2, 0]) * SECOND)]) == ([], {})


def test_a_clock_that_is_set_all_the_time_orders_nothing():
    t = clock(2000)
    for i in range(20, 2000, 20):
        t[i:] -= SECOND
    with pytest.raises(UnreadableLog, match="set more than 64 times"):
        steps([track(t)])


def test_a_stamp_far_from_its_neighbours_is_an_outlier():
    t = clock(50)
    t[20] += 100 * SECOND
    t[30] = 0
    assert np.flatnonzero(outliers(t)).tolist() == [20, 30]
    assert not outliers(clock(50)).any()


def test_a_clock_that_runs_backwards():
    assert runs_backwards(clock()[::-1])
    assert not runs_backwards(clock())


ARM = """\
name: arm
control_hz: 50
time: {ticks: /state}
state: [{topic: /state, field: values, dims: [{name: i}]}]
action: [{topic: /action, field: values, dims: [{name: u}]}]
actor: {topic: /actor, human: [human]}
"""


def read(
    folder: Path,
    at: Callable[[int], int],
    header: Callable[[int], int | None] = lambda i: None,
    more: str = "",
    events: dict[int, tuple[str, dict[str, str]]] | None = None,
) -> LogContent:
    """A log whose state i and action i say i, stamped START + at(i)."""
    log = Log(chunk_size=512)
    for i in range(N):
        t, sensor = START + at(i), header(i)
        said = {"timestamp": stamp(START + sensor)} if sensor is not None else {}
        if i == 10:
            log.write("/actor", Control(actor="human"), t)
        if events and i in events:
            kind, attributes = events[i]
            log.write("/event", Event(kind=kind, attributes=attributes), t)
        for topic in ("/state", "/action"):
            log.write(topic, Vector(values=[i], **said), t)
    embodiment = parse_embodiment(ARM + more)
    return read_log(LogSource(saved(folder, log.finish())), {"arm": embodiment}, Sink())


def rows(content: LogContent) -> list[list[float]]:
    return [
        [r["state"][0] for r in e.steps.to_pylist() if r["valid"] and r["action"] == r["state"]]
        for e in content.episodes
    ]


@pytest.mark.parametrize("back", [0.3, 0.31, 1.1, 3600, -3600, -1_700_000_000])
def test_an_episode_is_cut_where_its_clock_was_set(tmp_path: Path, back: float):
    content = read(tmp_path, lambda i: i * PERIOD - (int(back * SECOND) if i >= 60 else 0))
    assert rows(content) == [[*range(60)], [*range(60, 100)]]
    assert [e.end for e in content.episodes] == ["truncated", "truncated"]
    assert any("clock set" in n and "the episode is cut there" in n for n in content.notes)
    human = [set(e.steps["actor"].to_pylist()[10:]) for e in content.episodes]
    assert human == [{"human"}, {"human"}]  # who acted is known across the cut


def test_what_usually_ends_an_episode_is_not_said_of_one_that_is_cut(tmp_path: Path):
    content = read(tmp_path, lambda i: (i - 40 * (i >= 60)) * PERIOD, more="outcome: {default: success}\n")
    assert [(e.outcome, e.end) for e in content.episodes] == [
        ("unknown", "truncated"),
        ("success", "terminated"),
    ]


def test_an_episode_under_way_goes_on_behind_the_cut(tmp_path: Path):
    content = read(
        tmp_path,
        lambda i: (i - 40 * (i >= 60)) * PERIOD,
        more="events: {topic: /event}\nepisodes: {boundary: events}\n",
        events={5: ("episode_start", {"task": "fold"}), 90: ("success", {}), 91: ("episode_end", {})},
    )
    assert rows(content) == [[*range(5, 60)], [*range(60, 92)]]
    assert [(e.task, e.outcome) for e in content.episodes] == [("fold", "unknown"), ("fold", "success")]


def test_a_sensor_s_clock_that_steps_does_not_matter_where_the_log_s_counts(tmp_path: Path):
    content = read(tmp_path, lambda i: i * PERIOD, lambda i: (i + 400 - 300 * (i >= 50)) * PERIOD)
    assert rows(content) == [[*range(100)]]
    content = read(tmp_path, lambda i: (i + 400 - 300 * (i >= 50)) * PERIOD, lambda i: i * PERIOD)
    assert rows(content) == [[*range(50)], [*range(50, 100)]]
    by_header = "time: {clock: header, ticks: /state}\n"
    log_steps = ARM.replace("time: {ticks: /state}\n", by_header)
    embodiment = parse_embodiment(log_steps)
    content = read_log(LogSource(str(tmp_path / "log.mcap")), {"arm": embodiment}, Sink())
    assert rows(content) == [[*range(100)]]


def test_a_log_whose_clock_runs_backwards_is_read_by_another_or_refused(tmp_path: Path):
    content = read(tmp_path, lambda i: (N - i) * PERIOD, lambda i: i * PERIOD)
    assert rows(content) == [[*range(100)]]
    assert any("log time not used (/state: stamps run backwards)" in n for n in content.notes)
    with pytest.raises(UnreadableLog, match="stamps run backwards"):
        read(tmp_path, lambda i: (N - i) * PERIOD)


def test_one_stamp_that_is_wrong_costs_its_row_alone(tmp_path: Path):
    content = read(tmp_path, lambda i: i * PERIOD + (500 * SECOND if i == 30 else 0))
    assert rows(content) == [[i for i in range(100) if i != 30]]
    assert "/state: 1 messages stamped far from their neighbours left out" in content.notes


def test_what_is_left_out_at_an_episode_s_ends_is_said(tmp_path: Path):
    log = Log()
    for i in range(300):
        log.write("/state", Vector(values=[i]), START + i * PERIOD)
        if i < 200:
            log.write("/action", Vector(values=[i]), START + i * PERIOD)
    content = read_log(LogSource(saved(tmp_path, log.finish())), {"arm": parse_embodiment(ARM)}, Sink())
    assert content.episodes[0].actions == 200
    assert "99 ticks of 2.0 s after the last command left out" in content.notes
