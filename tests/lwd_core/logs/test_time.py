"""Clocks that misbehave, rates that differ: what is decided, and that it is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.logs.clock import Timed
from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, saved, stamp

N = 60
HELD = ", pairing: held"


def arm(time: str = "{ticks: /state}", more: str = "", action: str = "") -> Embodiment:
    return parse_embodiment(f"""\
name: arm
control_hz: 50
time: {time}
state: [{{topic: /state, field: values, dims: [{{name: i}}]}}]
action: [{{topic: /action, field: values, dims: [{{name: u}}]{action}}}]
{more}""")


def read(
    folder: Path,
    embodiment: Embodiment,
    log_time: Callable[[int], int] = lambda i: i * PERIOD,
    header: Callable[[int], int | None] = lambda i: i * PERIOD,
) -> LogContent:
    """A log whose state i and action i say i; at the times given."""
    log = Log(chunk_size=512)
    for i in range(N):
        sensor = header(i)
        at = {"timestamp": stamp(START + sensor)} if sensor is not None else {}
        for topic in ("/state", "/action"):
            log.write(topic, Vector(values=[i], **at), START + log_time(i))
    return read_log(LogSource(saved(folder, log.finish())), {"arm": embodiment}, Sink())


def pairs(content: LogContent) -> list[tuple[float, float]]:
    return [
        (row["state"][0], row["action"][0])
        for episode in content.episodes
        for row in episode.steps.to_pylist()
        if row["valid"] and row["action"]
    ]


def test_messages_a_little_out_of_order_are_sorted(tmp_path: Path):
    content = read(tmp_path, arm(), lambda i: (i ^ 1) * PERIOD)
    assert [s for s, _ in pairs(content)] == [i ^ 1 for i in range(N)]
    assert "/state: 30 messages out of order, sorted" in content.notes
    assert content.episodes[0].attributes["notes"].count("out of order") == 2


def test_blocks_in_another_order_are_sorted(tmp_path: Path):
    def at(i: int) -> int:
        return (i + (30 if i < 30 else -30)) * PERIOD

    content = read(tmp_path, arm(), at, at)
    assert [s for s, _ in pairs(content)] == [*range(30, 60), *range(30)]
    assert sum(content.episodes[0].steps["gap"].to_pylist()) == 0


def test_duplicate_stamps_keep_the_last_written(tmp_path: Path):
    content = read(tmp_path, arm(), lambda i: (i - (i % 3 == 1)) * PERIOD)
    assert pairs(content) == [(i, i) for i in range(N) if i % 3]
    assert "/state: 20 duplicate stamps, the last of each counts" in content.notes


def test_collapsed_stamps_hand_over_to_the_sensor_s_clock(tmp_path: Path):
    content = read(tmp_path, arm(), lambda i: i * 1000)
    assert pairs(content) == [(i, i) for i in range(N)]
    assert content.episodes[0].steps["t_ns"].to_pylist() == [START + i * PERIOD for i in range(N)]
    assert any("log time not used (/state: stamps collapsed" in note for note in content.notes)


def test_collapsed_stamps_and_no_other_clock_are_refused_unless_told(tmp_path: Path):
    with pytest.raises(UnreadableLog, match="clock: nominal"):
        read(tmp_path, arm(), lambda i: i * 1000, lambda i: None)
    content = read(tmp_path, arm("{clock: nominal, ticks: /state}"), lambda i: i * 1000, lambda i: None)
    assert pairs(content) == [(i, i) for i in range(N)]
    assert set(np.diff(content.episodes[0].steps["t_ns"].to_numpy()).tolist()) == {PERIOD}


def test_a_silence_is_a_gap_and_no_grid_is_laid_across_it(tmp_path: Path):
    def at(i: int) -> int:
        return (i + (10**4 if i >= 30 else 0)) * PERIOD

    for time in ("{ticks: /state}", "{}"):
        content = read(tmp_path, arm(time), at, at)
        gaps = content.episodes[0].steps["gap"].to_pylist()
        assert gaps == [i == 30 for i in range(N)]
        assert pairs(content) == [(i, i) for i in range(N)]
        assert "1 silences, the longest of 200.020 s, are gaps" in content.notes


def test_stamps_beyond_int64_are_left_out_and_named(tmp_path: Path):
    content = read(tmp_path, arm(), lambda i: (1 << 63) if i == 7 else i * PERIOD)
    assert "stamp beyond the range" in (content.salvaged or "")
    assert len(pairs(content)) == N - 1


def test_the_clock_asked_for_counts(tmp_path: Path):
    late = 3_000_000
    content = read(tmp_path, arm("{clock: header, ticks: /state}"), lambda i: i * PERIOD + late)
    assert content.episodes[0].steps["t_ns"][5].as_py() == START + 5 * PERIOD
    content = read(tmp_path, arm(), lambda i: i * PERIOD + late)
    assert content.episodes[0].steps["t_ns"][5].as_py() == START + 5 * PERIOD + late
    assert content.episodes[0].steps["header_ns"][5].as_py() == START + 5 * PERIOD


def async_log(folder: Path, drop: range = range(0)) -> str:
    """State at 200 Hz saying its own time in ms, action at 20 Hz likewise, for 3 s."""
    log = Log()
    for ms in range(0, 3000, 5):
        if ms not in drop:
            log.write("/state", Vector(values=[ms]), START + ms * 10**6)
        if ms % 50 == 0:
            log.write("/action", Vector(values=[ms]), START + (ms + 2) * 10**6)
    return saved(folder, log.finish())


def test_rates_that_differ_are_aligned_to_the_control_rate_with_ages(tmp_path: Path):
    content = read_log(LogSource(async_log(tmp_path)), {"arm": arm("{}", action=HELD)}, Sink())
    rows = content.episodes[0].steps.to_pylist()
    start = rows[0]["t_ns"]
    assert start == START + 2 * 10**6  # before the first action nothing is known of it
    for i, row in enumerate(rows[:-1]):
        assert row["t_ns"] == start + i * PERIOD
        since = (row["t_ns"] - START) // 10**6
        assert row["state"] == [since - since % 5]
        assert row["action"] == [(since - 2) - (since - 2) % 50]
        assert row["state_age_ns"] == since % 5 * 10**6
        assert row["action_age_ns"] == (since - 2) % 50 * 10**6
        assert row["valid"] == (row["action_age_ns"] <= 2 * PERIOD)


def test_a_stale_feature_masks_its_ticks_and_keeps_what_was_known(tmp_path: Path):
    uri = async_log(tmp_path, drop=range(1000, 1500))
    rows = read_log(LogSource(uri), {"arm": arm("{}", action=HELD)}, Sink()).episodes[0].steps.to_pylist()
    for row in rows:
        since = (row["t_ns"] - START) // 10**6
        if 1000 <= since < 1500:
            assert row["state"] == [995]
            assert row["valid"] == (row["state_age_ns"] <= 2 * PERIOD and row["action_age_ns"] <= 2 * PERIOD)
    assert sum(not r["valid"] for r in rows) > 20


def test_gaps_and_flags_part_episodes(tmp_path: Path):
    by_gap = arm(more="episodes: {boundary: gap, gap_s: 2}\n")
    content = read(tmp_path, by_gap, lambda i: i * PERIOD + i // 20 * 10**10)
    assert [e.actions for e in content.episodes] == [20, 20, 20]
    log = Log()
    for i in range(N):
        log.write("/record", Vector(values=[20 <= i < 50]), START + i * PERIOD)
        for topic in ("/state", "/action"):
            log.write(topic, Vector(values=[i]), START + i * PERIOD)
    by_flag = arm(more='episodes: {boundary: flag, topic: /record, field: "values[0]"}\n')
    content = read_log(LogSource(saved(tmp_path, log.finish())), {"arm": by_flag}, Sink())
    assert pairs(content) == [(i, i) for i in range(20, 51)]


@given(
    times=st.lists(st.integers(0, 1000), max_size=40, unique=True).map(sorted),
    ticks=st.lists(st.integers(-10, 1010), max_size=40).map(sorted),
)
def test_latest_at_is_what_it_says(times: list[int], ticks: list[int]):
    timed = Timed(np.array(times, dtype=np.int64), np.arange(len(times)) + 100)
    place, age = timed.latest(np.array(ticks, dtype=np.int64))
    for tick, p, a in zip(ticks, place.tolist(), age.tolist(), strict=True):
        before = [t for t in times if t <= tick]
        assert (p, a) == ((times.index(before[-1]) + 100, tick - before[-1]) if before else (-1, -1))
