"""From a spec and a lake to a published, registered snapshot.

The bytes depend on spec, table versions and rows alone: no clock, no host, no order of files. A snapshot
appears whole (folder renamed, or manifest put last) or not at all.
"""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake.place import Place, open_place
from lwd_core.lake.store import Lake
from lwd_core.snapshots.frames import FrameTable, pin_frames
from lwd_core.snapshots.moments import MomentsAccumulator
from lwd_core.snapshots.resample import resample
from lwd_core.snapshots.sample import encode
from lwd_core.snapshots.select import EpisodeRows, pin, read_rows, selected
from lwd_core.snapshots.shards import ShardWriter
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.canonical import canonical_json
from storage_schemas.snapshot import MANIFEST, Manifest, Member, Moments
from storage_schemas.tables import SNAPSHOT_MEMBERS, SNAPSHOTS
from storage_schemas.vocabulary import SnapshotState, Split

STEPS_AT_ONCE = 1_000_000
Progress = Callable[[int, int], None]


def build_snapshot(
    lake: Lake,
    spec: SnapshotSpec,
    root: str,
    *,
    now_ns: int,
    versions: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Build, publish under ``root`` and register; the same spec and versions again change nothing.

    ``versions`` pins tables at older versions, to rebuild an old snapshot. ``progress(done, all)``
    counts episodes. UserError if nothing fits the spec or a label is missing.
    """
    place = open_place(root)
    staging = Staging(place)
    try:
        manifest = _write(lake, spec, pin(lake, spec, versions), staging, progress)
        staging.publish(manifest)
    finally:
        staging.discard()
    register(lake, manifest, place.path(manifest.digest), now_ns)
    return Snapshot.open(root, manifest.digest)


class Staging:
    """Where shards wait until the manifest is known: beside their final place, under a name of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._token = f".building-{uuid.uuid4().hex[:12]}"
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


def register(lake: Lake, manifest: Manifest, uri: str, now_ns: int) -> None:
    """Enter it in the lake's tables, once. A withdrawn snapshot stays withdrawn."""
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
        "uri": uri,
        "state": SnapshotState.VALID.value,
        "successor": None,
        "spec": SnapshotSpec.parse(dict(manifest.spec)).to_json(),
        "versions": canonical_json(manifest.versions).decode(),
        "episodes": len(manifest.episodes),
        "steps": manifest.counts["steps"],
        "bytes": sum(s.bytes for s in manifest.shards),
        "created_ns": now_ns,
    }
    lake.replace(
        "snapshot_members", pa.Table.from_pylist(members, SNAPSHOT_MEMBERS.schema), {"digest": [digest]}
    )
    lake.replace("snapshots", pa.Table.from_pylist([row], SNAPSHOTS.schema), {"digest": [digest]})


def _write(
    lake: Lake,
    spec: SnapshotSpec,
    versions: Mapping[str, int],
    staging: Staging,
    progress: Progress | None,
) -> Manifest:
    episodes = selected(lake, spec, versions)
    if all(e["split"] == Split.HOLDOUT for e in episodes):
        raise UserError(f"spec {spec.name!r}: every episode is held out; lower `holdout`")
    limit = int(spec.shard_mb * 1_000_000)
    writers = {split: ShardWriter(split, limit, staging.put) for split in (Split.TRAIN, Split.HOLDOUT)}
    members: list[Member] = []
    stats = _Stats()
    frames = FrameTable(spec.cameras)
    for group in _groups(episodes):
        for episode, rows in zip(group, read_rows(lake, spec, group, versions), strict=True):
            rows = resample(rows, episode, spec.frame_rate)
            if episode["split"] == Split.TRAIN:
                stats.add(episode["embodiment"], rows)
            tensors = _tensors(rows) | frames.tensors(rows.frames)
            data = encode(tensors)
            place = writers[episode["split"]].add(
                f"{episode['episode_id']}.safetensors", data, len(rows.action)
            )
            members.append(
                _member(episode, rows, spec.frame_rate, place.shard, place.index, place.offset, place.bytes)
            )
            if progress:
                progress(len(members), len(episodes))
    for writer in writers.values():
        writer.close()
    return Manifest(
        name=spec.name,
        spec=spec.canonical(),
        versions=dict(versions),
        state_width=max(m.state_width for m in members),
        action_width=max(m.action_width for m in members),
        counts=counts_of(members),
        stats=stats.result(),
        shards=tuple(s for w in writers.values() for s in w.shards),
        frame_shards=pin_frames(lake.place, frames.uris),
        episodes=tuple(members),
    )


def _groups(episodes: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Runs of episodes of about ``STEPS_AT_ONCE`` steps: what is held in memory at once."""
    group: list[dict[str, Any]] = []
    steps = 0
    for episode in episodes:
        if group and steps + episode["steps"] > STEPS_AT_ONCE:
            yield group
            group, steps = [], 0
        group.append(episode)
        steps += episode["steps"]
    yield group


def _tensors(rows: EpisodeRows) -> dict[str, np.ndarray]:
    return {
        "state": rows.state,
        "action": rows.action,
        "reward": rows.reward,
        "human": rows.human,
        "valid": rows.valid,
        "gap": rows.gap,
        "t_ns": rows.t_ns,
    }


def _member(
    episode: Mapping[str, Any],
    rows: EpisodeRows,
    frame_rate: float | None,
    shard: str,
    index: int,
    offset: int,
    size: int,
) -> Member:
    copied = (
        "episode_id", "log_id", "site", "day", "robot_id", "embodiment", "task", "instruction",
        "policy_id", "source", "outcome", "success", "end", "buffer",
    )  # fmt: skip
    return Member(
        **{name: episode[name] for name in copied},
        control_hz=frame_rate or episode["control_hz"],
        split=str(episode["split"]),
        steps=len(rows.action),
        rows=len(rows.state),
        human_steps=int(rows.human.sum()),
        state_width=rows.state.shape[1],
        action_width=rows.action.shape[1],
        shard=shard,
        index=index,
        offset=offset,
        bytes=size,
    )


def counts_of(members: list[Member]) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "episodes": len(members),
        "steps": sum(m.steps for m in members),
        "human_steps": sum(m.human_steps for m in members),
        "logs": len({m.log_id for m in members}),
    }
    for name in ("split", "source", "outcome", "task", "site", "robot_id", "embodiment", "buffer", "end"):
        counts[f"episodes_by_{name}"] = dict(sorted(Counter(getattr(m, name) for m in members).items()))
    return counts


class _Stats:
    """Norm statistics of state and action per embodiment."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, MomentsAccumulator]] = {}

    def add(self, embodiment: str, rows: EpisodeRows) -> None:
        valid = rows.valid[: len(rows.action)]
        for name, values in (("state", rows.state[rows.valid]), ("action", rows.action[valid])):
            parts = self._parts.setdefault(embodiment, {})
            if name not in parts:
                parts[name] = MomentsAccumulator(values.shape[1])
            if parts[name].width != values.shape[1]:
                raise UserError(
                    f"embodiment {embodiment}: {name} is {parts[name].width} wide in one episode and "
                    f"{values.shape[1]} in another; give the changed robot an embodiment of its own"
                )
            parts[name].add(values)

    def result(self) -> dict[str, dict[str, Moments]]:
        return {e: {name: part.result() for name, part in parts.items()} for e, parts in self._parts.items()}
