"""Versions have an order, clocks are wrong: `--as-of` loses nothing when one was ahead or behind."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.lake.history import _agreed, commits, version_at
from lwd_core.lake.person_query import ask
from lwd_core.lake.store import Lake
from tests.lwd_core.lake.rows import episode_row, step_rows

START = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = "SELECT count(*) AS n FROM STEPS"


def hours(after: float) -> datetime:
    return START + timedelta(hours=after)


def stamp(lake: Lake, table: str, version: int, moment: datetime) -> None:
    """Give a commit the time that a machine's clock would have said."""
    entry = Path(lake.path("tables", table, "_delta_log", f"{version:020d}.json"))
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = round(moment.timestamp() * 1000)
    entry.write_text("\n".join(map(json.dumps, actions)))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Four episodes; the lake made at hour 0, one ingest an hour after, its steps some minutes before."""
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    stamp(lake, "steps", 0, START)
    stamp(lake, "episodes", 0, START)
    for hour, name in enumerate("abcd", 1):
        lake.append("steps", step_rows(name, f"log-{name}", 2))
        lake.append("episodes", episode_row(name, f"log-{name}", 2))
        stamp(lake, "steps", hour, hours(hour - 0.1))
        stamp(lake, "episodes", hour, hours(hour))
    return lake


def seen(lake: Lake, after: float) -> int:
    return ask(lake, COUNT, hours(after).isoformat()).to_pylist()[0]["n"] // 2


def test_right_clocks(lake: Lake) -> None:
    assert [seen(lake, h) for h in (0.5, 1, 1.5, 2, 3, 4, 9)] == [0, 1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("wrong", [timedelta(days=400), -timedelta(days=20000)])
def test_one_clock_was_wrong(lake: Lake, wrong: timedelta) -> None:
    stamp(lake, "steps", 2, hours(1.9) + wrong)
    stamp(lake, "episodes", 2, hours(2) + wrong)
    # the second came between the first and the third; no later one hides or shows too early
    assert [seen(lake, h) for h in (0.5, 1, 3, 3.5, 4, 9)] == [0, 1, 3, 3, 4, 4]
    assert ask(lake, COUNT, "2").to_pylist() == [{"n": 4}]


def test_the_newest_commit_was_behind(lake: Lake) -> None:
    stamp(lake, "steps", 4, hours(-9))
    stamp(lake, "episodes", 4, hours(-9))
    assert [seen(lake, h) for h in (0.5, 1, 2, 3)] == [0, 1, 2, 4]


@given(st.lists(st.integers(0, 20), max_size=30))
def test_agreed_stamps_never_fall_and_are_as_many_as_can_be(stamps: list[int]) -> None:
    run = _agreed(stamps)
    assert run == sorted(run)
    told = [stamps[i] for i in run]
    assert told == sorted(told)
    best: list[int] = []
    for i, value in enumerate(stamps):
        best.append(1 + max((best[j] for j in range(i) if stamps[j] <= value), default=0))
    assert len(run) == max(best, default=0)


def test_times_never_go_back(lake: Lake) -> None:
    for version, hour in ((1, 7.0), (3, -3.0)):
        stamp(lake, "episodes", version, hours(hour))
    told = commits(lake.place, "episodes")
    assert [c.version for c in told] == [0, 1, 2, 3, 4]
    assert [c.latest for c in told] == [hours(h) for h in (0, 2, 2, 4, 4)]
    assert [c.earliest for c in told] == [hours(h) for h in (0, 0, 2, 2, 4)]
    assert version_at(lake.place, "episodes", hours(-1)) is None


@pytest.mark.parametrize("written", ["FROM EPISODES", "from Episodes", 'FROM "episodes"'])
def test_tables_in_any_case(lake: Lake, written: str) -> None:
    assert lake.sql(f"SELECT count(*) AS n {written}").to_pylist() == [{"n": 4}]
