"""Each measure at a good, a bad and an unclear value; what is bad says what to do."""

import pytest

from lwd_core.assessment.verdict import (
    Grade,
    of_choice,
    of_curves,
    of_entropy,
    of_gain,
    of_path_kl,
    of_policy,
    of_rank,
    of_tau,
)
from lwd_core.judges.ranking import Auc
from lwd_core.policies.intervals import wilson
from lwd_core.rl.divl import DIVLConfig
from lwd_core.rl.qam import QAM

GOOD, BAD, UNCLEAR = Grade


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict", "says"),
    [
        (0.80, 0.70, 0.88, GOOD, ""),
        (0.52, 0.44, 0.60, BAD, "raise γ"),
        (0.52, 0.30, 0.73, UNCLEAR, "hold out more"),
        (0.62, 0.45, 0.77, UNCLEAR, "hold out more"),
        (0.62, 0.48, 0.75, UNCLEAR, "hold out more"),
        (0.20, 0.10, 0.35, BAD, "upside down"),
    ],
)
def test_rank_at_the_start(value: float, low: float, high: float, verdict: Grade, says: str) -> None:
    found = of_rank(0.1, Auc(value, low, high, 50, 50))
    assert found.verdict is verdict
    assert says in found.remedy
    assert bool(found.remedy) == (verdict is not GOOD)


def test_one_outcome_alone_is_unclear() -> None:
    found = of_rank(0.5, Auc(float("nan"), 0, 1, 50, 0))
    assert found.verdict is UNCLEAR
    assert "both outcomes" in found.remedy


@pytest.mark.parametrize(
    ("tau", "verdict", "says"),
    [
        (0.54, GOOD, ""),
        (0.42, BAD, "under the median"),
        (0.05, BAD, "at its bound"),
        (0.95, BAD, "at its bound"),
    ],
)
def test_tau(tau: float, verdict: Grade, says: str) -> None:
    found = of_tau(DIVLConfig(), [(100, 0.6), (200, tau)])
    assert found.verdict is verdict
    assert says in found.remedy


@pytest.mark.parametrize(
    ("entropy", "verdict", "says"),
    [(0.2, GOOD, ""), (0.95, BAD, "near uniform"), (0.001, BAD, "is a point")],
)
def test_entropy(entropy: float, verdict: Grade, says: str) -> None:
    found = of_entropy([(100, 0.9), (200, entropy)])
    assert found.verdict is verdict
    assert says in found.remedy


@pytest.mark.parametrize(
    ("kl", "verdict", "says"),
    [(0.2, GOOD, ""), (4.0, BAD, "Over-optimised"), (0.001, BAD, "hardly moves")],
)
def test_path_kl(kl: float, verdict: Grade, says: str) -> None:
    found = of_path_kl(QAM(temperature=0.05), [(100, 0.1), (200, kl)], 0.05)
    assert found.verdict is verdict
    assert says in found.remedy


def test_a_raised_temperature_is_told() -> None:
    found = of_path_kl(QAM(temperature=0.01, kl_limit=1.0), [(200, 1.0)], 0.03)
    assert "`kl_limit` holds λ at 0.03, not 0.01" in found.found


@pytest.mark.parametrize(
    ("limit", "kl", "verdict"), [(1.0, 1.02, GOOD), (1.0, 1.2, BAD), (4.0, 4.0, BAD), (0.0, 1.02, BAD)]
)
def test_what_the_limit_holds_sways_about_it(limit: float, kl: float, verdict: Grade) -> None:
    raised = 0.03 if limit else 0.01
    assert of_path_kl(QAM(temperature=0.01, kl_limit=limit), [(200, kl)], raised).verdict is verdict


@pytest.mark.parametrize(
    ("held_out", "seen", "verdict"),
    [(0.02, 0.02, GOOD), (0.02, None, GOOD), (None, 0.02, GOOD), (-0.01, 0.02, BAD), (0.002, 0.02, BAD)],
)
def test_gain(held_out: float | None, seen: float | None, verdict: Grade) -> None:
    assert of_gain(held_out, seen).verdict is verdict


def test_best_and_worst() -> None:
    assert of_choice(wilson(78, 100), wilson(11, 100)).verdict is GOOD
    assert of_choice(wilson(100, 200), wilson(102, 200)).verdict is BAD
    assert of_choice(wilson(3, 5), wilson(2, 5)).verdict is UNCLEAR


def test_policy_and_reference() -> None:
    assert of_policy(wilson(90, 100), wilson(60, 100)).verdict is GOOD
    assert of_policy(wilson(49, 100), wilson(85, 100)).verdict is BAD
    assert of_policy(wilson(61, 100), wilson(60, 100)).verdict is UNCLEAR


def test_a_constant_tau_and_another_extraction_are_not_judged() -> None:
    curves = {"tau": [(1.0, 0.3)], "entropy": [(1.0, 0.3)]}
    found = of_curves(curves, DIVLConfig(adaptive=False), QAM())
    assert [f.measure for f in found] == ["entropy of V's law"]
