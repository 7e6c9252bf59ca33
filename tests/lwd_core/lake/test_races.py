"""Several processes over the same logs: each log once, and nothing that was erased comes back."""

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from lwd_core.erasure.raw_logs import Fate
from lwd_core.lake.delta import TableLog
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import open_location
from tests.lwd_core.erasure.test_erase import left
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


def test_a_new_lake_is_opened_by_several_at_once(tmp_path: Path) -> None:
    """None fails, whoever makes which table first."""
    home = tmp_path / "home"
    for i in range(4):
        write_log(home / "landing", f"log{i}", seed=i)
    command = [sys.executable, "-m", "tests.lwd_core.lake.victim", str(home), "ingest"]
    several = [start(command) for _ in range(3)]
    for process in several:
        out, _ = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "done\n")
    world = World(home)
    assert len(world.tables()["episodes"]) == 4
    whole(world)
    no_row_twice(world)


def test_columns_are_added_by_several_at_once(tmp_path: Path) -> None:
    """A lake of an earlier version, and two processes of this one."""
    narrow = pa.schema([pa.field("a", pa.string())])
    for tries in range(5):
        log = TableLog(open_location(f"{tmp_path}/{tries}"))
        log.create("t", narrow, [])
        wide = pa.schema([pa.field("b", pa.string()), pa.field("c", pa.string())])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, log=log, wide=wide: TableLog(log.place).widen(wide), range(4)))
        assert log.columns() == ["a", "b", "c"]


def test_erasures_beside_all_that_writes(tmp_path: Path) -> None:
    """Two ingests, a labeller and a builder of snapshots at work; episodes go while they are."""
    world = World(tmp_path / "home")
    for i in range(6):
        write_log(world.landing, f"log{i}", seed=i, episodes=1 + i % 2, frames=3)
    world.ingest()
    for i in range(6, 18):
        write_log(world.landing, f"log{i}", seed=i, episodes=1 + i % 2, frames=3)
    verbs = ("ingest", "ingest", "label", "snapshot")
    command = [sys.executable, "-m", "tests.lwd_core.lake.victim", str(world.settings.home)]
    running = [start([*command, verb]) for verb in verbs]
    plans = []
    while any(process.poll() is None for process in running) and len(plans) < 6:
        ids = world.lake.read("episodes", columns=["episode_id"])["episode_id"].to_pylist()
        plans.append(world.plan(random.choice(ids)))
        world.erase(plans[-1])
    for process in running:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "done\n")
    assert plans
    world = World(tmp_path / "home")
    erased = {episode for what in plans for episode in what.episodes}
    tables = world.tables()
    for name in ("episodes", "steps", "segments", "labels", "snapshot_members"):
        assert not erased & {row["episode_id"] for row in tables[name]}
    for what in plans:
        kept = {log.path for log in what.of(Fate.SHARED)}
        assert set(left(world, what)) <= kept
    for row in tables["snapshots"]:
        if row["state"] == "valid":
            Snapshot.open(world.settings.snapshots, row["digest"])
    whole(world)
    no_row_twice(world)
