"""Figures against closed forms; scales against what came."""

import numpy as np
import pytest

from lwd_core.judges.figures import figures, rank_correlation
from lwd_core.judges.networks import sigmoid
from lwd_core.judges.scaling import rising, temperature


def test_figures_of_what_is_right_on_average() -> None:
    draw = np.random.default_rng(1)
    chance = draw.uniform(0, 1, 4000)
    yes = (draw.uniform(0, 1, 4000) < chance).astype(float)
    found = figures(chance, yes)
    assert found["brier"].low < 1 / 6 < found["brier"].high
    assert found["auc"].low < 5 / 6 < found["auc"].high
    assert found["ece"].value < 0.03
    assert figures(np.full(4000, 0.9), yes)["ece"].value == pytest.approx(0.9 - yes.mean())
    assert figures([], []) == {}
    assert "auc" not in figures([0.5, 0.5], [1, 1])


def test_rank_correlation_is_of_order() -> None:
    values = np.array([1.0, 2.0, 5.0])
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert np.isnan(rank_correlation(values, np.ones(3)))


def test_temperature_finds_how_sure_the_logits_should_be() -> None:
    draw = np.random.default_rng(2)
    true = draw.normal(0, 2, 5000)
    yes = (draw.uniform(0, 1, 5000) < sigmoid(true)).astype(float)
    scale = temperature(4 * true + 4, yes)
    assert scale.slope == pytest.approx(0.25, abs=0.03)
    assert scale.offset == pytest.approx(-1, abs=0.15)
    sure = temperature(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert sure(np.array([3.0]))[0] < 0.9


def test_isotonic_never_falls_and_keeps_the_mean() -> None:
    scores, came = np.array([3.0, 1, 2, 4, 5]), np.array([0.2, 0.1, 0.6, 0.5, 0.9])
    scale = rising(scores, came)
    assert scale.value.tolist() == pytest.approx([0.1, 0.4, 0.4, 0.5, 0.9])
    assert scale(np.array([0.0, 9.0])).tolist() == [0.1, 0.9]
    draw = np.random.default_rng(3)
    many = draw.normal(0, 1, 3000)
    scale = rising(many, sigmoid(many) + draw.normal(0, 0.1, 3000))
    assert (np.diff(scale.value) >= 0).all()
    assert np.abs(scale(many) - sigmoid(many)).mean() < 0.02
