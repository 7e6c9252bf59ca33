"""The law of V along an episode: what a critic thinks possible, not only the quantile it bootstraps with.

The layer of its values names the run and the checkpoint; the law is computed from that checkpoint when a
person looks, and stored nowhere.
"""

from typing import Any

import numpy as np
import torch

from lwd_core.errors import UserError
from lwd_core.labels.registry import VALUES
from lwd_core.lake.episode import Episode
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.studio.curves import thinned
from lwd_core.training.checkpoint import find_checkpoint
from lwd_core.training.values import TrainedValue, has_critic, shown

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Laws:
    """Laws by the critic that was asked last; it stays in memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._layer, self._critic = "", None

    def along(self, episode: Episode, layer: str) -> dict[str, Any]:
        """``quantiles``, ``steps`` (N,) and ``values``, a list (N,) a quantile.

        Raises `UserError` where the run is gone or has gone on since.
        """
        critic = self._of(layer)
        place = open_location(self._settings.lake)
        vision = critic.vision
        images, there = shown(place, vision, list(episode["frames"])) if vision else (None, None)
        law, atoms = critic.law(torch.as_tensor(episode["state"]), images, episode.instruction, there)
        levels = torch.tensor(QUANTILES)
        below = (law.cumsum(-1).unsqueeze(-1) < levels - 1e-6).sum(1).clamp_max(len(atoms) - 1)
        steps, values = thinned(np.arange(len(law), dtype=np.int32), atoms[below].numpy())
        return {"quantiles": QUANTILES, "steps": steps.tolist(), "values": values.T.round(5).tolist()}

    def _of(self, layer: str) -> TrainedValue:
        if self._critic is not None and layer == self._layer:
            return self._critic
        run, _, digest = layer.removeprefix(VALUES).partition("@")[0].rpartition(".")
        if not layer.startswith(VALUES) or not run:
            raise UserError(f"layer {layer}: no values of a training run")
        checkpoint = find_checkpoint(self._settings.checkpoints, run)
        if not checkpoint.digest.startswith(digest) or not has_critic(checkpoint):
            raise UserError(f"layer {layer}: run {run} has gone on since; label by its newest checkpoint")
        self._layer, self._critic = layer, TrainedValue(checkpoint)
        return self._critic
