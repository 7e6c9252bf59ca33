"""A reference with two modes: the network itself learns the tilted law, weights and all, from nothing.

The hat functions of test_qam say what the regression has for its optimum; this says that gradient descent on
a network gets there, on paths of its own that change as it learns.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

from lwd_core.rl import qam
from lwd_core.rl.optim import OptimConfig, Optimiser
from lwd_core.rl.progress import Progress
from lwd_core.rl.qam import QAM
from tests.lwd_core.rl.flows import MixtureFlow, euler

STEPS, BATCH, UPDATES = 100, 256, 320
BASE = MixtureFlow((0.7, 0.3), (-1.0, 1.0), (0.09, 0.09))


class Corrected(nn.Module):
    """The reference's velocity and a network that begins at zero: θ starts as β's copy, as QAM has it."""

    def __init__(self, hidden: int = 48):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(18, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        w = torch.as_tensor(w, dtype=x.dtype).expand(x.shape)
        waves = [wave(k * x) for k in (1.0, 2.0, 4.0) for wave in (torch.sin, torch.cos)]
        seen = [x, w, w**2, w * x, w**2 * x, w**3 * x, *waves, *(w * wave for wave in waves)]
        return BASE.velocity(x, w) + self.net(torch.cat(seen, -1))


def learned() -> Corrected:
    """After a few hundred updates for κ = 2, c = .8: Q = −(a − .8)², λ = 1."""
    torch.manual_seed(0)
    theta = Corrected()
    config = QAM(steps=STEPS, clip="none", temperature=1.0)
    optimiser = Optimiser("policy", theta.parameters(), OptimConfig(rate=1e-2, clip=0))
    generator = torch.Generator().manual_seed(1)
    average, last = copy.deepcopy(theta), UPDATES // 4
    for update in range(UPDATES):
        x0 = torch.randn(BATCH, 1, generator=generator)
        noise = torch.randn(STEPS - 1, BATCH, 1, generator=generator)
        loss, _ = qam.policy_loss(config, theta, BASE, lambda a: -(a - 0.8).square().T, 1.0, x0, noise)
        optimiser.step(loss, Progress(update, UPDATES))
        if update >= UPDATES - last:
            for mean, newest in zip(average.parameters(), theta.parameters(), strict=True):
                mean.data.lerp_(newest.data, 1 / (update - UPDATES + last + 1))
    return average


@pytest.fixture
def one_thread():
    """Sums in one order, whatever the machine: rounding alone moves what is learned by a hundredth."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_network_learns_the_tilt_of_a_mixture(one_thread):
    """Tolerances are what this many paths allow: the adjoints between the modes have heavy tails."""
    flow, noise = learned(), torch.randn(40_000, 1, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, actions = euler(BASE, noise, STEPS), euler(flow, noise, STEPS).flatten()
    right = actions > 0
    assert float((before > 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(right.float().mean()) == pytest.approx(0.8658, abs=0.06)
    assert float(actions[right].mean()) == pytest.approx(0.9695, abs=0.09)
    assert float(actions[~right].mean()) == pytest.approx(-0.7254, abs=0.08)
    assert float(actions.mean()) == pytest.approx(0.7421, abs=0.06)
