"""What the seam promises: one prefix for many flows, gradients where they belong, sizes that are kept."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.rl.flow import flow_matching_loss
from lwd_core.rl.qam import QAM, policy_loss
from lwd_core.rl.vla.model import Prefix
from lwd_core.rl.vla.pictures import prepared
from tests.lwd_core.rl.vla.golden import INSTRUCTIONS, KINDS, folder, golden, model, pictures


def prefix_of(kind: str, gradient: bool = False) -> tuple[Prefix, Tensor]:
    at, state = folder(kind), golden(kind)["normal_state"]
    images, there = prepared(at.config, pictures(kind))
    return model(kind).prefix(images, there, *at.prompter(INSTRUCTIONS, state), state, gradient), state


@pytest.mark.parametrize("kind", KINDS)
def test_the_paper_s_loss_runs_through_the_expert_alone(kind: str) -> None:
    network = model(kind)
    prefix, state = prefix_of(kind)
    flow = network.at(prefix, state)
    noise = torch.randn(2, 3, network.width, generator=torch.Generator().manual_seed(1))
    loss, info = policy_loss(
        QAM(steps=2), flow, flow, lambda a: -a.square().sum(-1).unsqueeze(0), 1.0, noise[0], noise[1:]
    )
    assert info["path_kl"] == 0
    network.zero_grad()
    loss.backward()
    reached = {id(p) for p in network.parameters() if p.grad is not None and p.grad.any()}
    assert {id(p) for p in network.expert_parameters()} >= reached
    assert len(reached) > 0.9 * len(list(network.expert_parameters()))
    whole = sum(p.numel() for p in network.parameters())
    assert whole == sum(
        p.numel() for group in (network.expert_parameters(), network.backbone_parameters()) for p in group
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_run_again_gives_the_same_gradient(kind: str) -> None:
    network, (prefix, state) = model(kind), prefix_of(kind, gradient=True)
    action = golden(kind)["loss_action"].flatten(1)

    def gradients() -> list[Tensor]:
        loss, _ = flow_matching_loss(
            network.at(prefix, state), action, torch.ones_like(action), -action, torch.full((3, 1), 0.3)
        )
        learned = [network.action_in_proj.weight, network.projector.weight]
        return list(torch.autograd.grad(loss, learned, retain_graph=True))

    plain = gradients()
    network.checkpointing = True
    again = gradients()
    network.checkpointing = False
    assert plain[1].any()  # asked for, it goes to the backbone too
    for one, two in zip(plain, again, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_masked_counts_for_nothing(kind: str) -> None:
    at, known, network = folder(kind), golden(kind), model(kind)
    state = known["normal_state"]
    images, there = prepared(at.config, pictures(kind))
    tokens, mask = at.prompter(INSTRUCTIONS, state)
    there = there.clone()
    there[:, 1] = False
    noise, made = known["noise"].flatten(1), list[Tensor]()
    for seed in (0, 1):
        other = torch.Generator().manual_seed(seed)
        junk = torch.where(there[:, :, None, None, None], images, torch.rand(images.shape, generator=other))
        words = torch.where(mask, tokens, torch.randint(5, 90, tokens.shape, generator=other))
        prefix = network.prefix(junk, there, words, mask, state)
        made.append(network.at(prefix, state).velocity(noise, 0.3))
        assert not prefix.keys[0].requires_grad
    assert torch.equal(*made)
    rows = network.at(prefix[1:], state[1:]).velocity(noise[1:], 0.3)
    torch.testing.assert_close(rows, made[0][1:], atol=1e-5, rtol=0)


def test_cameras_and_states_that_do_not_fit_are_refused() -> None:
    at, seen = folder("pi0"), pictures("pi0")
    with pytest.raises(UserError, match="no camera; this checkpoint has base, left, right"):
        prepared(at.config, {})
    with pytest.raises(UserError, match="camera eye3: this checkpoint has none of that name"):
        prepared(at.config, {f"eye{i}": seen["base"] for i in (3, 4, 5, 6, 7, 8, 9)})
    with pytest.raises(ValueError, match="a state of 6 numbers; this network takes 5"):
        model("pi0").padded(torch.zeros(1, 6))
    with pytest.raises(UserError, match="61 tokens; this network takes 60"):
        at.prompter(["x" * 59], torch.zeros(1, 3))
    of_fewer = replace(at.prompter, rows=at.prompter.tokenizer.token_to_id("y"))
    of_fewer(["x"], torch.zeros(1, 3))
    with pytest.raises(UserError, match="instruction 'xy': y is a token that this network has no embedding"):
        of_fewer(["xy"], torch.zeros(1, 3))
    some = prepared(at.config, seen, {"left": torch.tensor([True, False, True])})
    assert some[1].tolist() == [[True, True, False], [True, False, False], [True, True, False]]
    assert (some[0][1, 1] == -1).all()
