"""Logs are found again in a home that was moved or copied, whichever version wrote their rows."""

import shutil
from pathlib import Path

import pyarrow as pa

from lwd_core.ingest.pending import waiting
from lwd_core.ingest.reconcile import unaccounted
from lwd_core.lake import addresses
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.tables import LOGS
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.world import World


def as_before(world: World) -> None:
    """Rows as earlier versions wrote them: every address in full."""
    rows = world.lake.read("logs")
    uris = [uri if uri.startswith("/") else f"{world.landing}/{uri}" for uri in rows["uri"].to_pylist()]
    old = rows["uri"].to_pylist()
    rows = rows.set_column(LOGS.names.index("uri"), "uri", pa.array(uris))
    world.lake.replace("logs", rows, {"uri": old})


def made(tmp_path: Path) -> World:
    world = World(tmp_path / "home")
    for i, name in enumerate("ab"):
        write_log(world.landing, name, seed=i, site=f"site{i}")
    far = write_log(tmp_path / "elsewhere", "far", seed=9)
    world.ingest(world.settings.landing, far)
    return world


def test_addresses_are_relative_to_the_landing_zone(tmp_path: Path) -> None:
    world = made(tmp_path)
    assert {row["uri"] for row in world.tables()["logs"]} == {
        "site0/2026-01-01/r1/a.json", "site1/2026-01-01/r1/b.json",
        f"{tmp_path}/elsewhere/lab/2026-01-01/r1/far.json",
    }  # fmt: skip


def test_rows_of_earlier_versions_are_read_as_relative_and_renewed(tmp_path: Path) -> None:
    world = made(tmp_path)
    expected = world.tables()["logs"]
    as_before(world)
    landing = world.settings.landing
    assert {row["uri"] for row in addresses.logs(world.lake, landing)} == {row["uri"] for row in expected}
    assert unaccounted(world.lake, landing) == []
    assert waiting(world.lake, world.settings) == {}
    assert world.ingest().known.files == 2
    assert world.tables()["logs"] == expected
    versions = world.lake.versions()
    addresses.renew(world.lake, landing)
    assert world.lake.versions() == versions


def test_a_copied_home_of_an_earlier_version_means_its_own_logs(tmp_path: Path) -> None:
    world = made(tmp_path)
    as_before(world)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    copy = World(tmp_path / "copy")
    (copy.landing / "site1/2026-01-01/r1/b.json").write_bytes(b"not the log that was copied")
    found = {row["uri"] for row in addresses.logs(copy.lake, copy.settings.landing)}
    assert found == {
        "site0/2026-01-01/r1/a.json",
        f"{world.landing}/site1/2026-01-01/r1/b.json",  # another's: named, and never reached
        f"{tmp_path}/elsewhere/lab/2026-01-01/r1/far.json",
    }
    before = {p: p.read_bytes() for p in world.landing.rglob("*.json")}
    result = copy.ingest()
    assert (result.known.files, result.quarantined.files) == (1, 1)
    assert {p: p.read_bytes() for p in world.landing.rglob("*.json")} == before


def test_a_copy_beside_the_landing_zone_stays_what_it_is(tmp_path: Path) -> None:
    """The same path below another root, ingested from there, is another log."""
    world = World(tmp_path / "home")
    far = write_log(tmp_path / "spool", "a")
    write_log(world.landing, "a")
    world.ingest(far, world.settings.landing)
    rows = world.tables()["logs"]
    addresses.renew(world.lake, world.settings.landing)
    assert world.tables()["logs"] == rows
    assert {row["state"] for row in rows} == {"accepted", "duplicate"}


def test_a_moved_home_is_whole(tmp_path: Path) -> None:
    world = made(tmp_path)
    digest = world.snapshot().digest
    shutil.move(tmp_path / "home", tmp_path / "moved")
    moved = World(tmp_path / "moved")
    assert unaccounted(moved.lake, moved.settings.landing) == []
    assert moved.ingest().known.files == 2
    (row,) = moved.tables()["snapshots"]
    assert row["uri"] == digest
    assert len(Snapshot.open(moved.settings.snapshots, row["uri"]).episodes) == 3


def test_a_home_whose_name_is_no_url(tmp_path: Path) -> None:
    world = World(tmp_path / "Zürich Lab 100% #1")
    write_log(world.landing, "a", frames=2)
    world.ingest()
    assert len(world.tables()["steps"]) == 12
    assert world.ingest().known.files == 1
