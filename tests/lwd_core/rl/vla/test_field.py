"""A VLA as a policy's field: what copies share, what learns, and that the learner's mathematics holds."""

import copy
from dataclasses import replace

import pytest
import torch

from lwd_core.rl.batch import Batch, Noise, prepare
from lwd_core.rl.chosen import choose
from lwd_core.rl.encoders import BACKBONES, EncoderConfig, VisionConfig
from lwd_core.rl.extraction import EXTRACTIONS
from lwd_core.rl.fields import FIELDS, Measured
from lwd_core.rl.flow import ConditionedFlow, flow_matching_loss
from lwd_core.rl.imitation import ImitationConfig
from lwd_core.rl.learner import LearnerConfig
from lwd_core.rl.networks import CriticShape, FieldConfig
from lwd_core.rl.optim import OptimConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.progress import Progress
from lwd_core.rl.qam import QAM, policy_loss
from lwd_core.rl.reference import ReferenceConfig
from lwd_core.rl.vla.checkpoint import VlaFolder
from lwd_core.rl.vla.fit import of_snapshot
from lwd_core.rl.vla.pi import PiModel
from lwd_core.rl.vla.smolvla import SmolVlaModel
from tests.lwd_core.rl.vla.tiny import tiny

KINDS = ("pi0", "pi05", "smolvla")
SHAPE = CriticShape(
    hidden=16,
    layers=2,
    instruction_features=0,
    backbone=choose(BACKBONES, "thumbnails", height=8, width=8, stages=(4,), features=8),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    home = tmp_path_factory.mktemp("folders")
    return {kind: tiny(home / kind, kind, chunk=3) for kind in KINDS}


def policy(folders, kind: str = "pi0", **settings) -> FlowPolicy:
    torch.manual_seed(0)
    vla = choose(FIELDS, "vla", folder=str(folders[kind]), cameras={"front": "base"}, **settings)
    encoder = EncoderConfig(1, 4, 0, VisionConfig(("front",), 24, 24))
    measured = Measured(
        {"mean": torch.zeros(1)}, {"mean": torch.zeros(2)}, torch.full((2,), -2.0), torch.full((2,), 3.0)
    )
    return vla.made.policy(PolicyConfig(FieldConfig(encoder, 2, 2, kind=vla), steps=4), measured)


def test_a_number_that_stood_still_is_told_as_it_is_once_it_moves(folders) -> None:
    for kind, low, high in (("pi0", "mean", "std"), ("pi05", "q01", "q99")):
        own = VlaFolder.open(folders[kind]).config
        spread = torch.tensor([0.0, 2.0])
        first = torch.tensor([0.5, 1.0])
        second = first + spread if kind == "pi05" else spread
        measured = Measured({low: first, high: second}, {low: first, high: second}, -spread, spread)
        found = of_snapshot(own, measured)
        stood, moved = (found.state(torch.tensor([[at, 1.0]])) for at in (0.5, 0.6))
        assert stood[0, 0] == 0
        assert moved[0, 0] == pytest.approx(0.1)
        assert torch.equal(stood[0, 1:], torch.tensor([-1.0 if kind == "pi05" else 0.0]))
        assert torch.equal(found.action_second, second)  # whoever says it goes where it always was


def batch(of: FlowPolicy, size: int = 4, rows: slice = slice(None)) -> Batch:
    numbers = torch.Generator().manual_seed(1)
    action = torch.rand(size, 2, 2, generator=numbers) * 2 - 1
    raw = {
        "state": torch.rand(size, 1, generator=numbers),
        "next_state": torch.rand(size, 1, generator=numbers),
        "image": torch.randint(0, 256, (size, 1, 24, 24, 3), dtype=torch.uint8, generator=numbers),
        "next_image": torch.randint(0, 256, (size, 1, 24, 24, 3), dtype=torch.uint8, generator=numbers),
        "image_mask": torch.arange(size).view(-1, 1) != 1,
        "action": action,
        "mask": torch.ones(size, 2),
        "action_dim_mask": torch.ones(size, 2),
        "instruction": torch.arange(size) % 2,
        "reward": torch.zeros(size),
        "discount": torch.full((size,), 0.9),
        "success": torch.ones(size, dtype=torch.bool),
        "human": torch.zeros(size, dtype=torch.bool),
        "task": torch.zeros(size, dtype=torch.int64),
    }
    raw = {name: value[rows] for name, value in raw.items()}
    if rows != slice(None):
        raw["rows"] = torch.arange(size)[rows]
    return prepare(
        raw, of.normaliser, torch.rand(2, 4, generator=numbers), size, ["push the cup", "point at the light"]
    )


def noise() -> Noise:
    return Noise(torch.Generator().manual_seed(0))


def loss_of(theta, beta, seen: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    numbers, width = noise(), seen.action.shape[1]
    config = QAM(steps=4)
    return policy_loss(
        config,
        ConditionedFlow.of(theta, seen.observation),
        ConditionedFlow.of(beta, seen.observation),
        lambda action: (action * seen.mask).sum(-1).expand(2, -1),
        1.0,
        numbers.normal(seen, width),
        numbers.normal(seen, 3, width).transpose(0, 1),
        seen.mask,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_at_equal_weights_the_path_kl_is_nothing(folders, kind):
    of = policy(folders, kind, checkpointing=kind == "pi05")
    seen, theta, beta = batch(of), copy.deepcopy(of.field), copy.deepcopy(of.field).requires_grad_(False)
    for bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False):
            loss, info = loss_of(theta, beta, seen)
        assert float(info["path_kl"]) == 0
        assert loss.dtype == torch.float32
        learned = [p for p in theta.parameters() if p.requires_grad]
        assert all(g.isfinite().all() for g in torch.autograd.grad(loss, learned))


def test_copies_share_what_is_frozen_and_its_prefix_is_computed_once(folders, monkeypatch):
    of = policy(folders)
    theta = copy.deepcopy(of.field)
    mine, ours = dict(theta.network.named_parameters()), dict(of.field.network.named_parameters())
    shared = {name for name in mine if mine[name] is ours[name]}
    assert {name.partition(".")[0] for name in shared} == {"vision", "projector", "text"}
    assert {n for n, p in mine.items() if p.requires_grad}.isdisjoint(shared)
    assert set(theta.state_dict()) == {n.replace(".", "/") for n in mine.keys() - shared} | {"reach", "asks"}
    made = []
    run = PiModel.scene
    monkeypatch.setattr(PiModel, "scene", lambda self, *a: made.append(1) or run(self, *a))
    learner = LearnerConfig(extraction=choose(EXTRACTIONS, "qam", steps=4)).learner(of, SHAPE)
    learner.update(batch(of), noise(), Progress(0, 2))
    assert len(made) == 1
    learner.update(batch(of), noise(), Progress(1, 2))
    assert len(made) == 2


def test_a_critic_by_the_policys_own_tower_looks_once(folders, monkeypatch):
    of, counted = policy(folders, "smolvla"), []
    look = SmolVlaModel.look
    monkeypatch.setattr(SmolVlaModel, "look", lambda self, *a: counted.append(1) or look(self, *a))
    shape = replace(SHAPE, backbone=choose(BACKBONES, "siglip", width=8, heads=2))
    learner = LearnerConfig(extraction=choose(EXTRACTIONS, "qam", steps=4)).learner(of, shape)
    start = copy.deepcopy(learner.critic)
    info = learner.update(batch(of), noise(), Progress(0, 2))
    assert len(counted) == 2  # at the state and the next one, by critic, its average and the policy together
    assert all(value.isfinite().all() for value in info.values())
    moved = [n for n, p in learner.critic.named_parameters() if not torch.equal(p, start.get_parameter(n))]
    assert {"encoder.seen.weight", "encoder.asked.weight", "encoder.step", "encoder.keys.weight"} <= set(
        moved
    )
    assert not any("vision" in name for name in learner.critic.state_dict())
    seen = batch(of)
    features = start.features(seen.observation)
    values = start.q(features, torch.stack([seen.action, seen.action + 1]))
    torch.testing.assert_close(values[:, 0], start.q(features, seen.action))
    other = seen.observation._replace(
        image=255 - seen.observation.image, state=seen.observation.state.clone()
    )
    same = (start.q(start.features(other), seen.action) == start.q(features, seen.action)).all(0)
    assert same.tolist() == [False, True, False, False]  # whose camera shows nothing


def test_a_critic_that_reads_as_gemma_does_learns_whole(folders):
    of = policy(folders, "pi05")
    small = {"width": 16, "hidden": 32, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 8}
    shape = replace(SHAPE, backbone=choose(BACKBONES, "gemma", **small))
    learner = LearnerConfig(extraction=choose(EXTRACTIONS, "qam", steps=4)).learner(of, shape)
    start = copy.deepcopy(learner.critic)
    learner.update(batch(of), noise(), Progress(0, 2))
    still = [n for n, p in learner.critic.named_parameters() if torch.equal(p, start.get_parameter(n))]
    assert not still


@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        ({}, {"expert"}),
        ({"precision": "bfloat16", "expert": "lora"}, {"expert"}),
        ({"expert": "frozen", "backbone": "lora"}, {"text"}),
        ({"backbone": "full", "checkpointing": True}, {"text", "vision", "projector", "expert"}),
    ],
)
def test_what_is_asked_to_learn_learns_and_nothing_else(folders, settings, moved):
    of = policy(folders, **settings)
    whole = {n: p.detach().clone() for n, p in of.field.network.named_parameters()}
    learner = ImitationConfig(OptimConfig(1e-2), average=0).learner(of, SHAPE)
    for u in range(3):
        learner.update(batch(of), noise(), Progress(u, 3))
    after = dict(learner.policy.field.network.named_parameters())
    changed = {n.partition(".")[0] for n in whole if not torch.equal(after[n], whole[n])}
    assert {name for name in changed if "action" not in name and name != "state_proj"} == moved
    merged = learner.policy.field.merged()
    assert moved <= {name.partition(".")[0] for name in merged}
    query = "text.layers.0.self_attn.q_proj.weight"
    assert query not in merged or not torch.equal(merged[query], whole[query])


