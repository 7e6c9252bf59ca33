"""Whether what was predicted comes: reliability by bins of the prediction, expected calibration error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 400


@dataclass(frozen=True)
class Bin:
    """States with about the same prediction: their mean, what came on average with its 95 % interval, and how
    many episodes have any."""

    predicted: float
    came: float
    low: float
    high: float
    episodes: int


@dataclass(frozen=True)
class Calibration:
    """``error``: mean distance of prediction and outcome over the bins; ``bias``: prediction less outcome.

    All weigh every episode the same, and intervals (95 %) come from drawing whole episodes again: the
    states of one episode say nearly the same thing.
    """

    bins: tuple[Bin, ...]
    error: float
    error_low: float
    error_high: float
    bias: float
    bias_low: float
    bias_high: float
    episodes: int

    def __str__(self) -> str:
        return f"{self.error:.3f} [{self.error_low:.3f}, {self.error_high:.3f}], n = {self.episodes}"


def calibrate(
    predicted: Sequence[np.ndarray], came: Sequence[np.ndarray], *, bins: int = 10, seed: int = 0
) -> Calibration | None:
    """Of one array (T,) an episode each; None without episodes.

    Bins hold equally many states, so that a critic whose values all lie close together is still looked at
    closely; equal predictions are never parted.
    """
    count = len(predicted)
    if not count:
        return None
    lengths = np.array([len(values) for values in predicted])
    episode, weight = np.repeat(np.arange(count), lengths), np.repeat(1 / lengths, lengths)
    said, truth = np.concatenate(predicted).astype(float), np.concatenate(came).astype(float)
    edges = np.unique(np.quantile(said, np.linspace(0, 1, bins + 1)[1:-1]))
    cell = episode * (len(edges) + 1) + np.searchsorted(edges, said, side="left")

    def sums(values: np.ndarray) -> np.ndarray:
        """(episodes, bins)"""
        return np.bincount(cell, values * weight, count * (len(edges) + 1)).reshape(count, -1)

    mass, of_said, of_truth = sums(np.ones_like(said)), sums(said), sums(truth)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)
    masses, again = drawn @ mass, drawn @ of_truth
    gaps = (drawn @ of_said - again) / count
    error_low, error_high = np.quantile(np.abs(gaps).sum(1), (0.025, 0.975))
    bias_low, bias_high = np.quantile(gaps.sum(1), (0.025, 0.975))
    made: list[Bin] = []
    for b in np.flatnonzero(mass.sum(0)):
        held = masses[:, b] > 0
        low, high = np.quantile(again[held, b] / masses[held, b], (0.025, 0.975))
        whole = mass[:, b].sum()
        made.append(
            Bin(
                float(of_said[:, b].sum() / whole),
                float(of_truth[:, b].sum() / whole),
                float(low),
                float(high),
                int((mass[:, b] > 0).sum()),
            )
        )
    gap = (of_said - of_truth).sum(0) / count
    return Calibration(
        tuple(made),
        float(np.abs(gap).sum()),
        float(error_low),
        float(error_high),
        float(gap.sum()),
        float(bias_low),
        float(bias_high),
        count,
    )
