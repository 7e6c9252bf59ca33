"""Agreement with QAM's released code: same weights, noise and batch.

``data/qam_official.npz`` holds the numbers of five updates of github.com/ColinQiyangLi/qam (agents/qam.py,
JAX on CPU) at a small size: 3 × 16 networks, 3 critics, batch 8, chunk 2 of 3 dims, 10 flow steps, its
averages set apart from what they average. Numbers only; none of its code is here. `qam_official` made them.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lwd_core.rl import qam
from lwd_core.rl.batch import Batch
from lwd_core.rl.encoders import EncoderConfig, Observation
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.networks import CriticShape, FieldConfig, StackedMLP, VelocityField
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.policy_td import PolicyTDConfig, PolicyTDLearner, UpdateNoise
from lwd_core.rl.progress import Progress
from lwd_core.rl.qam import Schedule

NUMBERS = Path(__file__).parent / "data" / "qam_official.npz"
CHUNK, DIMS, STATE, STEPS = 2, 3, 5, 10
NETWORKS = {
    "modules_critic": "critic",
    "modules_target_critic": "target",
    "modules_actor_fast": "policy",
    "modules_actor_slow": "behaviour",
    "modules_target_actor_slow": "reference",
}


@pytest.fixture(scope="module")
def numbers() -> dict[str, torch.Tensor]:
    with np.load(NUMBERS, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def of_field(read, field: VelocityField) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of our tensor and theirs; ``read`` maps a layer's path to an array."""
    kernel = read("mlp/Dense_0/kernel")
    state, action = kernel[:STATE], kernel[STATE:-1]
    pairs = [
        (field.context.weight, state.T),
        (field.action_in.weight, action.T),
        (field.time_in, kernel[-1]),
        (field.context.bias, read("mlp/Dense_0/bias")),
    ]
    for i, layer in enumerate([*field.hidden, field.out], start=1):
        pairs += [(layer.weight, read(f"mlp/Dense_{i}/kernel").T), (layer.bias, read(f"mlp/Dense_{i}/bias"))]
    return pairs


def of_heads(read, heads: StackedMLP) -> list[tuple[torch.Tensor, torch.Tensor]]:
    pairs = []
    for i, (weight, bias) in enumerate(zip(heads.weights, heads.biases, strict=True)):
        pairs += [
            (weight, read(f"value_net/Dense_{i}/kernel")),
            (bias, read(f"value_net/Dense_{i}/bias")[:, None]),
        ]
    for i, (scale, shift) in enumerate(zip(heads.scales, heads.shifts, strict=True)):
        pairs += [
            (scale, read(f"value_net/LayerNorm_{i}/scale")[:, None]),
            (shift, read(f"value_net/LayerNorm_{i}/bias")[:, None]),
        ]
    return pairs


def pairs(numbers, when: str, learner: PolicyTDLearner, theirs: str):
    network = getattr(learner, NETWORKS[theirs])
    read = lambda path: numbers[f"{when}/{theirs}/{path}"]  # noqa: E731
    if "critic" in theirs:
        return of_heads(read, network.q_heads)
    return of_field(read, network.field if isinstance(network, FlowPolicy) else network)


@pytest.fixture
def learner(numbers) -> PolicyTDLearner:
    encoder = EncoderConfig(STATE, instruction_features=0)
    policy = FlowPolicy(PolicyConfig(FieldConfig(encoder, DIMS, CHUNK, hidden=16, layers=3)))
    config = PolicyTDConfig()
    config = replace(config, qam=replace(config.qam, temperature=0.5))
    learner = PolicyTDLearner(
        config, policy, CriticShape(hidden=16, layers=3, heads=3, instruction_features=0)
    )
    with torch.no_grad():
        for theirs in NETWORKS:
            for ours, value in pairs(numbers, "start", learner, theirs):
                ours.copy_(value)
    return learner


def batch(numbers, update: int) -> Batch:
    read = lambda name: numbers[f"batch{update}/{name}"]  # noqa: E731
    action = read("actions").flatten(1)
    nothing = torch.zeros(len(action), 0)
    return Batch(
        Observation(read("observations"), nothing),
        Observation(read("next_observations")[:, -1], nothing),
        action,
        torch.ones_like(action),
        None,
        read("rewards")[:, -1],
        0.99**CHUNK * read("masks")[:, -1],
        torch.ones(len(action)),
        torch.zeros(len(action)),
        torch.ones(len(action)),
        torch.zeros(len(action), dtype=torch.int64),
    )


def noise(numbers, update: int) -> UpdateNoise:
    read = lambda name: numbers[f"noise{update}/{name}"]  # noqa: E731
    return UpdateNoise(read("next"), read("flow"), read("time"), read("x0"), read("path"))


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    """Largest error relative to the largest number."""
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


def test_paths_and_adjoints(numbers, learner):
    schedule = Schedule.of(STEPS, torch.zeros(1))
    data, drawn = batch(numbers, 0), noise(numbers, 0)
    with torch.no_grad():
        theta = ConditionedFlow.of(learner.policy.field, data.observation)
        beta = ConditionedFlow.of(learner.reference, data.observation)
        path, _ = qam.sample_path(schedule, theta, beta, drawn.x0, drawn.path)
        close(path[:-1], numbers["path"], 1e-5)
        features = learner.target.features(data.observation)
        config = learner.config.qam
        gradient, _ = qam.action_gradient(lambda a: learner.target.q(features, a), path[-1], config)
        final = qam.final_adjoint(config, gradient, config.temperature)
        close(qam.lean_adjoint(schedule, beta, path, final), numbers["adjoints"], 1e-5)


def test_losses_and_gradients(numbers, learner):
    loss, info = learner.loss(batch(numbers, 0), noise(numbers, 0))
    ours = torch.stack([info["q_loss"], info["reference_loss"], info["qam_loss"]])
    torch.testing.assert_close(ours, numbers["loss0"], rtol=1e-5, atol=0)
    for theirs in ("modules_critic", "modules_actor_fast", "modules_actor_slow"):
        wanted = pairs(numbers, "gradient", learner, theirs)
        gradients = torch.autograd.grad(loss, [ours for ours, _ in wanted], retain_graph=True)
        for gradient, (_, value) in zip(gradients, wanted, strict=True):
            close(gradient, value, 1e-5)


def test_five_updates(numbers, learner, monkeypatch):
    for u in range(5):
        monkeypatch.setattr(UpdateNoise, "draw", staticmethod(lambda *_, u=u: noise(numbers, u)))
        info = learner.update(batch(numbers, u), None, Progress(u, 5))
        ours = torch.stack([info["q_loss"], info["reference_loss"], info["qam_loss"]])
        torch.testing.assert_close(ours, numbers[f"loss{u}"], rtol=5e-5, atol=0)
    for theirs in NETWORKS:
        for ours, value in pairs(numbers, "end", learner, theirs):
            torch.testing.assert_close(ours.detach(), value, atol=1e-5, rtol=1e-4)
    # Averaging the new weights instead would be off by far more than rounding.
    for ours, value in pairs(numbers, "end", learner, "modules_target_critic")[:2]:
        assert float((ours - value).abs().max()) < 1e-6
