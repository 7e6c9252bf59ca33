"""Adjoint matching against known answers."""

import math

import pytest
import torch

from lwd_core.rl import guard, qam
from lwd_core.rl.qam import QAM, Schedule
from tests.lwd_core.rl.flows import GaussianFlow, MixtureFlow, adjoint_matching_optimum, euler

F64 = torch.zeros(1, dtype=torch.float64)
LINE = torch.tensor([-1.0, 1.0], dtype=torch.float64)  # one cell: an affine correction


def constant_adjoint(steps: int, final: float) -> torch.Tensor:
    """Adjoints (T,) on the base N(0, 1), whose Jacobian is the same on every path."""
    schedule = Schedule.of(steps, F64)
    path = torch.zeros(steps + 1, 1, 1, dtype=torch.float64)
    return qam.lean_adjoint(schedule, GaussianFlow(), path, torch.full_like(path[0], final)).flatten()


@pytest.mark.parametrize(("w", "ratio"), [(0.25, 0.4), (0.5, 1.0), (0.75, 1.2)])
def test_adjoint_on_a_standard_normal(w, ratio):
    steps = 4000
    assert float(constant_adjoint(steps, 1.0)[round(w * steps)]) == pytest.approx(ratio, abs=2e-3)


def linear_shift(steps: int, variance) -> torch.Tensor:
    """Where the optimum for a linear Q with μ = 1 moves the mean, for a schedule's σ²(w, h)."""
    h = 1 / steps
    adjoints = constant_adjoint(steps, -1.0)
    x, base = torch.zeros(1, dtype=torch.float64), GaussianFlow()
    for i, g in enumerate(adjoints):
        x = x + h * (base.velocity(x, i * h) - 0.5 * variance(i * h, h) * g)
    return x


def test_optimum_of_a_linear_q():
    steps = 4000
    schedule = Schedule.of(steps, F64)
    correction = -0.5 * schedule.sigma**2 * constant_adjoint(steps, -1.0)
    w = schedule.w
    answer = (1 - w) / (w**2 + (1 - w) ** 2)
    inside = (w > 0.05) & (w < 0.95)
    torch.testing.assert_close(correction[inside], answer[inside], atol=6e-3, rtol=0)
    assert float(linear_shift(steps, lambda w, h: 2 * (1 - w + h) / (w + h))) == pytest.approx(1, abs=5e-3)


def test_the_product_schedule_is_wrong():
    for steps, shift in [(10, 0.29), (1000, 0.19)]:
        product = linear_shift(steps, lambda w, h: 2 * (1 - w + h) * (w + h))
        assert float(product) == pytest.approx(shift, abs=0.03)


def affine_law(flow, steps: int) -> tuple[float, float]:
    """Mean and variance of an affine flow's Euler ODE, exactly."""
    ends = euler(flow, torch.tensor([[0.0], [1.0]], dtype=torch.float64), steps).flatten()
    return float(ends[0]), float((ends[1] - ends[0]) ** 2)


@pytest.mark.parametrize(("steps", "mean", "variance"), [(10, 0.434, 0.394), (30, 0.465, 0.464)])
def test_quadratic_q_at_finite_steps(steps, mean, variance):
    flow = adjoint_matching_optimum(
        GaussianFlow(),
        lambda a: 1 - a,
        steps=steps,
        path="current",
        grid=LINE,
        batch=8000,
        rounds=24,
        average=16,
    )
    assert affine_law(flow, steps) == pytest.approx((mean, variance), abs=0.012)


@pytest.mark.parametrize(
    ("base", "kappa", "mean", "variance"),
    [
        (GaussianFlow(), 1.0, 0.5, 0.5),
        (GaussianFlow(), 4.0, 0.8, 0.2),
        (GaussianFlow(0.3, 0.25), 4.0, 0.65, 0.125),
    ],
)
def test_quadratic_q_in_the_limit(base, kappa, mean, variance):
    flow = adjoint_matching_optimum(
        base,
        lambda a: kappa * (1 - a),
        steps=200,
        path="current",
        grid=LINE,
        batch=4000,
        rounds=24,
        average=14,
    )
    assert affine_law(flow, 200) == pytest.approx((mean, variance), abs=0.03)


