"""What a network sees of the world, and the encoders that make one flat feature of it.

The seam where senses come in: a field or critic holds an `ObservationEncoder` and asks no more of it than a
feature of known width. Proprioception and the instruction are always there; cameras are added by a
`VisionConfig`; another package's encoder comes in by the door.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, cast

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from lwd_core.errors import UserError
from lwd_core.plugins import Door
from lwd_core.rl.chosen import LATER, Chosen, chosen_by

if TYPE_CHECKING:
    from lwd_core.rl.networks import FieldConfig


class Observation(NamedTuple):
    """What a network sees of the world.

    state: (B, S) normalised; instruction: (B, E) sentence embedding; image: (B, C, height, width, 3) u8, RGB,
    or what a pretrained backbone makes of them, (B, C, F) f32; None for a network without cameras.
    image_mask: (B, C) bool, false for a camera that an embodiment has not, whose pixels mean nothing; None
    where all are pictures. tokens, token_mask: (B, L) i64 and bool, what a network that reads is told, and
    where that is text; None for one that doesn't.
    """

    state: Tensor
    instruction: Tensor
    image: Tensor | None = None
    image_mask: Tensor | None = None
    tokens: Tensor | None = None
    token_mask: Tensor | None = None


class ObservationEncoder(Protocol):
    """An ``nn.Module`` from an observation to a flat feature (B, width); ``project`` is where the instruction
    enters, if so."""

    width: int

    @property
    def project(self) -> nn.Linear | None: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def __call__(self, observation: Observation) -> Tensor: ...


class ChunkEncoder(nn.Module, ABC):
    """An encoder of a critic whose feature depends on what is done, too: `facing` makes it, of width
    ``width``, from what the observation gives."""

    width: int

    @abstractmethod
    def facing(self, features: Tensor, action: Tensor | None) -> Tensor:
        """Features (B, …) and chunks (…, B, A) to (…, B, width); None asks for the state's own."""


class PictureBackbone(Protocol):
    """A network trained elsewhere that never learns here; its settings are a frozen dataclass's fields.

    What it makes of a picture depends on the picture, the settings and its weights alone.
    """

    @property
    def width(self) -> int:
        """F, numbers of a picture's features."""
        ...

    def module(self) -> nn.Module:
        """Pictures (B, height, width, 3) u8, RGB, of any size to features (B, F) f32. Nothing is downloaded;
        `UserError` where its weights are not installed."""
        ...


EYES: Door[type[Any]] = Door(
    "lwd.eyes",
    {"efficientnet-lite0": "lwd_core.features.efficientnet:EfficientNetLite0"},
    needs=("module", "width"),
    kind="picture backbone",
)


@dataclass(frozen=True)
class VisionConfig:
    """A small residual conv net for each camera, as OGBench's baselines see pixels ("impala_small").

    cameras: by name, in the order images come in. height, width: what frames are scaled to; 64 is OGBench's.
    stages: channels, each stage halving the image; features: width each camera's picture is brought to; one
    block a stage: IMPALA's net (arXiv 1802.01561, fig. 3) as FQL shrinks it (arXiv 2502.02538: 16, 32, 32 and
    512). frozen: the tower keeps the weights it begins with.
    pretrained: a backbone whose features, computed once a frame, stand in the pictures' place; of the tower a
    layer to ``features`` is left, and ``stages`` say nothing. seen_by: digest of that backbone with its
    preprocessing; whoever makes the policy fills it in, and one with another digest is refused.
    """

    cameras: tuple[str, ...]
    height: int = 64
    width: int = 64
    stages: tuple[int, ...] = (16, 32, 32)
    features: int = 512
    frozen: bool = False
    pretrained: Annotated[Chosen[PictureBackbone] | None, chosen_by(EYES, None, addresses=False)] = field(
        default=None, metadata=LATER
    )
    seen_by: str = field(default="", metadata=LATER)

    def __post_init__(self) -> None:
        if not self.cameras or not self.stages:
            raise ValueError("cameras and stages: at least one each")
        if self.frozen and self.pretrained is not None:
            raise ValueError("frozen: a pretrained backbone never learns; leave it out")
        if self.pretrained is None and min(self.height, self.width) < 2 ** len(self.stages):
            raise ValueError(f"height and width: at least {2 ** len(self.stages)} for so many stages")


class Backbone(ABC):
    """What makes an encoder; subclasses are frozen dataclasses of its settings."""

    @abstractmethod
    def encoder(self, config: "EncoderConfig") -> nn.Module:
        """An `ObservationEncoder` for states, embeddings and, with ``config.vision``, images like that."""

    def beside(self, policy: "FieldConfig") -> "Backbone":
        """The same for a critic beside a policy of that shape."""
        return self


BACKBONES: Door[type[Backbone]] = Door(
    "lwd.backbones",
    {
        "proprio": "lwd_core.rl.encoders:Proprio",
        "cameras": "lwd_core.rl.encoders:Cameras",
        "thumbnails": "lwd_core.rl.encoders:Thumbnails",
        "siglip": "lwd_core.rl.vla.critic:Siglip",
        "gemma": "lwd_core.rl.vla.critic:Gemma",
    },
    needs=("encoder",),
    kind="backbone",
)


@dataclass(frozen=True)
class EncoderConfig:
    """``instruction_features`` is the width the sentence embedding is projected to; 0 leaves it out.
    ``backbone``: None is `Cameras` where there is vision, else `Proprio`."""

    state_dim: int
    instruction_dim: int = 384  # all-MiniLM-L6-v2
    instruction_features: int = 32
    vision: VisionConfig | None = None
    backbone: Annotated[Chosen[Backbone] | None, chosen_by(BACKBONES, None, addresses=False)] = field(
        default=None, metadata=LATER
    )


