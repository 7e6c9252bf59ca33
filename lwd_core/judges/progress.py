"""How far each step had come: small networks for each task of each robot type, learned from successes.

A success is taken to come on evenly, from 0 at its first step to 1 at its last; of a failure nobody knows
how far it came, so none is learned from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from lwd_core.judges.calibration import calibrate
from lwd_core.judges.figures import Figure, rank_correlation, resampled
from lwd_core.judges.networks import Array, Networks, learn
from lwd_core.judges.scaling import Rising, rising


@dataclass(frozen=True)
class ProgressHead:
    """Progress of steps from their views (N, D)."""

    networks: Networks
    scale: Rising

    def __call__(self, views: Array) -> Array:
        """(N,) in [0, 1]."""
        return self.scale(self.networks(views))

    def arrays(self) -> dict[str, Array]:
        """What it consists of, by name."""
        return self.networks.arrays() | {"scaling": np.stack([self.scale.at, self.scale.value])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Self:
        """What `arrays` gave."""
        return cls(Networks.from_arrays(arrays), Rising(*arrays["scaling"]))


def learn_progress(
    views: Sequence[Array], came: Sequence[Array], fold: np.ndarray
) -> tuple[ProgressHead, list[Array]]:
    """A head from some steps (T, D) of successes and how far each had come (T,); and their held-out progress.

    ``fold`` (N,) is the episodes'. Each fold's progress is that of networks and a map that saw none of it.
    """
    lengths = [len(seen) for seen in views]
    of = np.repeat(fold, lengths)
    target = np.concatenate(came)
    networks, logits = learn(np.concatenate(views), target, of)
    told = np.zeros(len(target))
    for part in np.unique(fold):
        out = of == part
        told[out] = rising(logits[~out], target[~out])(logits[out])
    head = ProgressHead(networks, rising(logits, target))
    return head, np.split(told, np.cumsum(lengths)[:-1])


def progress_figures(told: Sequence[Array], came: Sequence[Array]) -> dict[str, Figure]:
    """Of held-out successes: mean distance (``mae``), order (``order``, Spearman's within an episode) and
    calibration error (``ece``)."""
    apart = np.array([np.abs(a - b).mean() for a, b in zip(told, came, strict=True)])
    order = np.array([rank_correlation(a, b) for a, b in zip(told, came, strict=True)])
    order = np.nan_to_num(order)
    found = {
        "mae": resampled(lambda i: float(apart[i].mean()), len(apart)),
        "order": resampled(lambda i: float(order[i].mean()), len(order)),
    }
    one = calibrate(list(told), list(came))
    if one is not None:
        found["ece"] = Figure(one.error, one.error_low, one.error_high, one.episodes)
    return found
