"""Several processes over the same logs: each log once."""

import sys
from pathlib import Path

from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.kills import no_row_twice, start, whole
from tests.lwd_core.lake.world import World


def test_two_processes_over_one_landing_zone(tmp_path: Path) -> None:
    world = World(tmp_path / "home")
    for i in range(24):
        # every third log has the bytes of another, under another day
        write_log(world.landing, f"log{i}", seed=i - i % 3 if i % 3 == 2 else i, day=f"2026-01-0{1 + i % 3}")
    command = [sys.executable, "-m", "tests.lwd_core.lake.victim", str(world.settings.home), "ingest"]
    both = [start(command) for _ in range(2)]
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "done\n")
    world = World(tmp_path / "home")
    tables = world.tables()
    states = [row["state"] for row in tables["logs"]]
    assert (states.count("accepted"), states.count("duplicate")) == (16, 8)
    assert len(tables["episodes"]) == 16
    assert {row["log_id"] for row in tables["episodes"]} == {row["log_id"] for row in tables["logs"]}
    whole(world)
    no_row_twice(world)
