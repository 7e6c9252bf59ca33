"""Any vision-language model that transformers reads as a policy's field, with a flow expert of our own.

    network: {field: {kind: vlm, folder: …, cameras: [front, wrist]}}

The model never learns, is in memory once for all copies, and runs once for an observation; the expert begins
with random weights, in the platform's own units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as setting
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakValueDictionary

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.rl.encoders import Observation, VisionConfig
from lwd_core.rl.fields import BaseFiles, FieldKind, Flow, Measured, PolicyField
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.policy import FlowPolicy, Normaliser, PolicyConfig
from lwd_core.rl.vla.field import ADVANTAGE
from lwd_core.rl.vla.fit import seen_by
from lwd_core.rl.vla.generic import HiddenExpert, HiddenExpertConfig, HiddenPrefix
from lwd_core.rl.vla.model import VlaAt
from lwd_core.rl.vla.recent import Recent, modes, spoken
from lwd_core.rl.vla.vlm import VlmFolder


@dataclass(frozen=True)
class Vlm(FieldKind):
    """A transformers model's folder, with its processor's files (``save_pretrained`` of both).

    cameras: the lake's, in the order in which the prompt shows them; a picture that is not there is black.
    pixels: height and width that frames are scaled to before the processor; null leaves them as they were
    taken. hidden (its width), layers, heads: of the expert. precision: of the model.

    base is filled in by whoever makes the policy: digests of the folder's files; one with others is refused.
    """

    folder: str
    cameras: tuple[str, ...] = ()
    pixels: tuple[PositiveInt, PositiveInt] | None = None
    hidden: PositiveInt = 512
    layers: PositiveInt = 8
    heads: PositiveInt = 8
    precision: Literal["float32", "bfloat16"] = "float32"
    base: Mapping[str, str] = setting(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError("cameras: at least one of the lake's, as a list")
        if len(set(self.cameras)) < len(self.cameras):
            raise ValueError("cameras: one of them twice")
        if self.hidden % (2 * self.heads):
            raise ValueError("hidden: each head has an even number of it; make it a multiple of 2 × heads")

    def sees(self, sizes: Mapping[tuple[str, str], tuple[int, int]]) -> VisionConfig:
        return seen_by(self.cameras, self.pixels, sizes)

    def policy(self, config: PolicyConfig, measured: Measured) -> FlowPolicy:
        """An expert that knows nothing, on the model."""
        settled, net = replace(self, folder=str(Path(self.folder).absolute())), config.field
        folder, vision = vlm_of(settled).folder, net.encoder.vision
        if vision is not None:
            folder.probe(len(vision.cameras), vision.height, vision.width)
        made = replace(settled, base=folder.digests)
        units = VlmUnits(measured.state["mean"], measured.state["std"], measured.low, measured.high)
        kind = replace(cast(Any, net.kind), made=made)
        return FlowPolicy(replace(config, field=replace(net, kind=kind)), units)

    def field(self, config: FieldConfig) -> "VlmField":
        return VlmField(config, self)

    def units(self, config: FieldConfig) -> "VlmUnits":
        state, ends = torch.zeros(config.encoder.state_dim), torch.ones(config.action_dim)
        return VlmUnits(state, state + 1, -ends, ends)

    def width(self, action_dim: int) -> int:
        return action_dim

    def going_on(self, asked: FieldKind) -> "Vlm | None":
        """The folder may lie elsewhere."""
        if not isinstance(asked, Vlm):
            return None
        folder = str(Path(asked.folder).absolute())
        now = replace(self, folder=folder, precision=asked.precision)
        return now if replace(asked, folder=folder, base=asked.base or self.base) == now else None

    def base_files(self) -> BaseFiles:
        folder = vlm_of(self).folder
        return BaseFiles("vlm", folder.files, learned_on=folder.digests)

    def give_back(self, policy: FlowPolicy, out: Path) -> tuple[str, ...]:
        raise UserError(
            "this policy is an expert of our own on a model of transformers, which LeRobot has no class for; "
            "`lwd hub push-policy` shares it as it is"
        )

    def placed(self, folder: Path | None) -> "Vlm":
        return replace(self, folder="" if folder is None else str(folder))


class VlmUnits(Normaliser):
    """The platform's own; words as their bytes, for the model's processor wants them beside the pictures."""

    def prompt(self, instructions: Sequence[str], state: Tensor) -> tuple[Tensor, Tensor]:
        rows = [list(text.encode()) for text in instructions]
        length = max(map(len, rows), default=0)
        tokens = [row + [0] * (length - len(row)) for row in rows]
        mask = [[i < len(row) for i in range(length)] for row in rows]
        made = torch.tensor(tokens, dtype=torch.int64), torch.tensor(mask, dtype=torch.bool)
        return made[0].to(state.device), made[1].to(state.device)


class VlmBase:
    """A model as all experts on it share it."""

    def __init__(self, folder: VlmFolder):
        self.folder, self._prefixes = folder, Recent[HiddenPrefix]()

    def prefix(self, observation: Observation) -> HiddenPrefix:
        """What the model makes of an observation."""
        if observation.image is None:
            raise ValueError("this network has cameras; give it images")
        return self._prefixes.of((*observation, *modes(observation.state)), lambda: self._read(observation))

    def _read(self, observation: Observation) -> HiddenPrefix:
        tokens, mask = (part.cpu() for part in spoken(observation))
        said = [
            cast(list[int], cast(Any, row[there]).tolist()) for row, there in zip(tokens, mask, strict=True)
        ]
        texts = [bytes(row).decode() for row in said]
        pictures, there = cast(Tensor, observation.image), observation.image_mask
        if there is not None:
            pictures = pictures * there[:, :, None, None, None].to(pictures.dtype)
        if pictures.is_floating_point():
            pictures = (pictures * 255).round().to(torch.uint8)
        shown = [list(row) for row in pictures.cpu().numpy()]
        return self.folder.hidden(self.folder.inputs(texts, shown))

    def __deepcopy__(self, memo: dict[int, Any]) -> "VlmBase":
        return self


_MODELS = WeakValueDictionary[tuple[str, str], VlmBase]()


def vlm_of(kind: Vlm) -> VlmBase:
    """The model a field stands on. `UserError` where its files are not those its digests name."""
    base = _MODELS.get((kind.folder, kind.precision))
    if base is None:
        base = VlmBase(VlmFolder(Path(kind.folder), getattr(torch, kind.precision)))
        _MODELS[kind.folder, kind.precision] = base
    found = base.folder.digests if kind.base else {}
    for name in sorted({*kind.base, *found}):
        if found.get(name) != kind.base.get(name):
            raise UserError(
                f"{kind.folder}: {name} is not the one that this policy was learned from; give the model it "
                "began with"
            )
    return base


class VlmField(PolicyField):
    """The expert. ``asks``: 1 where it is always told "good"; a parameter, as averages are taken of
    parameters, but not one that learns."""

    def __init__(self, config: FieldConfig, kind: Vlm):
        super().__init__()
        self.config, self.base = config, vlm_of(kind)
        self.expert = HiddenExpert(
            HiddenExpertConfig(
                self.base.folder.width,
                config.action_dim,
                config.encoder.state_dim,
                kind.hidden,
                kind.layers,
                kind.heads,
            )
        )
        self.asks = nn.Parameter(torch.zeros(()), requires_grad=False)

    def at(self, observation: Observation) -> Flow:
        if self.asks > 0.5:
            observation = self.told(observation, torch.ones_like(observation.state[:, 0]))
        return VlaAt(self.expert, self.base.prefix(observation), observation.state)

    def trunk(self) -> list[nn.Parameter]:
        """None: the model never learns."""
        return []

    def told(self, observation: Observation, good: Tensor) -> Observation:
        """In words behind the prompt."""
        tokens, mask = spoken(observation)
        said = [list(f" {text.strip()}".encode()) for text in ADVANTAGE]  # both of a length
        added = torch.tensor(said, device=tokens.device)[(good > 0.5).long()]
        return observation._replace(
            tokens=torch.cat([tokens, added], 1),
            token_mask=torch.cat([mask, torch.ones_like(added, dtype=torch.bool)], 1),
        )

    @torch.no_grad()
    def ask_for_good(self, trained: PolicyField) -> None:
        self.load_state_dict(trained.state_dict())
        self.asks.fill_(1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "VlmField":
        self.base.folder.model._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        return super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType, reportReturnType]
