"""Episodes a run's critic did not learn from, and what it expected along them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.snapshots.episode_rows import read_rows
from lwd_core.snapshots.frames import FrameTable
from lwd_core.snapshots.manifest import tensors_of
from lwd_core.snapshots.resample import resample
from lwd_core.snapshots.select import NoEpisodes, pin, selected
from lwd_core.snapshots.shard_reader import samples
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import Location, open_location
from lwd_core.training.checkpoint import Checkpoint, find_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.values import TrainedValue, decoded, has_critic, unseen
from storage_schemas.snapshot import Member
from storage_schemas.vocabulary import Source, Split

#: Attempts that a policy made; demonstrations and play are other episodes from the start on.
_ATTEMPTS = (Source.ROLLOUT, Source.ONLINE)
_BATCH = 50  # episodes whose rows are in memory at a time

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class EpisodeValues:
    """One episode: at its T valid states V (T,) and the discounted reward that came (T,)."""

    episode_id: str
    task: str
    success: bool
    helped: bool
    value: np.ndarray
    came: np.ndarray

    def at(self, share: float) -> float:
        """V after this share of the episode."""
        return float(self.value[round(share * (len(self.value) - 1))])


@dataclass(frozen=True)
class HeldOut:
    """``where`` they are from, in words; where there are none, what to do about it."""

    tracks: tuple[EpisodeValues, ...]
    where: str


def held_out(checkpoint: Checkpoint, settings: Settings, *, most: int = 1_000) -> HeldOut:
    """The held-out split of a run's snapshots; else what the lake holds of the same tasks and robots that no
    critic on the way to it learned from. At most ``most`` episodes, evenly picked."""
    config = TrainConfig.parse(checkpoint.about["config"], addresses=False)
    digests = [config.offline, *([config.online] if config.online else [])]
    own = [Snapshot.open(settings.snapshots, digest) for digest in digests]
    learned = _learned(checkpoint, settings)
    where = f"held out of snapshot {' and '.join(digest[:12] for digest in digests)}"
    found = _split(own, learned, most)
    if not found:
        where, found = "of the lake, never learned from", _rest(settings, own[0], learned, most)
    critic, gamma, lake = (
        TrainedValue(checkpoint),
        config.gamma or own[0].spec.gamma,
        open_location(settings.lake),
    )
    tracks = tuple(_track(critic, gamma, lake, sample) for part in found for sample in part)
    if not tracks:
        where = "the snapshot holds nothing out, the lake has no other; set `holdout: 0.1` in the spec"
    return HeldOut(tracks, where)


@dataclass(frozen=True)
class _Sample:
    """An episode's facts and tensors; the cameras it has, and the names of the shards its frames are in."""

    facts: Mapping[str, Any]
    tensors: Tensors
    cameras: Sequence[str]
    shards: Sequence[str]


def _split(own: Sequence[Snapshot], learned: set[str], most: int) -> list[Iterator[_Sample]]:
    """The held-out split of each snapshot; no parts if none has any."""
    held = [
        (snapshot, member)
        for snapshot in own
        for member in snapshot.episodes
        if member.split == Split.HOLDOUT and member.episode_id not in learned
    ]
    chosen = _evenly([(s, m) for s, m in held if m.source in _ATTEMPTS] or held, most)
    parts = [(snapshot, [m for s, m in chosen if s is snapshot]) for snapshot in own]
    return [_of_snapshot(snapshot, members) for snapshot, members in parts if members]


def _of_snapshot(snapshot: Snapshot, members: list[Member]) -> Iterator[_Sample]:
    members = sorted(members, key=lambda m: (m.shard, m.index))
    shards = [shard.uri for shard in snapshot.manifest.frame_shards]
    for member, tensors in zip(members, samples(snapshot, members), strict=True):
        yield _Sample(vars(member), tensors, snapshot.spec.cameras, shards)


