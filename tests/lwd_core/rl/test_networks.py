"""Networks: the hand-written derivative, masks, instructions, stacked critics."""

import copy

import pytest
import torch

from lwd_core.rl.chosen import plain
from lwd_core.rl.encoders import EncoderConfig, Observation
from lwd_core.rl.flow import ConditionedFlow, flow_matching_loss, sample, vjp
from lwd_core.rl.networks import Critic, CriticConfig, FieldConfig, StackedMLP, VelocityField, about
from lwd_core.rl.policy import FlowPolicy, Normaliser, PolicyConfig

ENCODER = EncoderConfig(state_dim=5, instruction_dim=8, instruction_features=3)


@pytest.fixture
def field() -> VelocityField:
    torch.manual_seed(0)
    return VelocityField(FieldConfig(ENCODER, action_dim=2, chunk=3, hidden=16)).double()


def observation(batch: int = 4) -> Observation:
    generator = torch.Generator().manual_seed(1)
    return Observation(
        torch.randn(batch, 5, generator=generator).double(),
        torch.randn(batch, 8, generator=generator).double(),
    )


def plainly(
    field: VelocityField, seen: Observation, x: torch.Tensor, w: torch.Tensor | float
) -> torch.Tensor:
    """The field as one stack of layers over observation, x (B, A) and w side by side; autograd inside."""
    whole = torch.cat([field.context.weight, field.action_in.weight, field.time_in[:, None]], 1)
    inputs = torch.cat([field.encoder(seen), x, torch.ones(len(x), 1).double() * w], 1)
    z = inputs @ whole.T + field.context.bias
    for layer in field.hidden:
        z = layer(torch.nn.functional.gelu(z, approximate="tanh"))
    return field.out(torch.nn.functional.gelu(z, approximate="tanh"))


@pytest.mark.parametrize("masked", [False, True])
def test_derivative_along_a_path_is_autograds(field, masked):
    mask = torch.ones(4, 6).double()
    mask[:2, [1, 3, 5]] = 0
    real = mask if masked else torch.ones_like(mask)
    with torch.no_grad():
        flow = ConditionedFlow.of(field, observation(), mask if masked else None)
    path, times = torch.randn(7, 4, 6).double(), torch.linspace(0.1, 1, 7).double().view(-1, 1, 1)
    g = torch.randn(4, 6).double()
    for i in range(7):
        _, expected = torch.autograd.functional.vjp(
            lambda x, i=i: real * plainly(field, observation(), real * x, times[i]), path[i], g
        )
        torch.testing.assert_close(vjp(flow, path[i], times[i], g), expected)


def test_the_split_first_layer_is_one_layer(field):
    seen, x, w = observation(), torch.randn(4, 6).double(), 0.3
    torch.testing.assert_close(field(seen, x, w), plainly(field, seen, x, w))
    with torch.no_grad():
        torch.testing.assert_close(field(seen, x, w), plainly(field, seen, x, w))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_its_gradient_is_autograds(field, shape):
    seen, x, w, g = (
        observation(),
        torch.randn(4, 6).double(),
        torch.rand(4, *shape).double(),
        torch.randn(4, 6),
    )
    w = w if shape else float(w[0])
    parameters = list(field.parameters())
    ours = torch.autograd.grad(field(seen, x, w), parameters, g)
    expected = torch.autograd.grad(plainly(field, seen, x, w), parameters, g)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_dims_an_embodiment_lacks_change_nothing(field):
    mask = torch.ones(4, 6).double()
    mask[:, [1, 3, 5]] = 0
    flow = ConditionedFlow.of(field, observation(), mask)
    noise = torch.randn(4, 6).double()
    other = torch.where(mask == 0, torch.randn(4, 6).double(), noise)
    kept = mask.bool()
    torch.testing.assert_close(sample(flow, noise, 5)[kept], sample(flow, other, 5)[kept])
    action, w = torch.rand(4, 6).double(), torch.rand(4, 1).double()
    loss, _ = flow_matching_loss(flow, action, mask, noise, w)
    again, _ = flow_matching_loss(flow, torch.where(mask == 0, 9.0, action), mask, other, w)
    torch.testing.assert_close(loss, again)


def test_stacked_networks_are_independent():
    torch.manual_seed(0)
    stack = StackedMLP([4, 8, 8, 1], 3)
    x = torch.randn(5, 4, requires_grad=True)
    out = stack(x)
    assert out.shape == (3, 5, 1)
    for head in range(3):
        gradients = torch.autograd.grad(out[head].sum(), list(stack.weights), retain_graph=True)
        for gradient in gradients:
            touched = gradient.flatten(1).abs().sum(1) > 0
            assert touched.tolist() == [k == head for k in range(3)]