def test_reference_paths_give_another_law():
    flow = adjoint_matching_optimum(
        GaussianFlow(), lambda a: 1 - a, steps=400, path="reference", grid=LINE, batch=40_000, rounds=1
    )
    mean, variance = affine_law(flow, 400)
    assert mean == pytest.approx(0.7248, abs=0.02)
    assert variance == pytest.approx(math.exp(-1), abs=0.02)


def test_mixture():
    base = MixtureFlow((0.7, 0.3), (-1.0, 1.0), (0.09, 0.09))
    # The tilt in closed form must be the fixed point of a regression on its own paths.
    variance = 0.09 / (1 + 2 * 0.09)
    tilt = MixtureFlow((0.1342, 0.8658), (-0.7254, 0.9695), (variance, variance))
    flow = adjoint_matching_optimum(
        base,
        lambda a: 2 * (0.8 - a),
        steps=400,
        path="current",
        grid=torch.linspace(-3, 3, 31, dtype=torch.float64),
        batch=20_000,
        rounds=2,
        average=2,
        source=tilt,
    )
    x = torch.randn(40_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    actions = euler(flow, x, 400).flatten()
    right = actions > 0
    assert float(right.double().mean()) == pytest.approx(0.8658, abs=0.04)
    assert float(actions[right].mean()) == pytest.approx(0.9695, abs=0.03)
    assert float(actions[~right].mean()) == pytest.approx(-0.7254, abs=0.08)
    assert float(actions.mean()) == pytest.approx(0.7421, abs=0.06)


def test_only_the_ratio_of_q_and_temperature_counts():
    torch.manual_seed(0)
    weight = torch.randn(2, 6)

    def final(scale: float, temperature: float) -> torch.Tensor:
        action = torch.linspace(-0.9, 0.9, 24).view(4, 6)
        gradient, _ = qam.action_gradient(lambda a: scale * (a.square() @ weight.T).T, action, QAM())
        return qam.final_adjoint(QAM(), gradient, temperature)

    torch.testing.assert_close(final(1.0, 0.3), final(2.0, 0.6))


@pytest.mark.parametrize("aggregate", ["mean", "min"])
def test_aggregation_over_heads(aggregate):
    action = torch.zeros(3, 2)
    heads = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    offset = torch.tensor([[0.0], [1.0]])
    gradient, value = qam.action_gradient(lambda a: heads @ a.T + offset, action, QAM(aggregate=aggregate))
    expected = [1.0, 0.0] if aggregate == "min" else [0.5, 2.0]
    torch.testing.assert_close(gradient, torch.tensor([expected] * 3))
    torch.testing.assert_close(value, torch.full((3,), 0.0 if aggregate == "min" else 0.5))


def test_nothing_to_learn_costs_nothing():
    schedule = Schedule.of(10, torch.zeros(1))
    velocity = torch.randn(10, 3, 4)
    loss, info = qam.adjoint_matching_loss(schedule, velocity, velocity, torch.zeros(10, 3, 4))
    assert loss == 0
    assert info["path_kl"] == 0


def test_masked_numbers_do_not_count():
    schedule = Schedule.of(10, torch.zeros(1))
    velocity, base, adjoints = torch.randn(3, 10, 5, 4).unbind()
    mask = torch.ones(5, 4)
    mask[:, 2:] = 0
    masked, _ = qam.adjoint_matching_loss(schedule, velocity, base, adjoints, mask)
    alone, _ = qam.adjoint_matching_loss(
        schedule, velocity[..., :2], base[..., :2], adjoints[..., :2], torch.ones(5, 2)
    )
    torch.testing.assert_close(masked, alone)


def test_temperature_follows_the_budget():
    config = QAM(kl_budget=0.5, dual_rate=0.1)
    start = torch.tensor(0.0, dtype=torch.float64)
    assert guard.next_temperature(config, start, torch.tensor(2.0)) > start
    assert guard.next_temperature(config, start, torch.tensor(0.1)) < start
    assert guard.next_temperature(config, start, torch.tensor(0.5)) == start
    low = torch.tensor(math.log(config.temperature_min), dtype=torch.float64)
    assert guard.next_temperature(config, low, torch.tensor(0.0)) == low
