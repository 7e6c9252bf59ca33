"""What ingest makes of a log whose clock was set, and of one that has no valid row."""

from pathlib import Path

import pytest

from lwd_core.ingest.commit import IngestResult, ingest
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.proto.robot_log_pb2 import Vector
from lwd_core.logs.read import read_log
from tests.lwd_core.lake.world import NOW, World
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log

ARM = parse_embodiment("""\
name: arm
control_hz: 50
time: {ticks: /state}
state: [{topic: /state, field: values, dims: [{name: i}]}]
action: [{topic: /action, field: values, dims: [{name: u}]}]
""")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def take(world: World, path: Path, *, boot: int = START, late: int = 0) -> IngestResult:
    """Ingest a log of 100 ticks, the first half stamped from ``boot`` on, commands ``late`` ns behind."""
    log = Log()
    for i in range(100):
        t = i * PERIOD + (START if i >= 50 else boot)
        log.write("/state", Vector(values=[i]), t)
        log.write("/action", Vector(values=[i]), t + late * (-1) ** i)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(log.finish())
    return ingest(
        world.lake, world.settings, [str(path)], embodiments={"arm": ARM}, now_ns=NOW, reader=read_log
    )


def days(world: World) -> list[tuple[str, int]]:
    rows = world.lake.sql("SELECT day, start_ns FROM episodes ORDER BY index_in_log").to_pylist()
    assert {r["day"] for r in rows} == {
        r["day"] for r in world.lake.read("logs", columns=["day"]).to_pylist()
    }
    return [(r["day"], r["start_ns"]) for r in rows]


def test_the_day_comes_from_the_part_whose_clock_was_set(world: World, tmp_path: Path) -> None:
    take(world, tmp_path / "boot.mcap", boot=30 * 10**9)
    assert days(world) == [("2023-11-14", 30 * 10**9), ("2023-11-14", START + 50 * PERIOD)]


def test_the_day_of_the_landing_folder_stands(world: World) -> None:
    take(world, world.landing / "lab" / "2023-11-15" / "r1" / "boot.mcap", boot=30 * 10**9)
    assert [day for day, _ in days(world)] == ["2023-11-15"] * 2


def test_a_log_without_a_valid_row_says_so(world: World, tmp_path: Path) -> None:
    result = take(world, tmp_path / "log.mcap", late=5_000)
    ((_, reason),) = result.reasons
    assert reason.startswith("0 of 100 rows valid (/action: commands lie at their tick")
    assert "delay_ms: 0" in reason
