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
from lwd_core.snapshots.frames import FrameTable
from lwd_core.snapshots.manifest import tensors_of
from lwd_core.snapshots.resample import resample
from lwd_core.snapshots.select import NoEpisodes, pin, read_rows, selected
from lwd_core.snapshots.shard_bytes import samples
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import find_checkpoint
from lwd_core.training.values import TrainedValue, decoded, has_critic
from storage_schemas.vocabulary import Source, Split

#: Attempts that a policy made; demonstrations and play are other episodes from the start on.
_ATTEMPTS = (Source.ROLLOUT, Source.ONLINE)
_BATCH = 50  # episodes whose rows are in memory at a time

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Track:
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
    """``where`` they are from, in words; where there are none it says what to do."""

    tracks: tuple[Track, ...]
    where: str


def held_out(checkpoint: Checkpoint, settings: Settings, *, most: int = 1_000) -> HeldOut:
    """The held-out split of a run's snapshots; else what the lake holds of the same tasks and robots that no
    critic on the way to it learned from. At most ``most`` episodes, evenly picked."""
    config = TrainConfig.parse(checkpoint.about["config"])
    digests = [config.offline, *([config.online] if config.online else [])]
    own = [Snapshot.open(settings.snapshots, digest) for digest in digests]
    learned = _learned(checkpoint, settings)
    critic, gamma = TrainedValue(checkpoint), config.gamma or own[0].spec.gamma
    parts = [
        _Part(
            snapshot,
            [m for m in snapshot.episodes if m.split == Split.HOLDOUT and m.episode_id not in learned],
        )
        for snapshot in own
    ]
    chosen = [(part, member) for part in parts for member in part.members]
    attempts = [(part, member) for part, member in chosen if member.source in _ATTEMPTS]
    chosen = _evenly(attempts or chosen, most)
    if chosen:
        tracks = [
            track
            for part in parts
            for track in part.tracks(critic, settings, [m for p, m in chosen if p is part], gamma)
        ]
        names = " and ".join(digest[:12] for digest in digests)
        return HeldOut(tuple(tracks), f"held out of snapshot {names}")
    try:
        return _rest_of_the_lake(critic, settings, own[0], learned, gamma, most)
    except NoEpisodes:
        return HeldOut(
            (), "none: the snapshot holds nothing out, and the lake has no other; `holdout: 0.1` in its spec"
        )


@dataclass(frozen=True, eq=False)
class _Part:
    snapshot: Snapshot
    members: list[Any]

    def tracks(
        self, critic: TrainedValue, settings: Settings, members: Sequence[Any], gamma: float
    ) -> Iterator[Track]:
        members = sorted(members, key=lambda m: (m.shard, m.index))
        names = [shard.uri for shard in self.snapshot.manifest.frame_shards]
        frames = _Frames(settings, self.snapshot.spec.cameras, names)
        for member, tensors in zip(members, samples(self.snapshot, members), strict=True):
            yield _track(critic, frames, vars(member), tensors, gamma)


def _rest_of_the_lake(
    critic: TrainedValue, settings: Settings, like: Snapshot, learned: set[str], gamma: float, most: int
) -> HeldOut:
    spec = like.spec.model_copy(
        update={
            "embodiments": tuple(sorted({m.embodiment for m in like.episodes})),
            "tasks": tuple(like.tasks),
            "sources": _ATTEMPTS,
            "holdout": 0.0,
            **dict.fromkeys(("outcomes", "sites", "robots", "days"), ()),
            **{name: SnapshotSpec.model_fields[name].default for name in ("where", "buffers")},
        }
    )
    lake = Lake.open(settings.lake)
    versions = pin(lake, spec)
    episodes = [e for e in selected(lake, spec, versions) if e["episode_id"] not in learned]
    if not episodes:
        raise NoEpisodes("the run learned from all of them")
    tracks, chosen = [], _evenly(episodes, most)
    for first in range(0, len(chosen), _BATCH):
        group = chosen[first : first + _BATCH]
        for episode, rows in zip(group, read_rows(lake, spec, group, versions), strict=True):
            kept = resample(rows, episode, spec.frame_rate)
            table = FrameTable(spec.cameras)
            tensors = tensors_of(kept) | table.tensors(kept.frames)
            frames = _Frames(settings, spec.cameras, table.uris)
            tracks.append(_track(critic, frames, episode, tensors, gamma))
    return HeldOut(tuple(tracks), "of the lake, never learned from")


@dataclass(frozen=True)
class _Frames:
    """Where an episode's pictures are, for a critic that sees."""

    settings: Settings
    cameras: Sequence[str]
    names: Sequence[str]


def _track(
    critic: TrainedValue, frames: _Frames, facts: Mapping[str, Any], tensors: Tensors, gamma: float
) -> Track:
    images = None
    if critic.vision is not None:
        lake = open_location(frames.settings.lake)
        images = decoded(lake, critic.vision, frames.cameras, frames.names, tensors)
    value = critic(torch.from_numpy(np.array(tensors["state"])), images, facts["instruction"]).numpy()
    steps = len(tensors["reward"])
    valid = np.asarray(tensors["valid"][:steps], bool)
    valid = valid if valid.any() else np.ones(steps, bool)
    return Track(
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
        config = TrainConfig.parse(here.about["config"])
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
