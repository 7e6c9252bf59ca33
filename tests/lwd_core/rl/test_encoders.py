"""Cameras behind the encoder's seam: shapes, what is told apart, what is frozen, what learns."""

import pytest
import torch

from lwd_core.rl.chosen import choose, plain
from lwd_core.rl.encoders import (
    BACKBONES,
    EYES,
    CameraEncoder,
    EncoderConfig,
    Observation,
    ProprioEncoder,
    VisionConfig,
    new_encoder,
)
from lwd_core.rl.networks import Critic, CriticConfig, FieldConfig, VelocityField

VISION = VisionConfig(("front", "wrist"), height=16, width=24, stages=(4, 8), features=12)


def config(vision: VisionConfig | None = VISION) -> EncoderConfig:
    return EncoderConfig(5, instruction_dim=8, instruction_features=3, vision=vision)


def observation(batch: int = 4) -> Observation:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, 2, 16, 24, 3), dtype=torch.uint8, generator=generator)
    return Observation(
        torch.randn(batch, 5, generator=generator), torch.randn(batch, 8, generator=generator), image
    )


def test_a_policy_without_a_backbone_is_described_as_before_there_were_any() -> None:
    # a policy's id names these bytes: the same checkpoint is the same policy
    assert plain(config(None)) == {
        "state_dim": 5, "instruction_dim": 8, "instruction_features": 3, "vision": None
    }  # fmt: skip
    named = plain(EncoderConfig(5, backbone=choose(BACKBONES, "proprio")))
    assert named["backbone"] == {"kind": "proprio"}


def test_features_stand_side_by_side():
    assert isinstance(new_encoder(config(None)), ProprioEncoder)
    encoder = new_encoder(config())
    assert isinstance(encoder, CameraEncoder)
    assert encoder.width == 5 + 3 + 2 * 12
    seen = observation()
    feature = encoder(seen)
    assert feature.shape == (4, encoder.width)
    torch.testing.assert_close(feature[:, :8], encoder.proprio(seen))
    # Each camera has a tower and a place of its own.
    assert seen.image is not None
    other = seen.image.clone()
    other[:, 1] = 0
    changed = encoder(seen._replace(image=other)) != feature
    assert not changed[:, :20].any()
    assert changed[:, 20:].any(1).all()


def test_a_network_with_cameras_asks_for_images():
    with pytest.raises(ValueError, match="give it images"):
        new_encoder(config())(observation()._replace(image=None))
    with pytest.raises(ValueError, match="at least one each"):
        VisionConfig(())
    with pytest.raises(ValueError, match="at least 8"):
        VisionConfig(("front",), height=6)


@pytest.mark.parametrize("frozen", [False, True])
def test_towers_learn_unless_frozen(frozen):
    vision = VisionConfig(("front", "wrist"), 16, 24, (4, 8), 12, frozen)
    field = VelocityField(FieldConfig(config(vision), action_dim=2, chunk=3, hidden=16))
    critic = Critic(CriticConfig(config(vision), 2, 3, hidden=16, atoms=11))
    for network, encoder in ((field, field.encoder), (critic, critic.encoder)):
        towers = list(encoder.towers.parameters())
        assert all(p.requires_grad != frozen for p in towers)
        out = (
            network.at(observation()).velocity(torch.ones(4, 6), 0.5)
            if isinstance(network, VelocityField)
            else network.q(network.features(observation()), torch.ones(4, 6))
        )
        out.square().sum().backward()
        assert all((p.grad is None) == frozen for p in towers)
        assert frozen or all(p.grad.abs().sum() > 0 for p in towers)
    # What is frozen when only the action expert learns holds the towers.
    assert {id(p) for p in field.encoder.towers.parameters()} <= {id(p) for p in field.trunk()}


def test_what_never_learns_is_not_frozen_beside() -> None:
    with pytest.raises(ValueError, match="a pretrained backbone never learns"):
        VisionConfig(("front",), frozen=True, pretrained=choose(EYES, "efficientnet-lite0"))
