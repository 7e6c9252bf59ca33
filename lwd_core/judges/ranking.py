"""How well a number tells successes from failures: the area under the ROC curve, with an interval.

The AUC is the probability that a success scores above a failure, a tie counting half: .5 is blind, 0 is
upside down. Its interval is Newcombe's score interval (Statistics in Medicine 25, 2006, part 2, method 5),
which like Wilson's of a rate is honest with few episodes and near 0 and 1, where DeLong's has no width.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Auc:
    """``value`` is NaN where there are no two classes, and the interval then all of [0, 1]."""

    value: float
    low: float
    high: float
    positives: int
    negatives: int

    @property
    def known(self) -> bool:
        """Whether there was anything to tell apart."""
        return bool(self.positives and self.negatives)

    def __str__(self) -> str:
        count = f"{self.positives} + {self.negatives}"
        return (
            f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}], n = {count}"
            if self.known
            else f"n = {count}"
        )


def auc(score: npt.ArrayLike, positive: npt.ArrayLike, confidence: float = 0.95) -> Auc:
    """AUC of scores (N,) for a binary truth (N,)."""
    scores, truth = np.asarray(score, np.float64), np.asarray(positive, bool)
    m, n = int(truth.sum()), int((~truth).sum())
    if not (m and n):
        return Auc(math.nan, 0.0, 1.0, m, n)
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # those that tie share the middle of theirs
    value = float((rank[truth].sum() - m * (m + 1) / 2) / (m * n))
    return Auc(value, *_interval(value, m, n, confidence), m, n)


def pooled(parts: Sequence[Auc]) -> Auc:
    """AUC over the pairs within each part, so that to know an easy task from a hard one earns nothing.

    Its interval squares and adds the parts' own (Zou and Donner, Statistics in Medicine 27, 2008).
    """
    told = [part for part in parts if part.known]
    positives, negatives = (sum(getattr(part, name) for part in parts) for name in ("positives", "negatives"))
    if not told:
        return Auc(math.nan, 0.0, 1.0, positives, negatives)
    pairs = np.array([part.positives * part.negatives for part in told], float)
    weight = pairs / pairs.sum()
    value, low, high = (np.array([getattr(part, name) for part in told]) for name in ("value", "low", "high"))
    middle = float(weight @ value)
    below, above = (math.sqrt(float(((weight * gap) ** 2).sum())) for gap in (value - low, high - value))
    return Auc(middle, max(0.0, middle - below), min(1.0, middle + above), positives, negatives)


def _interval(value: float, m: int, n: int, confidence: float) -> tuple[float, float]:
    """The θ whose own deviation reaches from θ to the value; Hanley and McNeil's variance, evened out."""
    z, more = NormalDist().inv_cdf(0.5 + confidence / 2), (m + n) / 2 - 1

    def apart(theta: float) -> float:
        spread = theta * (1 - theta) / (m * n)
        spread *= 1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta)
        return abs(theta - value) - z * math.sqrt(spread)

    return _root(apart, 0.0, value), _root(apart, 1.0, value)


def _root(apart: Callable[[float], float], far: float, near: float) -> float:
    """Where a function that is not negative ``far`` and not positive ``near`` crosses 0."""
    if far == near:
        return far
    for _ in range(50):
        middle = (far + near) / 2
        far, near = (middle, near) if apart(middle) > 0 else (far, middle)
    return (far + near) / 2
