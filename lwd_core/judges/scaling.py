"""From scores to what comes on average: temperature and offset for a yes or no, isotonic for a number."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from lwd_core.judges.networks import Array, sigmoid

#: Steps a rising map is kept by.
_KNOTS = 200


@dataclass(frozen=True)
class Temperature:
    """``sigmoid(slope * logit + offset)``."""

    slope: float
    offset: float

    def __call__(self, logits: Array) -> Array:
        return sigmoid(self.slope * logits + self.offset)


@dataclass(frozen=True)
class Rising:
    """Between knots ``at`` a straight line through ``value``, which never falls."""

    at: Array
    value: Array

    def __call__(self, scores: Array) -> Array:
        return np.interp(scores, self.at, self.value)


def temperature(logits: Array, yes: Array) -> Temperature:
    """The temperature and offset that make logits (N,) likeliest, on samples the model was not trained on.

    Targets are drawn in a little from 0 and 1, by how many there are (Platt 1999), so that a model that is
    right of all of few samples isn't certain of it.
    """
    many = float(yes.sum())
    low, high = 1 / (len(yes) - many + 2), (many + 1) / (many + 2)
    target: Array = np.where(yes > 0, high, low)
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    at = np.array([1.0, 0.0])
    for _ in range(50):
        chance = sigmoid(inputs @ at)
        curvature = (inputs.T * (chance * (1 - chance))) @ inputs + 1e-6 * np.eye(2)
        step = cast(Array, np.linalg.solve(curvature, inputs.T @ (chance - target)))
        at -= step * min(1.0, 1 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return Temperature(max(float(at[0]), 0.0), float(at[1]))


def rising(scores: Array, came: Array) -> Rising:
    """The rising map nearest to what came (N,) of scores (N,) on held-out samples: isotonic regression.

    By pooling neighbours that fall (Ayer et al. 1955).
    """
    order = np.argsort(scores, kind="stable")
    at, value = scores[order], came[order].astype(float)
    # equal steps of many samples first, so that the loop below is short
    groups = np.linspace(0, len(at), min(len(at), _KNOTS) + 1).astype(int)[:-1]
    mass = np.diff(np.append(groups, len(at))).astype(float)
    means = np.add.reduceat(value, groups) / mass
    middle = np.add.reduceat(at, groups) / mass
    blocks: list[tuple[float, float, int]] = []  # mean, mass, groups
    for mean, own in zip(means, mass, strict=True):
        count = 1
        while blocks and blocks[-1][0] >= mean:
            other, more, of = blocks.pop()
            mean, own, count = (mean * own + other * more) / (own + more), own + more, count + of
        blocks.append((float(mean), float(own), count))
    fitted = np.repeat([mean for mean, _, _ in blocks], [count for _, _, count in blocks])
    return Rising(middle, fitted)
