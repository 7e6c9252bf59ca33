"""From a spec and a lake to a published, registered snapshot.

The bytes depend on spec, table versions and rows alone: no clock, no host, no order of files. A snapshot
appears whole (folder renamed, or manifest put last) or not at all.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lwd_core.errors import UserError
from lwd_core.lake.query import Unreadable
from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import ErasedMeanwhile
from lwd_core.snapshots.discount import resolved
from lwd_core.snapshots.episode_rows import read_rows
from lwd_core.snapshots.frames import FrameTable, pin_frames
from lwd_core.snapshots.manifest import counts_of, member_of, tensors_of
from lwd_core.snapshots.publish import Staging, release
from lwd_core.snapshots.resample import resample
from lwd_core.snapshots.sample import encode
from lwd_core.snapshots.select import NoEpisodes, pin, require_one_meaning, selected
from lwd_core.snapshots.shard_writer import ShardWriter
from lwd_core.snapshots.sight import Sight
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.snapshots.statistics import NoRows, Statistics
from lwd_core.storage.location import open_location
from storage_schemas.snapshot import Manifest, Member, Moments
from storage_schemas.vocabulary import Split

STEPS_AT_ONCE = 1_000_000
WAITS_S = (0.1, 0.5, 2.0, 5.0, 15.0)  # for an erasure at work; one that was cut off is another's to finish
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
    place = open_location(root)
    waits = iter(WAITS_S)
    while True:
        erasures = lake.tombstones.count()
        staging = Staging(place, now_ns)
        try:
            manifest = _write(lake, spec, pin(lake, spec, versions), staging, progress)
            release(lake, staging, manifest, place, now_ns)
        except ErasedMeanwhile:
            wait_s = next(waits, None)
            if versions is not None or wait_s is None:
                raise
            time.sleep(wait_s)  # the erasure is still at work: its frames move, then it is done
            continue
        except (UserError, *Unreadable, FileNotFoundError):
            if versions is not None or lake.tombstones.count() == erasures:
                raise
            continue  # an erasure took what it was built from: once more from what is left
        finally:
            staging.discard()
        return Snapshot.open(root, manifest.digest)


def _write(
    lake: Lake,
    spec: SnapshotSpec,
    versions: Mapping[str, int],
    staging: Staging,
    progress: Progress | None,
) -> Manifest:
    episodes = selected(lake, spec, versions)
    # rows of an erasure at work are still there
    erased = lake.tombstones.buried(e["episode_id"] for e in episodes)
    episodes = [e for e in episodes if e["episode_id"] not in erased]
    if not episodes:
        raise NoEpisodes(f"spec {spec.name!r}: no episode of the lake fits; loosen its filters")
    require_one_meaning(episodes)
    if all(e["split"] == Split.HOLDOUT for e in episodes):
        raise UserError(f"spec {spec.name!r}: every episode is held out; lower `holdout`")
    spec = resolved(spec, episodes)
    limit = int(spec.shard_mb * 1_000_000)
    writers = {split: ShardWriter(split, limit, staging.put) for split in (Split.TRAIN, Split.HOLDOUT)}
    members: list[Member] = []
    some_seen = False
    stats = Statistics()
    frames, sight = FrameTable(), Sight(lake, spec, strict=True)
    for group in _groups(episodes):
        for episode, rows in zip(group, read_rows(lake, spec, group, versions), strict=True):
            rows = resample(sight.of(rows, episode), episode, spec.frame_rate)
            tensors = tensors_of(rows)
            some_seen = some_seen or bool(tensors["seen"].any() if "seen" in tensors else True)
            if episode["split"] == Split.TRAIN:
                stats.add(episode["embodiment"], tensors)
            data = encode(tensors | frames.tensors(rows.frames))
            place = writers[episode["split"]].add(f"{episode['episode_id']}.safetensors", data, rows.steps)
            members.append(member_of(episode, tensors, spec.frame_rate, place))
            if progress:
                progress(len(members), len(episodes))
    for writer in writers.values():
        writer.close()
    if not some_seen:
        raise UserError(
            f"spec {spec.name!r}: no row shows what its cameras {', '.join(spec.cameras)} must "
            f"({_said(sight.unseen)}); select robots that were photographed, or ask `frame_age_ms` for less"
        )
    return Manifest(
        name=spec.name,
        spec=spec.canonical(),
        versions=dict(versions),
        state_width=max(m.state_width for m in members),
        action_width=max(m.action_width for m in members),
        counts=counts_of(members) | _copies(episodes) | sight.facts(),
        stats=_moments(stats),
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


def _copies(episodes: list[dict[str, Any]]) -> dict[str, int]:
    """How many episodes were left out because they are the recording of one that is in; nothing for none."""
    copies = sum(episode["copies"] for episode in episodes)
    return {"copies_left_out": copies} if copies else {}


def _said(unseen: Mapping[str, int]) -> str:
    return "; ".join(f"{why} at {rows} rows" for why, rows in unseen.items())


def _moments(statistics: Statistics) -> dict[str, dict[str, Moments]]:
    try:
        return statistics.result()
    except NoRows as none:
        raise UserError(
            f"embodiment {', '.join(none.names)}: not one valid action to train on, all rows are masked; see "
            "why with `lwd logs`, mend the embodiment file and `lwd logs remap`, or leave its logs out"
        ) from None