def new_encoder(config: EncoderConfig) -> "ObservationEncoder":
    """The encoder a configuration asks for."""
    own = Cameras() if config.vision else Proprio()
    made = config.backbone.made if config.backbone else own
    return cast(ObservationEncoder, made.encoder(config))


@dataclass(frozen=True)
class Proprio(Backbone):
    """State and instruction alone."""

    def encoder(self, config: EncoderConfig) -> "ProprioEncoder":
        return ProprioEncoder(config)


@dataclass(frozen=True)
class Cameras(Backbone):
    """With a small residual tower for each camera."""

    def encoder(self, config: EncoderConfig) -> "CameraEncoder":
        if config.vision is None:
            raise UserError("network.backbone: cameras, but network.vision names none")
        return CameraEncoder(config, config.vision)


@dataclass(frozen=True)
class Thumbnails(Backbone):
    """With a small residual tower for each camera, on pictures scaled down: for a critic beside a policy that
    sees them in full. See `VisionConfig`."""

    height: PositiveInt = 64
    width: PositiveInt = 64
    stages: tuple[int, ...] = (16, 32, 32)
    features: PositiveInt = 128

    def encoder(self, config: EncoderConfig) -> "CameraEncoder":
        if config.vision is None:
            raise UserError("critic.backbone: thumbnails, but the policy has no cameras")
        vision = VisionConfig(config.vision.cameras, self.height, self.width, self.stages, self.features)
        return CameraEncoder(config, vision)


class ProprioEncoder(nn.Module):
    """State and projected instruction side by side: (B, S + instruction_features)."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.width = config.state_dim + config.instruction_features
        self.project = (
            xavier(nn.Linear(config.instruction_dim, config.instruction_features))
            if config.instruction_features
            else None
        )

    def forward(self, observation: Observation) -> Tensor:
        if self.project is None:
            return observation.state
        project = self.project(observation.instruction)
        return torch.cat([observation.state, project.to(observation.state.dtype)], -1)


class CameraEncoder(nn.Module):
    """Proprioception, instruction and what the cameras' towers see, side by side."""

    def __init__(self, config: EncoderConfig, vision: VisionConfig):
        super().__init__()
        self.proprio = ProprioEncoder(config)
        tower = VisionTower if vision.pretrained is None else FeatureTower
        self.towers = nn.ModuleList(tower(vision) for _ in vision.cameras)
        self.width = self.proprio.width + len(vision.cameras) * vision.features
        if vision.frozen:
            self.towers.requires_grad_(False)

    @property
    def project(self) -> nn.Linear | None:
        return self.proprio.project

    def forward(self, observation: Observation) -> Tensor:
        if observation.image is None:
            raise ValueError("this network has cameras; give it images")
        seen = [
            tower(image).to(observation.state.dtype)
            for tower, image in zip(self.towers, observation.image.unbind(1), strict=True)
        ]
        if observation.image_mask is not None:
            shown = observation.image_mask.unbind(1)
            seen = [torch.where(there.unsqueeze(-1), z, 0.0) for there, z in zip(shown, seen, strict=True)]
        return torch.cat([self.proprio(observation), *seen], -1)


class VisionTower(nn.Module):
    """One camera's pictures (B, height, width, 3) u8 to features (B, F)."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        widths = (3, *config.stages)
        self.stages = nn.ModuleList(
            _Stage(inner, outer) for inner, outer in zip(widths, config.stages, strict=False)
        )
        height, width = self.size = (config.height, config.width)
        for _ in config.stages:
            height, width = (height + 1) // 2, (width + 1) // 2
        self.out = xavier(nn.Linear(config.stages[-1] * height * width, config.features))
        self.norm = nn.LayerNorm(config.features)

    def forward(self, image: Tensor) -> Tensor:
        z = image.permute(0, 3, 1, 2).to(self.out.weight.dtype) / 255
        if z.shape[-2:] != self.size:
            z = F.interpolate(z, self.size, mode="area")
        for stage in self.stages:
            z = stage(z)
        # Normalised so that a feature weighs about what a standardised number of the state does.
        return self.norm(self.out(F.relu(z).flatten(1)))


class FeatureTower(nn.Module):
    """One camera's features by a pretrained backbone (B, F) to those of the policy (B, ``features``)."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        assert config.pretrained is not None
        self.out = xavier(nn.Linear(config.pretrained.made.width, config.features))
        self.norm = nn.LayerNorm(config.features)

    def forward(self, seen: Tensor) -> Tensor:
        return self.norm(self.out(seen))


class _Stage(nn.Module):
    """Convolution, halving, and one residual block."""

    def __init__(self, inner: int, outer: int):
        super().__init__()
        self.enter = nn.Conv2d(inner, outer, 3, padding=1)
        self.first = nn.Conv2d(outer, outer, 3, padding=1)
        self.second = nn.Conv2d(outer, outer, 3, padding=1)
        for layer in (self.enter, self.first, self.second):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, z: Tensor) -> Tensor:
        z = F.max_pool2d(self.enter(z), 3, stride=2, padding=1)
        return z + self.second(F.relu(self.first(F.relu(z))))


def xavier(layer: nn.Linear) -> nn.Linear:
    """Xavier-uniform weights and zero biases, as QAM's networks begin."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
