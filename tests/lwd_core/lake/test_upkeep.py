"""Upkeep and mending: compaction, vacuum, retry, reconciliation."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from lwd_core.ingest.reconcile import quarantined, reconcile, unaccounted
from lwd_core.lake.upkeep import compact, stats, vacuum
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home")
    for i in range(6):
        write_log(world.landing, f"log{i}", seed=i, site=f"lab{i % 2}")
    world.ingest(batch_logs=2)
    return world


def test_compaction_keeps_rows_and_old_versions(world: World) -> None:
    before, versions = world.tables(), world.lake.versions()
    assert compact(world.lake)["steps"] == (4, 2)
    assert world.tables() == before
    assert world.lake.read("steps", versions=versions).num_rows == 72
    assert compact(world.lake)["steps"] == (0, 0)
    assert next(s for s in stats(world.lake) if s.table == "steps").files == 2


def test_vacuum_spares_the_young_and_the_named(world: World) -> None:
    compact(world.lake)
    before = world.tables()
    stray = Path(world.lake.path("tables", "steps", ".part.parquet.0000.tmp"))
    stray.write_bytes(b"left by a killed writer")
    assert vacuum(world.lake, grace_hours=1) == []
    later = time.time() + 7200
    listed = vacuum(world.lake, grace_hours=1, dry_run=True, now_s=later)
    assert stray.exists()
    assert vacuum(world.lake, grace_hours=1, now_s=later) == listed
    assert "tables/steps/.part.parquet.0000.tmp" in listed
    assert len([p for p in listed if p.startswith("tables/steps/day=")]) == 4
    assert world.tables() == before


def test_reconciliation_by_robot_and_day(world: World) -> None:
    write_log(world.landing, "again", seed=0, site="lab0")
    bad = write_log(world.landing, "bad", site="lab1")
    bad.write_bytes(b"??")
    missing = {Path(log.uri).name for log in unaccounted(world.lake, world.settings.landing)}
    assert missing == {"again.json", "bad.json"}
    world.ingest()
    assert unaccounted(world.lake, world.settings.landing) == []
    for row in reconcile(world.lake).to_pylist():
        folder = world.landing / row["site"] / row["day"] / row["robot_id"]
        received = [os.path.getsize(p) for p in folder.iterdir()]
        assert (row["files"], row["bytes"]) == (len(received), sum(received))
        states = ("accepted", "duplicate", "salvaged", "quarantined")
        assert sum(row[s] for s in states) == row["files"]
        assert sum(row[f"{s}_bytes"] for s in states) == row["bytes"]


def test_a_mended_digest_is_tried_again(world: World) -> None:
    hurt = write_log(world.landing, "hurt", seed=9)
    side = Path(f"{hurt}.sha256")
    side.write_text("0" * 64)
    world.ingest()
    assert len(quarantined(world.lake)) == 1
    side.write_text(hashlib.sha256(hurt.read_bytes()).hexdigest())
    assert world.ingest().known.files == 7, "a quarantined log isn't read on every run"
    again = quarantined(world.lake)
    result = world.ingest(*[world.landing / uri for _, uri in again], again=again)
    assert (result.accepted.files, quarantined(world.lake)) == (1, frozenset())


def test_a_log_sent_again_whole_replaces_its_damaged_one(world: World) -> None:
    hurt = write_log(world.landing, "hurt", seed=9)
    whole = hurt.read_bytes()
    hurt.write_bytes(whole[:10])
    world.ingest()
    hurt.write_bytes(whole)
    again = quarantined(world.lake)
    world.ingest(hurt, again=again)
    rows = [row for row in world.tables()["logs"] if row["uri"].endswith("hurt.json")]
    assert [(row["state"], row["bytes"]) for row in rows] == [("accepted", len(whole))]
