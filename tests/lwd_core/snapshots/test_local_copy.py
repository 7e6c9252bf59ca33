import os
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import fsspec
import pytest
from s3fs import S3FileSystem

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.local_copy import OBJECTS, DiskCache, cache_home
from lwd_core.snapshots.publish import DAY_S, Staging
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import open_location
from tests.lwd_core.lake import servers
from tests.lwd_core.lake.rows import ACTION, STATE, fake_episodes
from tests.lwd_core.loader.test_transition_loader import same, take
from tests.lwd_core.snapshots.lakes import START


def test_disk_holds_no_more_than_the_limit_and_the_newest(tmp_path: Path):
    place = open_location(str(tmp_path / "bucket"))
    for name in "abcd":
        with place.write(name) as stream:
            stream.write(name.encode() * 100)
    disk = DiskCache(tmp_path / "disk", 250)
    fetched = []
    download = disk._download

    def counted(*arguments) -> None:
        fetched.append(arguments[1])
        download(*arguments)

    disk._download = counted
    for clock, name in enumerate("abacacbd"):
        with disk.open(place, name) as stream:
            assert stream.read() == name.encode() * 100
            os.utime(stream.fileno(), (clock, clock))
        assert sum(f.stat().st_size for f in disk.folder.iterdir()) <= 250
    assert fetched == ["a", "b", "c", "b", "d"]
    with pytest.raises(FileNotFoundError):
        disk.open(place, "e")
    assert not list(disk.folder.glob(".*"))


@pytest.fixture(params=["moto", "seaweedfs"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in servers.KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LWD_HOME", str(tmp_path / "home"))
    (tmp_path / "server").mkdir()
    with servers.moto() if request.param == "moto" else servers.seaweedfs(tmp_path / "server") as url:
        monkeypatch.setenv("LWD_S3_ENDPOINT", url)
        yield "s3://lake/snapshots"
    S3FileSystem.clear_instance_cache()
    fsspec.config.conf.pop("s3", None)


@pytest.mark.servers
def test_a_bucket_gives_the_same_snapshot_and_batches(fleet: Lake, bucket: str, tmp_path: Path):
    spec = SnapshotSpec(name="all", chunk=4, shard_mb=0.003)
    here = build_snapshot(fleet, spec, str(tmp_path / "s"), now_ns=START)
    killed = Staging(open_location(bucket), START - 2 * DAY_S * 10**9)
    killed.put("train-00000.tar", b"half")
    there = build_snapshot(fleet, spec, bucket, now_ns=START)
    assert there.digest == here.digest
    names = {p.rsplit("/", 1)[-1] for p in there.place.fs.find(bucket)}
    assert names == {"manifest.json", *(s.name for s in here.manifest.shards)}
    for mode in ({}, {"memory_limit": 0, "pool_bytes": 2000, "disk_limit": 10_000}):
        ours, theirs = (
            take(TransitionLoader(here, 8, 1, **mode), 20),
            take(TransitionLoader(there, 8, 1, **mode), 20),
        )
        assert same(ours, theirs)
    files = list((cache_home() / OBJECTS).iterdir())
    assert 0 < sum(f.stat().st_size for f in files) <= 10_000
    for file in files:
        file.write_bytes(b"x" * file.stat().st_size)
    assert same(take(TransitionLoader(there, 8, 1, **mode), 20), theirs)
    there.place.remove(there.digest, here.manifest.shards[0].name)
    with pytest.raises(UserError, match="train-000000.tar is missing"):
        Snapshot.open(bucket, there.digest)


def test_a_set_of_ten_pools_is_read_in_the_memory_of_four(lake: Lake, tmp_path: Path):
    episodes, steps, _ = fake_episodes(20, 2000)
    lake.append("steps", steps)
    lake.append("episodes", episodes)
    spec = SnapshotSpec(name="long", shard_mb=0.3)
    snapshot = build_snapshot(lake, spec, str(tmp_path / "s"), now_ns=START)
    whole = 20 * 2000 * 4 * (STATE + ACTION + 1)
    pool = whole // 10
    for balanced in (True, False):
        loader = TransitionLoader(
            snapshot, 64, 0, memory_limit=0, pool_bytes=pool, workers=1, balance_tasks=balanced
        )
        source = iter(loader)
        tracemalloc.start()
        try:
            seen = {int(e) for batch in islice(source, 650) for e in batch["episode"][:4]}
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            source.close()
        assert len(seen) == 20
        batches = 3 * 16 * 64 * 600  # blocks that wait
        assert peak < 4 * pool + batches