def test_padding_is_noise_and_counts_nowhere(folders):
    of = policy(folders)
    seen = batch(of)
    assert seen.dim_mask is None
    assert seen.action.shape == (4, 2 * 7)
    padding = seen.mask.view(4, 2, 7)[..., 2:]
    assert (padding == 0).all()
    assert of.field.limit.view(2, 7)[:, :2].tolist() == [[3.0, 3.0]] * 2  # by the farther of -2 and 3
    x, w = torch.randn(4, 14), torch.full((4, 1), 0.5)
    flow = ConditionedFlow.of(of.field, seen.observation)
    loss, _ = flow_matching_loss(flow, seen.action, seen.mask, x, w)
    other = seen.action + (1 - seen.mask)
    assert not torch.equal(loss, flow_matching_loss(flow, other, seen.mask, x, w)[0])  # it enters the network
    by_action = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        LearnerConfig().learner(of, SHAPE)._extracting(seen).q(by_action).sum(), by_action
    )
    assert (gradient * (1 - seen.mask) == 0).all()  # but not Q


def test_two_workers_gradients_are_ones(folders):
    of = policy(folders, "smolvla")
    theta = copy.deepcopy(of.field)
    learned = [p for p in theta.parameters() if p.requires_grad]

    def gradient(rows: slice) -> list[torch.Tensor]:
        part = batch(of, rows=rows)
        loss, _ = loss_of(theta, of.field, part)
        return list(torch.autograd.grad(loss, learned))

    whole = gradient(slice(None))
    halves = zip(gradient(slice(0, 2)), gradient(slice(2, 4)), strict=True)
    for one, (first, second) in zip(whole, halves, strict=True):
        torch.testing.assert_close((first + second) / 2, one, atol=1e-5, rtol=1e-4)


def test_advantage_is_told_in_words(folders):
    of = policy(folders)
    config = LearnerConfig(
        extraction=choose(EXTRACTIONS, "advantage"),
        reference=ReferenceConfig(mode="frozen"),
        policy_average=0.5,
    )
    learner = config.learner(of, SHAPE)
    seen = batch(of)
    good = learner.theta.told(seen.observation, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert (good.token_mask.sum(1) == seen.observation.token_mask.sum(1) + 20).all()
    assert not torch.equal(good.tokens[0], good.tokens[1])
    for u in range(2):
        learner.update(batch(of), noise(), Progress(u, 2))
    assert float(learner.policy.field.asks) == 1
    assert float(learner.theta.asks) == 0
    again = FlowPolicy(replace(learner.policy.config))
    again.load_state_dict(learner.policy.state_dict())
    x = torch.randn(4, 14)
    flows = [ConditionedFlow.of(f.field, seen.observation).velocity(x, 0.2) for f in (learner.policy, again)]
    assert torch.equal(*flows)
