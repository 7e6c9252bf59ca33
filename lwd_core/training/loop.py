"""The training loop: update, report, checkpoint, stop when asked."""

import copy
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.rl.batch import Noise
from lwd_core.rl.compute.engine import Engine
from lwd_core.rl.learners import Trained
from lwd_core.rl.optim import NonFinite
from lwd_core.rl.progress import Progress
from lwd_core.storage.location import Location, open_location
from lwd_core.storage.lock import Lock
from lwd_core.training.checkpoint import Checkpoint, prune, read_checkpoint, write_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data
from lwd_core.training.reporters import Reporter
from lwd_core.training.window import Window
from lwd_core.training.workers import Share

_DIAGNOSIS = 0x5EED  # stream of the numbers drawn to look, not to learn


class Interrupted(Exception):
    """The run was asked to stop; its state is in a checkpoint."""


@dataclass(frozen=True)
class TrainResult:
    """``checkpoint`` is its address, ``metrics`` the last ones logged.

    ``before``: an earlier attempt had come to the end, nothing was trained; that makes it no other result.
    """

    checkpoint: str
    digest: str
    metrics: dict[str, float]
    before: bool = field(default=False, compare=False)


class Loop:
    """Batches to updates to checkpoints, from where learner and data stand to the end.

    ``about`` is said in every checkpoint; ``publish`` is told each that is due; ``lock``: the first worker's.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: Location,
        data: Data,
        learner: Trained,
        generator: torch.Generator,
        reporter: Reporter,
        about: dict[str, Any],
        engine: Engine,
        share: Share,
        publish: Callable[[Checkpoint], None],
        lock: Lock | None,
    ):
        self.engine, self.publish, self.lock = engine, publish, lock
        self.config, self.run, self.data, self.learner = config, run, data, learner
        self.generator, self.reporter, self.about, self.share = generator, reporter, about, share
        self.stop = threading.Event()

    def go(self, update: int) -> TrainResult:
        config = self.config
        noise = Noise(self.generator)
        device = self.engine.device
        # Batches are made where their data is, then moved.
        normaliser = copy.deepcopy(self.learner.policy.normaliser).cpu()
        batches = self.data.batches(normaliser)
        held_out = self.data.held_out(normaliser)
        window = Window()
        metrics: dict[str, float] = {}
        while update < config.updates:
            with window.waiting():
                raw, batch = next(batches)
                batch = batch.to(device)
            try:
                with self.engine.running():
                    info = self.learner.update(batch, noise, Progress(update, config.updates))
                window.add(info)
            except NonFinite as error:
                raise UserError(self._nonfinite(error, update, raw)) from error
            update += 1
            if update % config.log_every == 0 or update == config.updates:
                look = Noise(torch.Generator().manual_seed(_DIAGNOSIS + update))
                seen = self.learner.diagnose(batch, look)
                if held_out is not None:
                    unseen = self.learner.diagnose(held_out.to(device), look)
                    seen |= {f"heldout_{name}": value for name, value in unseen.items()}
                metrics = window.close(seen) | self.data.figures(raw)
                self.reporter.log(update, metrics)
            if self.share.agree(self.stop.is_set()) and update < config.updates:
                checkpoint = self._checkpoint(update, metrics)
                raise Interrupted(f"run {config.run}: stopped at update {update}; state in {checkpoint.uri}")
            if update % config.checkpoint_every == 0 and update < config.updates:
                self._publish(self._checkpoint(update, metrics))
        checkpoint = self._checkpoint(update, metrics)
        self._publish(checkpoint)
        return TrainResult(checkpoint.uri, checkpoint.digest, metrics)

    def _publish(self, checkpoint: Checkpoint) -> None:
        if self.share.first:
            self.publish(checkpoint)

    def _checkpoint(self, update: int, metrics: dict[str, float]) -> Checkpoint:
        state = {
            "learner": self.learner.state_dict(),
            "loader": self.data.state_dict(),
            "noise": self.generator.get_state(),
            "embeddings": self.data.embeddings,
        }
        about = {
            **self.about,
            "instructions": self.data.instructions,
            "drawn": self.data.drawn,
            "update": update,
            "metrics": metrics,
        }
        if self.lock is not None:
            self.lock.check()
            write_checkpoint(self.run, update, about, state)
            prune(self.run, self.config.keep)
        self.share.meet()
        return read_checkpoint(open_location(self.run.path(f"step-{update}")))

    def _nonfinite(self, error: NonFinite, update: int, raw: Mapping[str, Tensor]) -> str:
        name = f"nonfinite-{update}-{self.share.rank}.safetensors"
        episodes = self.data.episodes_of(raw)
        with self.run.write(name) as file:
            columns = {column: tensor.contiguous() for column, tensor in raw.items()}
            file.write(save(columns, {"episodes": json.dumps(episodes)}))
        return (
            f"run {self.config.run}, update {update}: {error}; {blame(raw, episodes)}; "
            f"batch saved as {self.run.path(name)}"
        )


def blame(raw: Mapping[str, Tensor], episodes: Sequence[str]) -> str:
    """The episodes of a batch whose numbers are not finite; else all of them, and what else may help."""
    faults: dict[str, set[str]] = {}
    for column in ("state", "next_state", "action", "reward", "discount"):
        values = raw[column]
        finite = values.isfinite().reshape(len(values), -1).all(1)
        for episode, good in zip(episodes, finite, strict=True):
            if not bool(good):
                faults.setdefault(episode, set()).add(column)
    if faults:
        named = [f"{episode} ({', '.join(sorted(columns))})" for episode, columns in faults.items()]
        return f"not finite in the batch: episode {_some(named)}; build the snapshot without them"
    return (
        f"its batch is of episode {_some(dict.fromkeys(episodes))}; lower the rate or raise the temperature"
    )


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
