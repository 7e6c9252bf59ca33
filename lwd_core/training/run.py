"""One training run: any stage, resumable at any moment, to a finished checkpoint."""

from collections.abc import Callable
from dataclasses import replace

import torch

from lwd_core.rl.compute.engine import Engine
from lwd_core.settings import Settings
from lwd_core.storage.relative import stored
from lwd_core.training import names
from lwd_core.training.attempt import Attempt
from lwd_core.training.checkpoint import Checkpoint, find_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.factory import film_of, policy_of
from lwd_core.training.loop import Interrupted, TrainResult
from lwd_core.training.reporters import Reporter
from lwd_core.training.reporting import reporters
from lwd_core.training.workers import join_workers

__all__ = ["Interrupted", "TrainResult", "film_of", "find_checkpoint", "policy_of", "train"]


def train(
    config: TrainConfig,
    reporter: Reporter,
    settings: Settings | None = None,
    *,
    publish: Callable[[Checkpoint], None] = lambda _: None,
) -> TrainResult:
    """Run to the end, from where an earlier attempt left it; a finished run is returned as it is.

    ``publish`` is told every ``checkpoint_every``-th update's checkpoint and the last, a resumed run's again.
    Raises UserError for wrong input and for a loss that is not finite, Interrupted after SIGTERM or Ctrl-C.
    """
    torch.set_num_threads(config.threads)
    settings = settings or Settings()
    trackers = reporters(settings.reporters)
    engine = Engine.of(config.device, config.bf16)
    with join_workers(engine.device) as share:
        start = find_checkpoint(settings.checkpoints, config.init) if config.init else None
        if start is not None and "/" in (config.init or ""):
            config = replace(config, init=stored(settings.checkpoints, start.uri))
        wanted = names.identity(config.to_dict(), start.digest if start else None)
        attempt = Attempt(config, reporter, settings, engine, share, publish, start, wanted, trackers)
        return attempt.result()