def _rest(settings: Settings, like: Snapshot, learned: set[str], most: int) -> list[Iterator[_Sample]]:
    """Policies' attempts at the snapshot's tasks that the lake has and that were not learned from, in parts
    that fit memory; none where there is no such episode."""
    spec = like.spec.model_copy(
        update={
            "embodiments": tuple(sorted({m.embodiment for m in like.episodes})),
            "tasks": tuple(like.tasks),
            "sources": _ATTEMPTS,
            **dict.fromkeys(("outcomes", "sites", "robots", "days"), ()),
            **{name: SnapshotSpec.model_fields[name].default for name in ("where", "buffers", "holdout")},
        }
    )
    lake = Lake.open(settings.lake)
    versions = pin(lake, spec)
    try:
        found = selected(lake, spec, versions)
    except NoEpisodes:
        return []
    chosen = _evenly([e for e in found if e["episode_id"] not in learned], most)
    groups = [chosen[first : first + _BATCH] for first in range(0, len(chosen), _BATCH)]
    return [_of_lake(lake, spec, group, versions) for group in groups]


def _of_lake(
    lake: Lake, spec: SnapshotSpec, episodes: Sequence[Mapping[str, Any]], versions: Mapping[str, int]
) -> Iterator[_Sample]:
    for episode, rows in zip(episodes, read_rows(lake, spec, episodes, versions), strict=True):
        kept, table = resample(rows, episode, spec.frame_rate), FrameTable()
        tensors = tensors_of(kept) | table.tensors(kept.frames)
        yield _Sample(episode, tensors, spec.cameras, table.uris)


def _track(critic: TrainedValue, gamma: float, lake: Location, sample: _Sample) -> EpisodeValues:
    facts, tensors, images, there = sample.facts, sample.tensors, None, None
    steps = len(tensors["reward"])
    valid = np.asarray(tensors["valid"][:steps], bool)
    if critic.vision is not None:
        images, there = decoded(lake, critic.vision, sample.cameras, sample.shards, tensors)
        valid = valid & ~unseen(there)[:steps]
    states = torch.from_numpy(np.array(tensors["state"]))
    value = critic(states, images, facts["instruction"], there).numpy()
    valid = valid if valid.any() else np.ones(steps, bool)
    return EpisodeValues(
        facts["episode_id"],
        facts["task"],
        bool(facts["success"]),
        bool(tensors["human"].any()),
        value[:steps][valid].astype(np.float64),
        to_come(tensors["reward"], gamma)[valid],
    )


def to_come(reward: np.ndarray, gamma: float) -> np.ndarray:
    """Σ γ^i r_{t+i} to the end of the episode at each of its T steps: (T,)."""
    backwards = accumulate(reward[::-1].tolist(), lambda later, now: now + gamma * later)
    return np.fromiter(backwards, np.float64, len(reward))[::-1]


def _learned(checkpoint: Checkpoint, settings: Settings) -> set[str]:
    """Episodes that the critic, or one it began as, was trained on."""
    found: set[str] = set()
    here: Checkpoint | None = checkpoint
    while here is not None and has_critic(here):
        config = TrainConfig.parse(here.about["config"], addresses=False)
        for digest in (config.offline, config.online):
            if digest:
                snapshot = Snapshot.open(settings.snapshots, digest, verify=False)
                found |= {m.episode_id for m in snapshot.episodes if m.split == Split.TRAIN}
        if config.follow is not None and here.about.get("drawn"):
            lake = Lake.open(settings.lake)
            spec = SnapshotSpec.parse(dict(config.follow))
            versions = pin(lake, spec, here.about["drawn"][-1][1])
            found |= {e["episode_id"] for e in selected(lake, spec, versions)}
        here = _before(config, settings)
    return found


def _before(config: TrainConfig, settings: Settings) -> Checkpoint | None:
    """What a run went on from, as far as it has come by now; None where it is gone."""
    try:
        return find_checkpoint(settings.checkpoints, config.init) if config.init else None
    except UserError:
        return None


def _evenly(found: Sequence[Any], most: int) -> list[Any]:
    places = np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)
    return [found[i] for i in places]
