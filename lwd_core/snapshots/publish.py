"""Making a built snapshot visible: whole, once, and entered in the lake."""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import ErasedMeanwhile
from lwd_core.snapshots.local_copy import drop_cache
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import Location
from storage_schemas.canonical import canonical_json
from storage_schemas.snapshot import MANIFEST, Manifest
from storage_schemas.tables import SNAPSHOT_MEMBERS, SNAPSHOTS
from storage_schemas.vocabulary import SnapshotState

STAGING, DAY_S = ".building-", 86_400


class Staging:
    """Where shards wait until the manifest is known: beside their final place, under a name of its own.

    What a build that was killed more than a day before ``now_ns`` left behind is removed first.
    """

    def __init__(self, place: Location, now_ns: int) -> None:
        self._place = place
        now_s = now_ns // 1_000_000_000
        for name in _left_behind(place, now_s - DAY_S):
            place.fs.rm(place.path(name), recursive=True)
        self._token = f"{STAGING}{now_s}-{uuid.uuid4().hex[:12]}"
        self._names: list[str] = []

    def put(self, name: str, data: bytes) -> None:
        """Store one shard."""
        with self._place.write(self._token, name) as stream:
            stream.write(data)
        self._names.append(name)

    def publish(self, manifest: Manifest) -> None:
        """Make it visible under its digest, unless it is there already."""
        digest, place = manifest.digest, self._place
        if place.exists(digest, MANIFEST):
            return
        if place.remote:
            for name in self._names:
                place.fs.copy(place.path(self._token, name), place.path(digest, name))
            with place.write(digest, MANIFEST) as stream:
                stream.write(manifest.to_bytes())
            return
        self.put(MANIFEST, manifest.to_bytes())
        try:
            os.rename(place.path(self._token), place.path(digest))
        except OSError:
            # another build of the same snapshot was first
            if not place.exists(digest, MANIFEST):
                raise

    def discard(self) -> None:
        """Remove what was not published."""
        if self._place.remote:
            for name in self._names:
                self._place.remove(self._token, name)
        else:
            shutil.rmtree(Path(self._place.path(self._token)), ignore_errors=True)


def _left_behind(place: Location, before_s: int) -> list[str]:
    """Folders of builds begun before a time; it stands in their names, for a bucket's folders have none."""
    try:
        entries = place.fs.ls(place.root, detail=False)
    except FileNotFoundError:
        return []
    names = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries]
    begun = {name: name.removeprefix(STAGING).split("-")[0] for name in names if name.startswith(STAGING)}
    return [name for name, stamp in begun.items() if stamp.isdigit() and int(stamp) < before_s]


def release(lake: Lake, staging: Staging, manifest: Manifest, place: Location, now_ns: int) -> None:
    """Publish and register, unless an episode of it was erased since the work began: ``ErasedMeanwhile``."""
    lake.tombstones.refuse(_holds(manifest), f"snapshot {manifest.name}")
    there = place.exists(manifest.digest, MANIFEST)
    staging.publish(manifest)
    try:
        register(lake, manifest, now_ns)
    except ErasedMeanwhile:
        # an erasure that began in between has looked for published snapshots before or after this one came
        if not there:
            remove_bytes(place, manifest)
        raise


def drop_unfinished(place: Location, paths: Sequence[str]) -> list[str]:
    """Of files that hold something erased, delete those of builds under way; return the others.

    Such a build has an erased episode in hand and can't be published any more.
    """
    left = []
    for path in paths:
        relative = place.relative(path)
        if relative != path and relative.startswith(STAGING):
            place.remove(relative)
        else:
            left.append(path)
    return left


def _holds(manifest: Manifest) -> list[str]:
    """Names of the episodes and frame shards a snapshot stands on."""
    return [*(m.episode_id for m in manifest.episodes), *(shard.uri for shard in manifest.frame_shards)]


def remove_bytes(place: Location, manifest: Manifest) -> None:
    """Delete a snapshot's bytes, the manifest last: while it stands, the folder is still found."""
    digest = manifest.digest
    drop_cache(place, digest)
    for shard in manifest.shards:
        place.remove(digest, shard.name)
    place.remove(digest, MANIFEST)
    drop_cache(place, digest)  # again: one that was being made looked for the manifest before it went
    if not place.remote:
        shutil.rmtree(Path(place.path(digest)), ignore_errors=True)


def register(lake: Lake, manifest: Manifest, now_ns: int) -> None:
    """Enter it in the lake's tables, once. A withdrawn snapshot stays withdrawn.

    Raises ``ErasedMeanwhile`` if one of its episodes was erased.
    """
    digest = manifest.digest
    if lake.read("snapshots", columns=["digest"], where="digest = ?", params=[digest]).num_rows:
        return
    members = [
        {
            "digest": digest,
            "episode_id": m.episode_id,
            "log_id": m.log_id,
            "split": m.split,
            "shard": m.shard,
            "index_in_shard": m.index,
        }
        for m in manifest.episodes
    ]
    row = {
        "digest": digest,
        "name": manifest.name,
        "uri": digest,  # within the place of snapshots
        "state": SnapshotState.VALID.value,
        "successor": None,
        "spec": SnapshotSpec.parse(dict(manifest.spec)).to_json(),
        "versions": canonical_json(manifest.versions).decode(),
        "episodes": len(manifest.episodes),
        "steps": manifest.counts["steps"],
        "bytes": sum(s.bytes for s in manifest.shards),
        "created_ns": now_ns,
    }
    tables = {
        "snapshot_members": pa.Table.from_pylist(members, SNAPSHOT_MEMBERS.schema),
        "snapshots": pa.Table.from_pylist([row], SNAPSHOTS.schema),
    }
    holds = _holds(manifest)

    def unless_erased(table: str) -> Callable[[int], pa.Table]:
        def plan(_version: int) -> pa.Table:
            lake.tombstones.refuse(holds, f"snapshot {manifest.name}")
            return tables[table]

        return plan

    for table in tables:
        lake.settle(table, unless_erased(table), {"digest": [digest]})
