"""Batches of transitions for the learner, as torch tensors, each a function of seed and step.

The global batch of a step never depends on how many ranks share it or how many threads make it: every
rank draws all its transitions and gathers its own rows.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from lwd_core.errors import UserError
from lwd_core.loader.images import FrameIndex
from lwd_core.loader.order import agree
from lwd_core.loader.pool import Columns, named
from lwd_core.loader.sampler import Sampler
from lwd_core.loader.transitions import Expansion
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.snapshot import Member

TensorBatch = dict[str, torch.Tensor]


class TransitionLoader:
    """An endless iterator of batches over one snapshot.

    ``batch_size`` is the global batch; rank r of ``world`` gets its r-th part. ``chunk``, ``n_step``,
    ``gamma`` and ``stride`` default to the spec's. With ``balance_tasks`` the buffer is drawn by weight,
    the task uniformly within it and the transition uniformly within the task, with replacement; without,
    every epoch is a permutation. ``where`` keeps the episodes it is true for.

    A set of more than ``memory_limit`` bytes is streamed through pools of ``pool_bytes``, two at a time with
    ``workers``; this changes which samples a step gets. A set whose expanded transitions fit the limit is
    memory-mapped from a ``cache`` beside the snapshot; this does not. ``workers`` threads prepare batches
    ahead. Shards from a bucket are kept on local disk up to ``disk_limit`` bytes.

    A batch holds, for B samples of state width S, H frames and action width D:
    state, next_state (B, S) f32; action (B, H, D) f32, zero where masked; mask (B, H) f32; reward,
    discount (B,) f32; action_dim_mask (B, D) f32; instruction, task, source, policy, episode, frame,
    next_frame (B,) i64; human, success (B,) bool; and what else ``storage_schemas.snapshot_row`` describes.
    Units are raw. Tensors may be strided views. ``columns`` leaves out what isn't wanted.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        batch_size: int,
        seed: int,
        *,
        chunk: int | None = None,
        n_step: int | None = None,
        gamma: float | None = None,
        stride: int | None = None,
        rank: int = 0,
        world: int = 1,
        balance_tasks: bool = True,
        split: str = "train",
        where: Callable[[Member], bool] | None = None,
        columns: Columns = None,
        memory_limit: int = 4 << 30,
        pool_bytes: int = 512 << 20,
        cache: bool = True,
        disk_limit: int = 16 << 30,
        workers: int = 0,
    ) -> None:
        if unknown := set(named(columns)) - set(named(None)):
            raise UserError(f"columns {', '.join(sorted(unknown))}: a batch has {', '.join(named(None))}")
        if batch_size < 1:
            raise UserError(f"batch: {batch_size} transitions; give at least 1")
        if batch_size % world or not 0 <= rank < world:
            raise UserError(f"batch_size {batch_size}: not divisible among {world} ranks, or no rank {rank}")
        spec = snapshot.spec
        self.snapshot, self.batch_size, self.seed = snapshot, batch_size, seed
        self.expansion = Expansion(
            chunk or spec.chunk, n_step or spec.n_step, gamma or spec.gamma, stride or spec.stride
        )
        self.step = 0
        self._frames: FrameIndex | None = None
        self._rows = slice(rank * (batch_size // world), (rank + 1) * (batch_size // world))
        self._workers, self._columns = workers, named(columns)
        self._sampler = Sampler(
            snapshot,
            self.expansion,
            batch_size,
            seed,
            balanced=balance_tasks,
            split=split,
            where=where,
            memory_limit=memory_limit,
            pool_bytes=pool_bytes,
            cache=cache,
            disk_limit=disk_limit,
            ahead=workers > 0,
        )

    @property
    def instructions(self) -> list[str]:
        """What a batch's ``instruction`` counts in."""
        return self.snapshot.instructions

    @property
    def tasks(self) -> list[str]:
        """What a batch's ``task`` counts in."""
        return self.snapshot.tasks

    @property
    def policies(self) -> list[str]:
        """What a batch's ``policy`` counts in; -1 where none ran."""
        return self.snapshot.policies

    @property
    def cameras(self) -> tuple[str, ...]:
        """The spec's."""
        return self.snapshot.spec.cameras

    @property
    def frames(self) -> FrameIndex:
        """Where the frames of its episodes lie."""
        if self._frames is None:
            self._frames = FrameIndex.of(self.snapshot)
        return self._frames

    def batch(self, step: int) -> TensorBatch:
        """The batch of any step; the iterator's place stays."""
        block = self._sampler.block(step)
        return as_tensors(block.pool.gather(block.ids[step - block.step, self._rows], self._columns))

    @property
    def samples(self) -> int:
        """Samples of a batch on this rank."""
        return self._rows.stop - self._rows.start

    def __iter__(self) -> Iterator[TensorBatch]:
        """Batches from the present step on, without end."""
        source = self._blocks() if self._workers == 0 else self._ahead()
        for batches in source:
            for batch in batches:
                self.step += 1
                yield batch

    def _blocks(self) -> Iterator[Iterator[TensorBatch]]:
        step = self.step
        while True:
            yield self._made(step)
            step = self._sampler.after(step)

    def _ahead(self) -> Iterator[list[TensorBatch]]:
        with ThreadPoolExecutor(self._workers, "batches") as threads:
            waiting: deque[Future[list[TensorBatch]]] = deque()
            step = self.step
            try:
                while True:
                    while len(waiting) <= self._workers:
                        waiting.append(threads.submit(lambda s=step: list(self._made(s))))
                        step = self._sampler.after(step)
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _made(self, step: int) -> Iterator[TensorBatch]:
        """The batches from ``step`` to the end of its block."""
        block = self._sampler.block(step)
        ids = block.ids[step - block.step :, self._rows]
        return block.pool.batches(ids, self._columns, torch.from_numpy)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands: the next step, and what the sequence depends on. Plain JSON values."""
        return {"step": self.step, "snapshot": self.snapshot.digest, **self._sampler.settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly after the batch the state was taken at. UserError if the sequence would differ."""
        agree(state, {name: value for name, value in self.state_dict().items() if name != "step"})
        self.step = int(state["step"])


def as_tensors(arrays: dict[str, np.ndarray]) -> TensorBatch:
    """A batch over the same memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
