"""The finder: what it learns from is true, it sees by its door, and its reader looks words up."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.features.extractor import FeatureExtractor
from lwd_core.fleet.sim.orders import COLOURS, PLACES, SHELF_TOP, SHELVES
from lwd_core.fleet.sim.rendering import can_render
from lwd_core.rl.chosen import choose
from lwd_core.rl.encoders import BACKBONES, EYES, EncoderConfig, Observation, VisionConfig, new_encoder
from tests.packages import Install

KINDS = 12


@pytest.fixture
def weights(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the installed finder looks for weights; there are none."""
    install("finder")
    from goods_finder import network

    monkeypatch.setattr(network, "WEIGHTS", tmp_path / "finder.safetensors")
    return tmp_path / "finder.safetensors"


@pytest.mark.skipif(not can_render(), reason="nothing to render with")
def test_it_learns_where_goods_are(weights: Path) -> None:
    from goods_finder.kinds import KINDS as GOODS
    from goods_finder.learning import calibrate, places_missed, teach
    from goods_finder.network import FinderNetwork
    from goods_finder.scenes import FIRST, FIRST_KEPT_OUT, composed, driven

    scenes = composed(range(FIRST, FIRST + 32))
    assert scenes.there.sum() == 4 * 32
    shown = [
        (np.array(COLOURS[GOODS[kind].colour]), scenes.pictures[scene, int(128 * v), int(128 * u)])
        for scene, kind in np.argwhere(scenes.there)
        for u, v in [scenes.pixels[scene, kind]]
    ]
    alike = [np.argmax(colour) == np.argmax(pixel) for colour, pixel in shown]
    assert np.mean(alike) > 0.8  # but for what fingers hide
    network = FinderNetwork()
    losses = list(teach(network, scenes, 3))
    assert losses[-1] < losses[0]
    calibrate(network, scenes)
    network.threshold.data += 100  # it sees everything everywhere
    missed = places_missed(network, driven([FIRST_KEPT_OUT]))
    assert missed["found"] == 1
    assert missed["right"] == pytest.approx(4 / KINDS)


def test_without_weights_it_says_how_to_make_them(weights: Path) -> None:
    with pytest.raises(UserError, match=r"finder\.safetensors: no weights .*`python -m goods_finder"):
        FeatureExtractor(choose(EYES, "goods-finder"), 128, 128)


def test_weights_of_another_version_are_refused_and_never_half_written(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from goods_finder import __main__ as script
    from goods_finder.network import FinderNetwork, made_for
    from safetensors.torch import save_file

    script.keep({"finder": FinderNetwork()}, weights)
    before = weights.read_bytes()
    made_for(FinderNetwork(), "finder")
    with pytest.raises(UserError, match=r"finder\.safetensors: no weights .*`python -m goods_finder"):
        made_for(FinderNetwork(), "words")  # it has none of these
    with pytest.raises(UserError, match=r"finder\.safetensors: no weights .*`python -m goods_finder"):
        made_for(FinderNetwork(width=16), "finder")

    def cut_off(tensors: dict[str, torch.Tensor], file: Path) -> None:
        save_file(tensors, file)
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "save_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        script.keep({"finder": FinderNetwork()}, weights)
    assert weights.read_bytes() == before
    assert [path.name for path in weights.parent.iterdir() if path.is_file()] == [weights.name]


@pytest.mark.parametrize("asked", ["--pictures=15", "--passes=0", "--kept-out=0"])
def test_too_little_to_learn_from_is_said(
    install: Install, asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("finder")
    from goods_finder import __main__ as script

    monkeypatch.setattr("sys.argv", ["goods_finder", asked])
    with pytest.raises(SystemExit):
        script.main()
    assert f"{asked.partition('=')[0]}: at least" in capsys.readouterr().err


def test_a_policy_hears_of_the_goods_that_are_meant_alone(weights: Path) -> None:
    from goods_finder.kinds import MIDDLE, UNIT
    from goods_finder.network import FinderNetwork
    from goods_finder.reader import OrderWords
    from safetensors.torch import save_file

    words = OrderWords(KINDS + len(PLACES))
    words.read.weight.data = torch.eye(KINDS + len(PLACES))  # a text's numbers are what it means
    parts = {"finder": FinderNetwork(), "words": words}
    save_file(
        {f"{part}.{name}": t for part, module in parts.items() for name, t in module.state_dict().items()},
        weights,
    )
    eyes = choose(EYES, "goods-finder")
    extractor = FeatureExtractor(eyes, 128, 128)
    assert extractor(np.zeros((9, 128, 128, 3), np.uint8)).shape == (9, 4 * KINDS)

    vision = VisionConfig(("scene",), 128, 128, pretrained=eyes)
    reader = choose(BACKBONES, "order-reader")
    encoder = new_encoder(EncoderConfig(8, KINDS + len(PLACES), vision=vision, backbone=reader))
    seen = torch.rand(1, 1, KINDS, 4)
    seen[..., 0] = 1.0
    said = torch.zeros(1, KINDS + len(PLACES))
    said[0, 5] = said[0, KINDS + 2] = 1
    feature = encoder(Observation(torch.arange(8.0)[None], said, seen.flatten(2)))
    assert feature.shape == (1, encoder.width)
    assert torch.allclose(feature[0, :8], torch.arange(8.0))
    assert torch.equal(feature[0, 8:12], seen[0, 0, 5])
    hand, shelf = torch.arange(3.0), (torch.tensor([*SHELVES[2], SHELF_TOP]) - torch.tensor(MIDDLE)) / UNIT
    assert torch.allclose(feature[0, 12:15], seen[0, 0, 5, 1:] - hand)
    assert torch.allclose(feature[0, 15:18], shelf.float() - hand, atol=1e-5)
    two = VisionConfig(("wrist", "scene"), 128, 128, pretrained=eyes)
    with pytest.raises(UserError, match=r"network\.vision\.cameras: order-reader looks through one"):
        new_encoder(EncoderConfig(8, KINDS + len(PLACES), vision=two, backbone=reader))
    with pytest.raises(UserError, match="order-reader needs `vision` with `pretrained: goods-finder`"):
        new_encoder(EncoderConfig(8, backbone=reader))
