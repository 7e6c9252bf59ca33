"""Batches from episodes as the lake receives them: the online part of a mixture, while training runs.

What a version of the lake holds for the spec, in an order of its own, is a pool; which version each batch
drew from is kept. So the sequence follows from seed, lake and that log, and a later run draws the same.
A thread makes the next pool while batches are drawn from the present one: half a second for 3,000 episodes.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.episode_columns import EpisodeColumns
from lwd_core.loader.images import FrameIndex
from lwd_core.loader.order import SEQUENCE, Strata, agree
from lwd_core.loader.pool import RowPool, named
from lwd_core.loader.sampler import BLOCK
from lwd_core.loader.transition_loader import TensorBatch
from lwd_core.loader.transitions import Expansion
from lwd_core.snapshots.episode_arrays import allocate, assemble, fill
from lwd_core.snapshots.episode_rows import read_rows
from lwd_core.snapshots.frames import FrameTable
from lwd_core.snapshots.manifest import member_of, tensors_of
from lwd_core.snapshots.resample import resample
from lwd_core.snapshots.rule import spoken
from lwd_core.snapshots.select import NoEpisodes, pin, require_one_meaning, selected
from lwd_core.snapshots.shard_writer import Placed
from lwd_core.snapshots.sight import Sight, Sizes
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.snapshot import Member

Versions = Mapping[str, int]


@dataclass(frozen=True)
class _Pool:
    """What one version of the lake holds; ``episodes`` there have been up to it, and their ``frames``."""

    rows: RowPool
    strata: Strata
    episodes: int
    frames: FrameIndex | None


class GrowingLoader:
    """An endless iterator over the episodes of a lake that fit ``spec``, new ones included as they appear.

    Before batch 0 and every ``poll_every`` batches it asks ``newest(step)`` for the table versions to draw
    from: by default the lake's newest; ranks must share one answer. They are drawn from at once at batch 0,
    else as many batches later. Buffers, tasks and transitions are drawn
    as by ``TransitionLoader``; the spec's chunk, stride, n_step and gamma hold. Where the spec names a reward
    layer, an episode appears once it is labelled. All rows are held in memory, of frames where they lie.
    ``told`` hears of every pool as it is taken up: the first batch drawn from it, its versions, and how many
    episodes there have been. Of cameras that show pictures of other ``sizes`` than those nothing is drawn;
    ``unseen`` counts the rows that are left out for what their cameras show, by reason.

    A batch also has ``version`` (B,) i64, the version of the table ``episodes``. ``episode`` counts in
    ``episode_ids``, of each of which ``last_by_person`` is the last frame a person drove, -1 for none, and
    ``embodiments`` the robot's; these and the other lists only ever grow at their end.
    """

    def __init__(
        self,
        lake: Lake,
        spec: SnapshotSpec,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        poll_every: int = 50,
        newest: Callable[[int], Versions] | None = None,
        told: Callable[[int, Versions, int], None] = lambda *_: None,
        sizes: Sizes | None = None,
    ) -> None:
        if batch_size % world or not 0 <= rank < world:
            raise UserError(f"batch_size {batch_size}: not divisible among {world} ranks, or no rank {rank}")
        self.batch_size, self.step = batch_size, 0
        self.instructions: list[str] = []
        self.tasks: list[str] = []
        self.policies: list[str] = []
        self.episode_ids: list[str] = []
        self.last_by_person: list[int] = []
        self.embodiments: list[str] = []
        self._lake, self._spec, self._seed, self._poll = lake, _labelled(spec), seed, poll_every
        self._rows = slice(rank * (batch_size // world), (rank + 1) * (batch_size // world))
        self._told = told
        self._newest = newest or (lambda _step: pin(lake, self._spec))
        self._held: dict[str, tuple[Member, dict[str, np.ndarray]]] = {}
        self._readings: dict[str, str | None] = {}
        self._shards, self._sight = FrameTable(), Sight(lake, self._spec, sizes, strict=False)
        self.unseen = self._sight.unseen
        self._log: list[tuple[int, Versions]] = []
        self._maker = ThreadPoolExecutor(1, "growing")
        self._pools: dict[int, Future[_Pool]] = {}  # by the first step
        self._present = -1

    @property
    def samples(self) -> int:
        """Samples of a batch on this rank."""
        return self._rows.stop - self._rows.start

    @property
    def cameras(self) -> tuple[str, ...]:
        """The spec's."""
        return self._spec.cameras

    @property
    def frames(self) -> FrameIndex:
        """Where the frames lie of the episodes its last batch counts in."""
        found = self._pools[self._present].result().frames if self._present >= 0 else None
        if found is None:
            raise ValueError("frames are known of a batch that was made, by a spec with cameras")
        return found

    @property
    def log(self) -> list[tuple[int, Versions]]:
        """(first step, table versions drawn from since), rising; up to the present step."""
        return [entry for entry in self._log if entry[0] < max(self.step, 1)]

    def batch(self, step: int) -> TensorBatch:
        """The batch of any step up to the present one's."""
        return next(self._made(range(step, step + 1)))

    def __iter__(self) -> Iterator[TensorBatch]:
        """Batches from the present step on, without end."""
        while True:
            until_look = self._poll - self.step % self._poll
            for batch in self._made(range(self.step, self.step + min(BLOCK, until_look))):
                self.step += 1
                yield batch

    def _made(self, steps: range) -> Iterator[TensorBatch]:
        """The batches of steps before which there is no look but at the first of them."""
        step = steps[0]
        if step % self._poll == 0 and (not self._log or self._log[-1][0] <= step):
            self._look(step)
        if not self._log:
            raise UserError(f"batch {step}: a growing loader starts at batch 0")
        first, versions = self._log[bisect_right([first for first, _ in self._log], step) - 1]
        pool = self._take_up(first, versions)
        size = self.batch_size
        ids = pool.strata.draw(self._seed, (0, 0), len(steps) * size, step * size)
        ids = ids.reshape(len(steps), size)[:, self._rows]
        version = torch.full((ids.shape[1],), versions["episodes"], dtype=torch.int64)
        for batch in pool.rows.batches(ids, named(None), torch.from_numpy):
            yield batch | {"version": version}

    def state_dict(self) -> dict[str, Any]:
        """The next step, the log of versions, and what the sequence depends on. Plain JSON values."""
        log = [[first, dict(versions)] for first, versions in self._log]
        return {"step": self.step, "log": log, **self._settings}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly after the batch the state was taken at."""
        agree(state, self._settings)
        self.step, self._log = int(state["step"]), [(first, versions) for first, versions in state["log"]]
        for pool in self._pools.values():
            pool.exception()  # none is being made any more
        self._present, self._pools, self._held, self._readings = -1, {}, {}, {}
        for names in (self.instructions, self.tasks, self.policies, self.episode_ids, self.last_by_person):
            names.clear()
        self.embodiments.clear()
        for _, versions in self._log:
            self._admit(versions)

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return {
            "sequence": SEQUENCE,
            "seed": self._seed,
            "batch_size": self.batch_size,
            "poll_every": self._poll,
            "spec": self._spec.to_json(),
        }

    def _look(self, step: int) -> None:
        versions = dict(self._newest(step))
        if not self._log or _seen(versions) != _seen(self._log[-1][1]):
            first = step + self._poll if self._log else 0
            self._log.append((first, versions))
            self._making(first, versions)

    def _making(self, first: int, versions: Versions) -> "Future[_Pool]":
        if first not in self._pools:
            self._pools[first] = self._maker.submit(self._pool, versions)
        return self._pools[first]

    def _take_up(self, first: int, versions: Versions) -> "_Pool":
        pool = self._making(first, versions).result()
        if first != self._present:
            self._present = first
            self._pools = {at: made for at, made in self._pools.items() if at >= first}
            self._told(first, versions, pool.episodes)
        return pool

    def _admit(self, versions: Versions) -> list[str]:
        """Ids of the episodes of these versions; their rows are held and their names known from now on."""
        spec = self._spec
        episodes = selected(self._lake, spec, versions)
        require_one_meaning(episodes)
        for episode in episodes:
            if self._readings.setdefault(episode["episode_id"], episode["reading"]) != episode["reading"]:
                raise UserError(
                    f"episode {episode['episode_id']}: its log was remapped while the lake was followed; "
                    "what was drawn so far means something else: start a new run"
                )
        new = [e for e in episodes if e["episode_id"] not in self._held]
        for episode, rows in zip(new, read_rows(self._lake, spec, new, versions) if new else (), strict=True):
            rows = resample(self._sight.of(rows, episode), episode, spec.frame_rate)
            tensors = tensors_of(rows) | self._shards.tensors(rows.frames)
            member = member_of(episode, tensors, spec.frame_rate, Placed("", 0, 0, 0))
            self._held[member.episode_id] = (member, tensors)
        ids = [e["episode_id"] for e in episodes]
        self._learn([self._held[i][0] for i in ids])
        return ids

    def _pool(self, versions: Versions) -> "_Pool":
        spec = self._spec
        held = [self._held[i] for i in self._admit(versions)]
        members = [member for member, _ in held]
        widths = max(m.state_width for m in members), max(m.action_width for m in members)
        arrays = allocate(sum(m.rows for m in members), *widths)
        fill(arrays, (tensors for _, tensors in held))
        known = {identity: i for i, identity in enumerate(self.episode_ids)}
        rows = assemble(arrays, members, [known[m.episode_id] for m in members])
        everyone = [self._held[i][0] for i in self.episode_ids]
        frames = None
        if spec.cameras:
            everything = (self._held[i][1] for i in self.episode_ids)
            frames = FrameIndex.of_samples(spec.cameras, self._shards.uris, everything)
        expansion = Expansion(spec.chunk, spec.n_step, spec.gamma, spec.stride)
        episode_columns = EpisodeColumns.of(
            everyone, spec.buffers, (self.instructions, self.tasks, self.policies)
        )
        pool = RowPool(rows, expansion.of(rows), episode_columns, spec.chunk)
        if not len(pool):
            why = "; ".join(f"{why} at {rows} rows" for why, rows in self.unseen.items())
            raise NoEpisodes(f"spec {spec.name!r}: its rows give no transition ({why or 'all are invalid'})")
        return _Pool(pool, pool.strata(), len(self.episode_ids), frames)

    def _learn(self, members: list[Member]) -> None:
        for names, found in (
            (self.instructions, {m.instruction for m in members}),
            (self.tasks, {m.task for m in members}),
            (self.policies, {m.policy_id for m in members if m.policy_id}),
        ):
            names += sorted(found - set(names))
        seen = set(self.episode_ids)
        for member in members:
            if member.episode_id not in seen:
                self.episode_ids.append(member.episode_id)
                self.embodiments.append(member.embodiment)
                driven = np.flatnonzero(self._held[member.episode_id][1]["human"])
                self.last_by_person.append(int(driven[-1]) if len(driven) else -1)


def _seen(versions: Versions) -> dict[str, int]:
    """What decides which episodes there are: steps are committed before the episode they belong to."""
    return {table: version for table, version in versions.items() if table != "steps"}


def _labelled(spec: SnapshotSpec) -> SnapshotSpec:
    """The spec, of episodes its reward and outcome layers speak of."""
    labels = spec.labels
    where = f"({spec.where}) AND {spoken(labels.reward)} AND {spoken(labels.outcome)}"
    return spec.model_copy(update={"where": where})
