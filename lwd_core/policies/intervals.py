"""Confidence intervals of success rates."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from lwd_core.errors import UserError


@dataclass(frozen=True)
class Rate:
    """A rate with its two-sided interval."""

    successes: int
    trials: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Successes over trials; NaN without trials."""
        return self.successes / self.trials if self.trials else float("nan")

    def __str__(self) -> str:
        if not self.trials:
            return "not tried"
        return f"{self.rate:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.trials})"


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """Wilson's score interval: honest near 0 and 1, where the normal one leaves [0, 1].

    Raises `UserError` for more successes than trials, and a confidence that isn't between 0 and 1.
    """
    if not 0 <= successes <= trials:
        raise UserError(f"successes: {successes} of {trials} trials; give a number from 0 to the trials")
    if not 0 < confidence < 1:
        raise UserError(f"confidence: {confidence} is not between 0 and 1; 0.95 is usual")
    if trials == 0:
        return Rate(0, 0, 0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)  # scipy.stats takes half a second to load
    rate, shrunk = successes / trials, 1 + z * z / trials
    middle = (rate + z * z / (2 * trials)) / shrunk
    half = z * math.sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2) / shrunk
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Rate(successes, trials, low, high)


def difference(a: Rate, b: Rate) -> tuple[float, float]:
    """Interval of ``a`` less ``b`` from their own intervals; [-1, 1] where either was never tried.

    Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method 10): as honest with few
    trials of either as Wilson's is of one.
    """
    if not (a.trials and b.trials):
        return -1.0, 1.0
    apart = a.rate - b.rate
    return (
        apart - math.hypot(a.rate - a.low, b.high - b.rate),
        apart + math.hypot(a.high - a.rate, b.rate - b.low),
    )
