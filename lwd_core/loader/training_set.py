"""A snapshot with its loaders at hand: what the front door calls ``Snapshot``.

A class of its own because a frozen set knows nothing of how training is fed. Only a loader needs torch.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lwd_core.extras import require
from lwd_core.lake.store import Lake
from lwd_core.snapshots.snapshot import Snapshot
from storage_schemas.snapshot import Member

if TYPE_CHECKING:
    from lwd_core.loader.image_loader import ImageLoader
    from lwd_core.loader.transition_loader import TransitionLoader


class TrainingSet(Snapshot):
    """A frozen training set, and batches from it. Equal digests mean equal bytes."""

    def loader(
        self,
        batch: int = 256,
        seed: int = 0,
        *,
        chunk: int | None = None,
        n_step: int | None = None,
        gamma: float | None = None,
        stride: int | None = None,
        split: str = "train",
        where: Callable[[Member], bool] | None = None,
        balance_tasks: bool = True,
        columns: Sequence[str] | None = None,
        workers: int = 0,
    ) -> "TransitionLoader":
        """Batches of ``batch`` transitions without end: torch tensors in raw units, by seed and step.

        ``chunk`` (H), ``n_step``, ``gamma`` and ``stride`` default to the spec's. ``split``: ``train`` or
        ``holdout``. ``where`` keeps the episodes it is true for. ``balance_tasks``: the buffer is drawn by
        weight, the task uniformly, the transition uniformly; without, an epoch is a permutation. ``columns``
        leaves out what isn't wanted, ``workers`` threads prepare batches ahead.

        A batch holds, for B samples of state width S, action width D: ``state``, ``next_state`` (B, S) f32;
        ``action`` (B, H, D) f32 and its ``mask`` (B, H); ``reward``, ``discount`` (B,) f32; ``instruction``,
        ``task``, ``source``, ``policy``, ``episode``, ``frame``, ``next_frame`` (B,) i64; ``human``,
        ``success`` (B,) bool. Raises `UserError` for a column there is none of, or an empty split.
        """
        require("torch")
        from lwd_core.loader.transition_loader import TransitionLoader

        return TransitionLoader(
            self, batch, seed, chunk=chunk, n_step=n_step, gamma=gamma, stride=stride, split=split,
            where=where, balance_tasks=balance_tasks, columns=columns, workers=workers,
        )  # fmt: skip

    def image_loader(
        self,
        lake: Lake,
        batch: int = 256,
        seed: int = 0,
        *,
        height: int,
        width: int,
        cameras: Sequence[str] | None = None,
        following: bool = False,
        threads: int = 0,
        workers: int = 0,
    ) -> "ImageLoader":
        """``loader`` whose batches also have ``image`` and, with ``following``, ``next_image``.

        Both are (B, C, height, width, 3) u8, RGB, of the spec's cameras or those named; ``lake`` keeps the
        frames. Their memory is used again: take what you need before the next batches overwrite it. Raises
        `UserError` for a snapshot built without cameras, and a camera it has none of.
        """
        require("torch")
        from lwd_core.loader.image_loader import ImageLoader

        return ImageLoader(
            self.loader(batch, seed, workers=workers), lake.place, height=height, width=width,
            cameras=cameras, following=following, threads=threads,
        )  # fmt: skip
