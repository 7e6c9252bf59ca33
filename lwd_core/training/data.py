"""What a run learns from: loaders over snapshots, their instructions embedded, the normaliser."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.features.extractor import extractor_of
from lwd_core.features.loader import FeatureLoader
from lwd_core.features.table import FeatureTable
from lwd_core.loader.filmed import Filmed
from lwd_core.loader.growing import GrowingLoader
from lwd_core.loader.image_loader import ImageLoader
from lwd_core.loader.mixed import MixedLoader, Part, parts
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.rl.batch import Batch, prepare
from lwd_core.rl.encoders import VisionConfig
from lwd_core.rl.fields import Measured, PolicyUnits
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.places import Places
from lwd_core.rl.policy import Normaliser
from lwd_core.snapshots.shard_reader import load
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.storage.location import Location
from lwd_core.training.config import TrainConfig
from lwd_core.training.workers import Share
from storage_schemas.vocabulary import Split, Stage


@dataclass(frozen=True)
class Film:
    """Camera frames of a run: how the networks take them, and the lake that keeps them."""

    vision: VisionConfig
    lake: Location


@dataclass(frozen=True)
class _Stand:
    """What was so when a batch was made: others may have been made since, but not given."""

    loader: dict[str, Any]
    instructions: list[str]
    embeddings: Tensor


class Data:
    """Batches of a run, ready for the losses."""

    def __init__(
        self,
        config: TrainConfig,
        snapshots: list[Snapshot],
        share: Share,
        growing: GrowingLoader | None = None,
        *,
        film: Film | None = None,
        split: str = Split.TRAIN,
    ):
        """``snapshots``: the offline one and, for the online stage, the online one unless it is growing.

        ``film`` adds camera frames.
        """
        self.config, self.snapshots, self.share, self._growing = config, snapshots, share, growing
        self._film, self._split = film, split
        self._features: FeatureTable | None = None
        sizes = [config.batch]
        if config.stage is Stage.ONLINE:
            sizes = list(parts(config.batch, 1 - config.online_share))
        loaders: list[Part] = [
            self._loader(s, n, i) for i, (s, n) in enumerate(zip(snapshots, sizes, strict=False))
        ]
        loaders += [self._filmed(growing)] if growing else []
        self.loader = (
            loaders[0] if len(loaders) == 1 else MixedLoader(*loaders, ratio=1 - config.online_share)
        )
        self._encoder = InstructionEncoder()
        self._embed()
        self._rows = self._shared_rows(sizes)
        # Per part, the last frame a person drove of each episode.
        self._last_by_person = [_last_by_person(s) for s in snapshots] if _asks_who_finished(config) else []
        self._driven = torch.empty(0, dtype=torch.int64)  # the same of the lake that is followed
        self._stand: _Stand | None = None

    @property
    def vision(self) -> VisionConfig | None:
        """How camera frames are taken."""
        return self._film and self._film.vision

    @property
    def chunk(self) -> int:
        """H, frames."""
        return self.config.chunk or self.snapshots[0].spec.chunk

    def batches(self, normaliser: PolicyUnits) -> Iterator[tuple[Mapping[str, Tensor], Batch]]:
        """Raw and prepared batches, without end, from where the loader stands.

        While one is used the next is made.
        """
        made = self._made(normaliser)
        with ThreadPoolExecutor(1, "batch") as thread:
            following = thread.submit(next, made)
            while True:
                raw, batch, self._stand = following.result()
                following = thread.submit(next, made)
                yield raw, batch

    def _made(self, normaliser: PolicyUnits) -> "Iterator[tuple[Mapping[str, Tensor], Batch, _Stand]]":
        for raw in self.loader:
            if len(self.loader.instructions) > len(self._embedded):
                self._embed()
            more = {} if self._rows is None else {"rows": self._rows}
            if normaliser.places:
                more["embodiment"] = self._embodiments(raw, list(normaliser.places))
            if self._last_by_person:
                # What a policy did before a person drove was cut short by that person.
                uncut = raw["human"] | (raw["frame"] > self._driven_until(raw))
                more["finished"] = raw["success"] & uncut
            batch = prepare(
                normaliser.arranged({**raw, **more}),
                normaliser,
                self._embedded,
                self.config.batch,
                self._texts,
            )
            yield raw, batch, self._now()

    def held_out(self, normaliser: PolicyUnits) -> Batch | None:
        """A batch of the first snapshot's held-out episodes, always the same one; None where it has none."""
        snapshot = self.snapshots[0]
        if not any(m.split == Split.HOLDOUT for m in snapshot.episodes):
            return None
        raw = next(iter(self._loader(snapshot, self.config.batch, 0, Split.HOLDOUT)))
        told = torch.tensor([self.instructions.index(text) for text in snapshot.instructions])
        raw = {**raw, "instruction": told[raw["instruction"]]}
        if normaliser.places:
            raw["embodiment"] = self._embodiments(raw, list(normaliser.places))
        raw = normaliser.arranged(raw)
        return prepare(raw, normaliser, self.embeddings, texts=self.instructions)

    @property
    def embeddings(self) -> Tensor:
        """Of ``instructions``, (instructions, E)."""
        return (self._stand or self._now()).embeddings

    @property
    def instructions(self) -> list[str]:
        """Texts the embeddings stand for; more may come while the lake is followed."""
        return (self._stand or self._now()).instructions

    def normaliser(self) -> Normaliser:
        """From the first snapshot's statistics: standardised states; actions by their limits."""
        found = self.measured()
        return Normaliser(found.state["mean"], found.state["std"], found.low, found.high)

    def measured(self, places: Mapping[str, Places] = MappingProxyType({})) -> Measured:
        """The first snapshot's statistics, its embodiments' numbers put in ``places``."""
        manifest = self.snapshots[0].manifest
        names = list(manifest.stats)
        stats = [self.snapshots[0].stats_of(name) for name in names]
        found: dict[str, dict[str, Tensor]] = {}
        widths = (
            next(iter(places.values())).widths if places else (manifest.state_width, manifest.action_width)
        )
        for what, width in zip(("state", "action"), widths, strict=True):
            moments = [s[what] for s in stats]
            if places:
                at = [getattr(places[name], what) for name in names]
                moments = [_spread(m, own, width) for m, own in zip(moments, at, strict=True)]
            counts = [manifest.stats[name][what].count for name in names]
            mean, std = _pooled(moments, counts, width)
            least = {n: _extreme([m[n] for m in moments], width, torch.minimum) for n in ("min", "q01")}
            most = {n: _extreme([m[n] for m in moments], width, torch.maximum) for n in ("max", "q99")}
            found[what] = {"mean": mean, "std": std, **least, **most}
        low, high = found["action"]["min"], found["action"]["max"]
        if bool((low >= -1).all() and (high <= 1).all()):
            # Already scaled by whoever drives the robot; what was seen need not be all that is allowed.
            low, high = -torch.ones_like(low), torch.ones_like(high)
        still = high - low < 1e-6
        low, high = torch.where(still, low - 1, low), torch.where(still, high + 1, high)
        return Measured(found["state"], found["action"], low, high, places)

    def embodiments(self) -> dict[str, dict[str, int]]:
        """Widths of state and action of each embodiment seen and, for cameras, of their pictures: by
        ``NAME.height`` and ``NAME.width``."""
        found = {
            m.embodiment: {"state": m.state_width, "action": m.action_width}
            for s in self.snapshots
            for m in s.episodes
        }
        for (name, camera), (height, width) in self._frame_sizes().items():
            found[name] |= {f"{camera}.height": height, f"{camera}.width": width}
        return found

    def _frame_sizes(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Height and width of what each camera of an embodiment shows the run; UserError for two of one."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        cameras = self._film.vision.cameras if self._film else ()
        for snapshot in self.snapshots:
            for name, sizes in snapshot.frame_sizes.items():
                for camera in sizes.keys() & set(cameras):
                    size, known = sizes[camera], found.setdefault((name, camera), sizes[camera])
                    if size != known:
                        raise UserError(
                            f"run {self.config.run}: camera {camera} of {name} shows {known[1]}x{known[0]} "
                            f"pixels in one snapshot and {size[1]}x{size[0]} in the other; build them alike"
                        )
        return found

    @property
    def drawn(self) -> list[list[Any]]:
        """While the lake is followed, [first batch, table versions drawn from since], rising."""
        if self._growing is None:
            return []
        state = self.state_dict()["online"]
        return [entry for entry in state["log"] if entry[0] < max(state["step"], 1)]

    def episodes_of(self, raw: Mapping[str, Tensor]) -> list[str]:
        """The episode of each transition of a batch."""
        known = [[m.episode_id for m in s.episodes] for s in self.snapshots]
        if self._growing is not None:
            known.append(list(self._growing.episode_ids))
        part = raw.get("part", torch.zeros_like(raw["episode"]))
        return [known[p][e] for p, e in zip(_numbers(part), _numbers(raw["episode"]), strict=True)]

    def figures(self, raw: Mapping[str, Tensor]) -> dict[str, float]:
        """What a batch says of the lake that is followed."""
        if self._growing is None:
            return {}
        return {
            "lake_version": float(raw["version"].max()),
            "online_episodes": float(len(self._growing.episode_ids)),
        }

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands after the last batch that was given."""
        return (self._stand or self._now()).loader

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly after the batch the state was taken at."""
        self.loader.load_state_dict(state)
        self._stand = None

    def _now(self) -> "_Stand":
        return _Stand(self.loader.state_dict(), self._texts, self._embedded)

    def _embed(self) -> None:
        self._texts = list(self.loader.instructions)
        self._embedded = self._encoder(self._texts)

    def _embodiments(self, raw: Mapping[str, Tensor], names: list[str]) -> Tensor:
        """Each transition's embodiment (B,), counted in ``names``."""
        known = [[m.embodiment for m in s.episodes] for s in self.snapshots]
        if self._growing is not None:
            known.append(list(self._growing.embodiments))
        part = raw.get("part", torch.zeros_like(raw["episode"]))
        found = [known[p][e] for p, e in zip(_numbers(part), _numbers(raw["episode"]), strict=True)]
        if strange := set(found) - set(names):
            raise UserError(
                f"run {self.config.run}: embodiment {min(strange)} is none of those its policy began with, "
                f"{', '.join(names)}; leave it out of the snapshot, or begin with stage sft"
            )
        return torch.tensor([names.index(name) for name in found])

    def _driven_until(self, raw: Mapping[str, Tensor]) -> Tensor:
        part = raw.get("part", torch.zeros_like(raw["episode"]))
        everyone = list(self._last_by_person)
        if self._growing:
            if len(self._driven) != len(self._growing.last_by_person):
                self._driven = torch.tensor(self._growing.last_by_person)
            everyone.append(self._driven)
        known = torch.stack([last[raw["episode"].clamp_max(len(last) - 1)] for last in everyone])
        return known.gather(0, part.unsqueeze(0)).squeeze(0)

    def _loader(self, snapshot: Snapshot, size: int, part: int, split: str | None = None) -> Part:
        config = self.config
        loader = TransitionLoader(
            snapshot,
            size,
            config.seed + part,
            chunk=config.chunk,
            n_step=config.n_step,
            gamma=config.gamma,
            stride=config.stride,
            rank=self.share.rank,
            world=self.share.world,
            split=split or self._split,
            workers=1,
        )
        return self._filmed(loader)

    def _filmed(self, loader: Filmed) -> Part:
        """With the frames the run's networks take, if they take some."""
        film, following = self._film, self.config.stage is not Stage.SFT
        if film is None:
            return loader
        if film.vision.pretrained is not None:
            if self._features is None:
                self._features = FeatureTable(film.lake, extractor_of(film.vision))
            # episodes that come while it learns are looked at as they do
            making = loader is self._growing
            cameras = film.vision.cameras
            return FeatureLoader(loader, self._features, cameras=cameras, following=following, making=making)
        return ImageLoader(
            loader,
            film.lake,
            height=film.vision.height,
            width=film.vision.width,
            cameras=film.vision.cameras,
            following=following,
        )

    def _shared_rows(self, sizes: list[int]) -> Tensor | None:
        rank, world = self.share.rank, self.share.world
        if world == 1:
            return None
        begins = [sum(sizes[:i]) for i in range(len(sizes))]
        own = [
            torch.arange(n // world) + begin + rank * (n // world)
            for begin, n in zip(begins, sizes, strict=True)
        ]
        return torch.cat(own)


def _asks_who_finished(config: TrainConfig) -> bool:
    return config.algorithm.made.clones == "finished"


def _last_by_person(snapshot: Snapshot) -> Tensor:
    """(episodes,) i64, -1 where nobody drove; read shard by shard."""
    last = torch.full((len(snapshot.episodes),), -1)
    shards: dict[str, list[int]] = {}
    for place, member in enumerate(snapshot.episodes):
        shards.setdefault(member.shard, []).append(place)
    for places in shards.values():
        rows = load(snapshot, places)
        driven = np.flatnonzero(rows["human"])
        episode = np.searchsorted(rows.first, driven, side="right") - 1
        within = np.full(len(rows.first), -1)
        np.maximum.at(within, episode, driven - rows.first[episode])
        last[torch.as_tensor(rows.member).long()] = torch.as_tensor(within)
    return last


def _spread(moments: Mapping[str, np.ndarray], places: Sequence[int], width: int) -> dict[str, np.ndarray]:
    """An embodiment's moments in places of their own; what it hasn't is not-a-number."""
    found = {name: np.full(width, np.nan, np.float32) for name in moments}
    for name, values in moments.items():
        found[name][list(places)] = values
    return found


def _pooled(moments: list[dict[str, np.ndarray]], counts: list[int], width: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of several embodiments' states together; a dim counts where it exists."""
    rows, first, second = torch.zeros(3, width, dtype=torch.float64).unbind()
    for moment, count in zip(moments, counts, strict=True):
        mean, std = (torch.as_tensor(moment[name]).double() for name in ("mean", "std"))
        has = ~mean.isnan()
        rows[: len(mean)] += count * has
        first[: len(mean)] += count * mean.nan_to_num(0.0)
        second[: len(mean)] += count * (std**2 + mean**2).nan_to_num(0.0)
    mean = first / rows.clamp_min(1)
    deviation = (second / rows.clamp_min(1) - mean**2).clamp_min(0).sqrt()
    return mean.float(), torch.where(rows > 0, deviation, 1.0).float()


def _numbers(values: Tensor) -> list[int]:
    return np.asarray(values).tolist()


def _extreme(values: list[np.ndarray], width: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Smallest or largest of several embodiments' action dims; 0 where none has the dim."""
    found = torch.full((width,), torch.nan)
    for value in map(torch.as_tensor, values):
        own = found[: len(value)]
        both = torch.where(own.isnan(), value, choose(own, value))
        found[: len(value)] = torch.where(value.isnan(), own, both)
    return found.nan_to_num(0.0)
