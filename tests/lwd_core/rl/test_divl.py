"""Value learning against known answers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lwd_core.rl import divl
from lwd_core.rl.divl import DIVLConfig, Support
from lwd_core.rl.optim import ema

SUPPORT = Support()
ATOMS = SUPPORT.values(torch.zeros(1, dtype=torch.float64))


def law_of(*points: tuple[float, float]) -> torch.Tensor:
    """Projected law (1, K) of (value, probability) pairs."""
    values = torch.tensor([v for v, _ in points], dtype=torch.float64)
    masses = torch.tensor([p for _, p in points], dtype=torch.float64)
    return (divl.project(SUPPORT, values) * masses.unsqueeze(-1)).sum(0, keepdim=True)


def mass_at(law: torch.Tensor, value: float) -> float:
    return float(law[(ATOMS - value).abs() < 1e-9].sum())


def test_projection_splits_linearly_and_clips():
    law = divl.project(SUPPORT, torch.tensor([0.203, 0.9, 2.0, -1.0], dtype=torch.float64))
    assert mass_at(law[0], 0.200) == pytest.approx(0.5, abs=1e-9)
    assert mass_at(law[0], 0.206) == pytest.approx(0.5, abs=1e-9)
    assert mass_at(law[1], 0.896) == pytest.approx(1 / 3, abs=1e-9)
    assert mass_at(law[1], 0.902) == pytest.approx(2 / 3, abs=1e-9)
    assert mass_at(law[2], 1.1) == pytest.approx(1)
    assert mass_at(law[3], -0.1) == pytest.approx(1)


@given(st.lists(st.floats(-0.1, 1.1), min_size=1, max_size=20))
def test_projection_keeps_mass_and_mean(values):
    q = torch.tensor(values, dtype=torch.float64)
    law = divl.project(SUPPORT, q)
    assert law.min() >= 0
    torch.testing.assert_close(law.sum(-1), torch.ones_like(q))
    torch.testing.assert_close((law * ATOMS).sum(-1), q, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("tau", "atom"), [(0.5, 0.2), (0.51, 0.896), (0.66, 0.896), (0.67, 0.902), (1.0, 0.902)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quantile_of_two_points(tau, atom, dtype):
    law = law_of((0.2, 0.5), (0.9, 0.5)).to(dtype)
    assert float(divl.quantile(SUPPORT, law, tau)) == pytest.approx(atom, abs=1e-6)


def test_quantile_takes_the_top_atom_when_rounding_loses_mass():
    assert float(divl.quantile(SUPPORT, torch.full((1, 201), 0.9 / 201), 0.95)) == pytest.approx(1.1)


def test_entropy():
    two = law_of((0.2, 0.5), (0.9, 0.5))
    assert float(divl.normalised_entropy(two)) == pytest.approx(0.1907, abs=5e-5)
    assert float(divl.normalised_entropy(torch.full((1, 201), 1 / 201))) == pytest.approx(1, abs=1e-6)


def test_tau_falls_with_uncertainty_between_its_bounds():
    two = law_of((0.2, 0.5), (0.9, 0.5))
    assert float(divl.adaptive_tau(DIVLConfig(), two)) == pytest.approx(0.6 - 0.3 * 0.1907, abs=2e-5)
    assert float(divl.adaptive_tau(DIVLConfig(adaptive=False), two)) == pytest.approx(0.6)
    assert float(divl.adaptive_tau(DIVLConfig(alpha=3), two)) == pytest.approx(0.05)
    assert float(divl.adaptive_tau(DIVLConfig(tau_base=1.5), two)) == pytest.approx(0.95)


def fit(config: DIVLConfig, outputs: int, q: torch.Tensor) -> torch.Tensor:
    """V's output at one state after regression on replay values ``q``."""
    v = nn.Parameter(torch.zeros(outputs, dtype=torch.float64))
    optimiser = torch.optim.LBFGS([v], max_iter=400, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss, _ = divl.value_loss(config, v.expand(len(q), -1), q)
        loss.backward()
        return loss

    optimiser.step(closure)
    return v.detach().unsqueeze(0)


def test_value_is_the_law_of_replay_values():
    q = torch.tensor([0.1] * 5 + [0.5] * 3 + [0.9] * 2, dtype=torch.float64)
    law = fit(DIVLConfig(), SUPPORT.atoms, q).softmax(-1)
    torch.testing.assert_close(law, law_of((0.1, 0.5), (0.5, 0.3), (0.9, 0.2)), atol=1e-3, rtol=0)
    assert float(divl.quantile(SUPPORT, law, 0.6)) == pytest.approx(0.5, abs=1e-9)
    assert float(divl.quantile(SUPPORT, law, 0.9)) == pytest.approx(0.902, abs=1e-9)


def test_expectile_is_not_the_quantile():
    q = torch.tensor([0.2, 0.9], dtype=torch.float64)
    config = DIVLConfig(value="expectile")
    value, _ = divl.bootstrap(config, fit(config, 1, q))
    assert float(value) == pytest.approx(0.62, abs=1e-6)


def chain(config: DIVLConfig, chunks: int, n: int, sweeps: int, reward: float = 1.0):
    """Q of each chunk after backups over a chain whose last frame ends it with ``reward``."""
    gamma, frames = 0.999, 5
    q = torch.zeros(chunks, dtype=torch.float64)
    for _ in range(sweeps):
        targets = []
        for j in range(chunks):
            window = min(n, chunks - j)
            ends = j + window == chunks
            earned = reward * gamma ** (frames * window - 1) if ends else 0.0
            discount = 0.0 if ends else gamma ** (frames * window)
            if ends:
                value = torch.zeros(1, dtype=torch.float64)
            elif config.value == "expectile":
                value, _ = divl.bootstrap(config, q[j + window].view(1, 1))
            else:
                value, _ = divl.bootstrap(config, divl.project(SUPPORT, q[j + window : j + window + 1]).log())
            targets.append(divl.td_target(torch.tensor([earned]), torch.tensor([discount]), value))
        q = torch.cat(targets).double()
    return q, [gamma ** (frames * (chunks - 1 - j) + frames - 1) for j in range(chunks)]


@pytest.mark.parametrize("n", [1, 10])
def test_chain_reaches_the_discounted_return(n):
    chunks = 24
    exact, answer = chain(DIVLConfig(value="expectile"), chunks, n, math.ceil(chunks / n))
    torch.testing.assert_close(exact, torch.tensor(answer, dtype=torch.float64), atol=1e-6, rtol=0)
    # Each bootstrap reads an atom, at most one width off.
    read, _ = chain(DIVLConfig(), chunks, n, math.ceil(chunks / n))
    steps = math.ceil(chunks / n) - 1
    torch.testing.assert_close(read, exact, atol=SUPPORT.width * steps + 1e-6, rtol=0)


def test_value_travels_n_chunks_a_sweep():
    chunks, n = 24, 10
    for sweeps in range(1, 4):
        q, _ = chain(DIVLConfig(value="expectile"), chunks, n, sweeps)
        for j in range(chunks):
            assert (q[j] > 0) == (sweeps >= math.ceil((chunks - j) / n))


def test_terminal_failure_is_worth_nothing():
    q, _ = chain(DIVLConfig(value="expectile"), 12, 10, 5, reward=0.0)
    assert q.abs().max() == 0


def test_ema_after_one_step():
    average, newest = [torch.zeros(3)], [torch.ones(3)]
    ema(average, newest, 0.005)
    torch.testing.assert_close(average[0], torch.full((3,), 0.005))