@pytest.mark.parametrize("trunk_layers", [0, 1])
def test_critic_shapes(trunk_layers):
    critic = Critic(
        CriticConfig(ENCODER, 2, 3, hidden=16, layers=2, trunk_layers=trunk_layers, heads=4, atoms=11)
    )
    features = critic.features(Observation(torch.ones(5, 5), torch.ones(5, 8)))
    assert critic.q(features, torch.zeros(5, 6)).shape == (4, 5)
    assert critic.v(features).shape == (5, 11)
    for loss in (critic.q(features, torch.ones(5, 6)).sum(), critic.v(features)[:, 0].sum()):
        gradients = torch.autograd.grad(loss, critic.shared(), retain_graph=True)
        assert all(g.abs().sum() > 0 for g in gradients)


def test_an_untrained_q_is_nothing_where_that_is_asked_and_learns_all_the_same():
    torch.manual_seed(0)
    config = CriticConfig(ENCODER, 2, 3, hidden=16, layers=2, heads=2, atoms=5)
    born = Critic(config)
    critic = copy.deepcopy(born).zero_q()
    features, actions = critic.features(Observation(torch.ones(5, 5), torch.ones(5, 8))), torch.randn(5, 6)
    assert born.q(features, actions).abs().max() > 0.1
    assert not critic.q(features, actions).any()
    torch.testing.assert_close(critic.v(features), born.v(features))
    optimiser = torch.optim.SGD(critic.q_heads.parameters(), 0.01)
    for _ in range(2):  # the layers below move from the second step on
        optimiser.zero_grad()
        (critic.q(features.detach(), actions) - 1).square().mean().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.any() for p in critic.q_heads.parameters())
    assert critic.q(features, actions).min() > 0


def test_policy_acts_in_raw_units_within_limits():
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 10.0])
    normaliser = Normaliser(torch.full((5,), 3.0), torch.zeros(5), low, high)
    config = PolicyConfig(FieldConfig(ENCODER, 2, 3, hidden=16))
    policy = FlowPolicy(config, normaliser)
    chunk = policy.act(torch.full((4, 5), 3.0), torch.zeros(4, 8), torch.Generator().manual_seed(0))
    assert chunk.shape == (4, 3, 2)
    assert (chunk >= low).all()
    assert (chunk <= high).all()
    torch.testing.assert_close(normaliser.raw_action(normaliser.action(chunk)), chunk)
    # A dim that never moved in training is neither divided by zero nor unbounded.
    assert normaliser.state(torch.full((1, 5), 1e9)).max() == 10
    copy = FlowPolicy(PolicyConfig.from_dict(config.to_dict()))
    copy.load_state_dict(policy.state_dict())
    again = copy.act(torch.full((4, 5), 3.0), torch.zeros(4, 8), torch.Generator().manual_seed(0))
    assert torch.equal(chunk, again)


def test_a_flow_about_a_center_ends_there_with_its_spread() -> None:
    center, x = torch.tensor([[0.7, -0.2]]).double(), torch.randn(4000, 2).double()
    for i in range(400):
        x = x + about(center, x, i / 400, 0.1) / 400
    assert x.mean(0).tolist() == pytest.approx(center[0].tolist(), abs=0.01)
    assert x.std(0).tolist() == pytest.approx([0.1, 0.1], abs=0.01)
    w = torch.tensor([[0.0], [1.0]]).double()
    ends = about(center, x[:2], w, 0.1)
    assert torch.allclose(ends, torch.stack([center[0] - x[0], x[1]])), (
        "center less noise, then what is there"
    )


def test_a_chunk_wider_than_a_layer_is_learned_by_a_field_with_a_spread() -> None:
    """Two arms: 14 numbers a tick, more a chunk than there are hidden units for their noise to go through."""
    chunks = torch.linspace(-0.8, 0.8, 5 * 14).repeat(64, 1) * torch.randn(64, 1).sign()
    seen = Observation(chunks[:, :5].clone(), torch.zeros(64, 8))
    off: dict[float | None, float] = {}
    for spread in (None, 0.05):
        torch.manual_seed(0)
        field = VelocityField(FieldConfig(ENCODER, 14, 5, hidden=32, spread=spread))
        optimiser = torch.optim.Adam(field.parameters(), 3e-3)
        for _ in range(300):
            flow = ConditionedFlow.of(field, seen)
            noise, w = torch.randn_like(chunks), torch.rand(64, 1)
            loss, _ = flow_matching_loss(flow, chunks, torch.ones_like(chunks), noise, w)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        end = sample(ConditionedFlow.of(field, seen), torch.randn_like(chunks), 10)
        off[spread] = (end - chunks).square().mean().sqrt().item()
    assert off[0.05] < 0.05
    assert off[0.05] < off[None] / 4


def test_a_field_without_a_spread_is_described_as_before_there_was_one() -> None:
    assert "spread" not in plain(FieldConfig(ENCODER, 2, 3))
    assert plain(FieldConfig(ENCODER, 2, 3, spread=0.05))["spread"] == 0.05
