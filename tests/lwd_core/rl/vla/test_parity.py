"""SmolVLA, pi0 and pi0.5 compute what LeRobot's own code computes, from raw pictures, states and words on.

See goldens/make.py. With $LWD_SAMPLE_DATA the same on the checkpoints with known answers that lie there.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lwd_core.rl.flow import flow_matching_loss, sample, vjp
from lwd_core.rl.vla import weights
from lwd_core.rl.vla.checkpoint import new_model
from lwd_core.rl.vla.config_json import read_config
from lwd_core.rl.vla.model import Prefix, VlaModel
from lwd_core.rl.vla.pictures import prepared
from lwd_core.rl.vla.sizes import PictureSizes, Sizes, StackSizes
from tests.lwd_core.rl.vla.golden import INSTRUCTIONS, KINDS, folder, golden, model, pictures

CLOSE = {"atol": 3e-5, "rtol": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_in_is_the_official_preprocessing_bit_for_bit(kind: str) -> None:
    at, known = folder(kind), golden(kind)
    state = at.statistics.state(known["state"])
    assert torch.equal(state, known["normal_state"])
    tokens, mask = at.prompter(INSTRUCTIONS, state)
    assert torch.equal(tokens, known["tokens"])
    assert torch.equal(mask, known["mask"])
    images, there = prepared(at.config, pictures(kind))
    for place, name in enumerate(at.config.cameras):
        if name in pictures(kind):
            assert torch.equal(images[:, place], known[f"image_{name}"]), name
        assert there[:, place].all() == (name in pictures(kind))
    action = known["loss_action"][..., : at.config.real_action_dim]
    assert torch.equal(at.statistics.raw_action(action), known["raw_action"])
    torch.testing.assert_close(at.statistics.action(known["raw_action"]), action, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_out_is_the_official_network(kind: str) -> None:
    at, known = folder(kind), golden(kind)
    state = at.statistics.state(known["state"])
    images, there = prepared(at.config, pictures(kind))
    prefix = model(kind).prefix(images, there, *at.prompter(INSTRUCTIONS, state), state)
    _same(model(kind), prefix, state, known)


def _same(network: VlaModel, prefix: Prefix, state: Tensor, known: dict[str, Tensor]) -> None:
    present = known["present"] if "present" in known else known["prefix_pad"]
    assert torch.equal(prefix.present, present)
    torch.testing.assert_close(prefix.tokens[present], known["prefix"][present], **CLOSE)
    for ours, theirs in ((prefix.keys, known["keys"]), (prefix.values, known["values"])):
        stacked = torch.stack(ours)
        theirs = theirs if theirs.shape == stacked.shape else theirs.transpose(2, 3)
        torch.testing.assert_close(
            stacked.transpose(2, 3)[:, present], theirs.transpose(2, 3)[:, present], **CLOSE
        )
    flow, noise = network.at(prefix, state), known["noise"].flatten(1)
    times = [1 - float(t) for t in known["times"]]
    for w, velocity, pull in zip(times, known["velocity"], known["pull"], strict=True):
        torch.testing.assert_close(-flow.velocity(noise, w), velocity.flatten(1), **CLOSE)
        pulled = vjp(flow, noise, w, known["cotangent"].flatten(1))
        torch.testing.assert_close(-pulled, pull.flatten(1), **CLOSE)
    both = flow.velocity(noise.expand(3, -1, -1), torch.tensor(times, dtype=torch.float64).view(-1, 1, 1))
    torch.testing.assert_close(-both, known["velocity"].flatten(2), **CLOSE)

    x, steps = noise, network.config.steps
    for i in range(steps):
        x = x + flow.velocity(x, i / steps).detach() / steps
    chunk = known["chunk"]  # of some the real dims alone
    whole = x.unflatten(1, (-1, network.config.action_dim))
    torch.testing.assert_close(whole[..., : chunk.shape[-1]], chunk, **CLOSE)
    torch.testing.assert_close(sample(flow, noise, steps), x.clamp(-1, 1))
    action, w = known["loss_action"].flatten(1), 1 - known["loss_time"].unsqueeze(1)
    loss, _ = flow_matching_loss(flow, action, torch.ones_like(action), noise, w)
    each = (flow.velocity(torch.lerp(noise, action, w), w) - (action - noise)).square()
    torch.testing.assert_close(each, known["loss"].flatten(1), **CLOSE)
    torch.testing.assert_close(loss, known["loss"].mean(), **CLOSE)


HANDED = Path(os.environ.get("LWD_SAMPLE_DATA", "/nowhere")) / "vla"
_STACK = StackSizes(48, 96, 3, 8, 1, 8)
_PI = Sizes(PictureSizes(24, 48, 2, 2, 14, 28), _STACK, StackSizes(32, 64, 3, 8, 1, 8), 320)


@pytest.mark.skipif(not HANDED.is_dir(), reason="LWD_SAMPLE_DATA names no folder with vla/")
@pytest.mark.parametrize("name", ["pi0", "pi05", "smolvla", "smolvla_skewed"])
def test_known_answers_that_were_handed_over(name: str) -> None:
    at = HANDED / name
    config = read_config(at, _PI if name.startswith("pi") else None)
    network = new_model(config, "skewed" if name == "smolvla_skewed" else "exact")
    file = at / weights.WEIGHTS
    keys = weights.checked(file, config.kind, dict(network.named_parameters()))
    weights.load(file, config.kind, network, keys)
    with np.load(at / "golden.npz") as opened:
        known = {n: torch.from_numpy(opened[n]) for n in opened}
    seen = {
        c: known[f"observation_images_{c}"].permute(0, 2, 3, 1)
        for c in config.cameras
        if f"observation_images_{c}" in known
    }
    images, there = prepared(config, seen)
    state = known["observation_state"]
    words = known["observation_language_tokens"], known["observation_language_attention_mask"]
    _same(network, network.prefix(images, there, *words, state), state, known)
