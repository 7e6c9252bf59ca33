"""Confidence intervals of success rates."""

from dataclasses import dataclass

from scipy.stats import binomtest


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
        return f"{self.rate:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.trials})"


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """Wilson's score interval: honest near 0 and 1, where the normal one leaves [0, 1]."""
    if trials == 0:
        return Rate(0, 0, 0.0, 1.0)
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return Rate(successes, trials, float(interval.low), float(interval.high))
