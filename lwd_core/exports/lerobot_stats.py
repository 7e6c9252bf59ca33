"""LeRobot's statistics: min, max, mean, std, count and five quantiles of every number of a feature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import simplejpeg

from lwd_core.lake.pictures import card

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
STATISTICS = ("min", "max", "mean", "std", "count", *QUANTILES)


def vector_stats(values: np.ndarray) -> dict[str, list[float]]:
    """Statistics over rows of (N, D)."""
    numbers = values.astype(np.float64)
    stats = {
        "min": numbers.min(axis=0),
        "max": numbers.max(axis=0),
        "mean": numbers.mean(axis=0),
        "std": numbers.std(axis=0),
        "count": np.array([len(numbers)]),
    }
    for name, value in zip(QUANTILES, np.quantile(numbers, list(QUANTILES.values()), axis=0), strict=True):
        stats[name] = value
    return {name: stats[name].tolist() for name in STATISTICS}


def frame_stats(jpegs: Sequence[bytes]) -> dict[str, list[Any]]:
    """Statistics per channel, 0 to 1, of sampled frames; each shaped (3, 1, 1) as LeRobot keeps it.

    Frames that can't be shown are left out.
    """
    sample = [jpegs[i] for i in sample_indices(len(jpegs))]
    pixels = [p for jpeg in sample if (p := _small(jpeg)) is not None] or [card().reshape(-1, 3)]
    stats = vector_stats(np.concatenate(pixels) / 255.0)
    stats["count"] = [len(sample)]
    return {
        name: value if name == "count" else [[[channel]] for channel in value]
        for name, value in stats.items()
    }


#: Of an episode without one of its set's cameras: one black frame. It counts for nothing in the set's own.
ABSENT: dict[str, list[Any]] = {
    name: [1] if name == "count" else [[[0.0]], [[0.0]], [[0.0]]] for name in STATISTICS
}


def _small(jpeg: bytes) -> np.ndarray | None:
    """Scaled decoding is what makes this cheap; means and quantiles of pixels survive it."""
    try:
        return simplejpeg.decode_jpeg(jpeg, min_height=64, min_width=64).reshape(-1, 3)
    except ValueError:
        return None


def sample_indices(frames: int) -> list[int]:
    """Which frames of an episode to look at: n^0.75 of them, 100 to 10,000, evenly spread."""
    wanted = min(frames, max(100, min(10_000, int(frames**0.75))))
    return np.unique(np.linspace(0, frames - 1, wanted).round().astype(int)).tolist()


def merge_stats(parts: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """Merge episodes' statistics of one camera; quantiles become envelopes, as LeRobot merges them."""
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    weights = (counts / counts.sum()).reshape(-1, *[1] * np.ndim(parts[0]["mean"]))
    stacked = {name: np.array([part[name] for part in parts], dtype=np.float64) for name in STATISTICS}
    mean = (stacked["mean"] * weights).sum(axis=0)
    variance = ((stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2) * weights).sum(axis=0)
    merged = {
        "min": stacked["min"].min(axis=0),
        "max": stacked["max"].max(axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([counts.sum()], dtype=np.int64),
    }
    for name, quantile in QUANTILES.items():
        merged[name] = stacked[name].min(axis=0) if quantile <= 0.5 else stacked[name].max(axis=0)
    return {name: merged[name].tolist() for name in STATISTICS}
