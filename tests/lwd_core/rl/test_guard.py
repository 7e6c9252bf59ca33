"""λ under a limit of the path KL: the configured one while the policy is near, else what keeps it there."""

import math

import pytest
import torch

from lwd_core.rl.guard import moves, next_temperature
from lwd_core.rl.qam import QAM


def settle(config: QAM, needs: float, start: float | None = None, steps: int = 4_000) -> float:
    """λ after many steps on a policy whose path KL is (needs / λ)², as a linear Q's is."""
    log_temperature = torch.tensor(math.log(start or config.temperature), dtype=torch.float64)
    for _ in range(steps):
        path_kl = (needs / log_temperature.exp()).square()
        log_temperature = next_temperature(config, log_temperature, path_kl)
    return float(log_temperature.exp())


def test_a_limit_leaves_the_temperature_alone_while_the_policy_is_near() -> None:
    config = QAM(temperature=0.05, kl_limit=1.0)
    assert settle(config, needs=0.02) == pytest.approx(0.05)  # a path KL of .16


def test_beyond_the_limit_it_rises_to_where_the_limit_holds() -> None:
    config = QAM(temperature=0.01, kl_limit=1.0)
    assert settle(config, needs=0.02) == pytest.approx(0.02, rel=0.01)  # .01 would mean a path KL of 4


def test_and_falls_back_when_it_is_not_needed_any_more() -> None:
    config = QAM(temperature=0.01, kl_limit=1.0)
    assert settle(config, needs=0.001, start=0.5) == pytest.approx(0.01)


def test_a_budget_is_reached_from_both_sides() -> None:
    config = QAM(temperature=0.05, kl_budget=4.0, kl_limit=1.0)
    assert settle(config, needs=0.02) == pytest.approx(0.01, rel=0.01)
    assert settle(config, needs=0.02, start=0.001) == pytest.approx(0.01, rel=0.01)


def test_without_either_it_is_the_configured_one() -> None:
    config = QAM(temperature=0.01, kl_limit=0.0)
    assert not moves(config)
    assert settle(config, needs=10.0, steps=10) == pytest.approx(0.01)
