"""How good probabilities are: AUC, Brier score and calibration error, each with n and a 95 % interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lwd_core.judges.calibration import RESAMPLES, calibrate
from lwd_core.judges.networks import Array
from lwd_core.judges.ranking import Auc, auc
from lwd_core.policies.intervals import wilson


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval over ``n`` episodes."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.n})"


def figures(chance: ArrayLike, yes: ArrayLike) -> dict[str, Figure]:
    """``auc``, ``brier`` and ``ece`` of probabilities (N,) for what came (N,), 0 or 1; the intervals of the
    latter by drawing episodes again. ``auc`` is missing where only one of the two came."""
    said, came = np.asarray(chance, float), np.asarray(yes, float)
    if not len(said):
        return {}
    found: dict[str, Figure] = {}
    if 0 < came.sum() < len(came):
        found["auc"] = of_ranking(auc(said, came))
    found["brier"] = resampled(lambda i: float(np.square(said[i] - came[i]).mean()), len(said))
    one = calibrate([said[i : i + 1] for i in range(len(said))], [came[i : i + 1] for i in range(len(came))])
    assert one is not None
    found["ece"] = Figure(one.error, one.error_low, one.error_high, one.episodes)
    return found


def of_ranking(found: Auc) -> Figure:
    """An AUC as a figure."""
    return Figure(found.value, found.low, found.high, found.positives + found.negatives)


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's; NaN where one of them never changes."""
    x, y = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size else float("nan")


def resampled(figure: Callable[[np.ndarray], float], count: int, seed: int = 0) -> Figure:
    """A figure of all, and its interval from draws of as many with replacement."""
    draw = np.random.default_rng(seed)
    many = np.array([figure(draw.integers(0, count, count)) for _ in range(RESAMPLES)])
    low, high = np.nanquantile(many, (0.025, 0.975)) if np.isfinite(many).any() else (np.nan, np.nan)
    return Figure(float(figure(np.arange(count))), float(low), float(high), count)


def share(yes: Array) -> Figure:
    """How many of (N,) are 1, with Wilson's interval."""
    rate = wilson(int(yes.sum()), len(yes))
    return Figure(rate.rate, rate.low, rate.high, rate.trials)


def _ranks(values: Array) -> Array:
    """From 1; equal ones share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[where].astype(float)
