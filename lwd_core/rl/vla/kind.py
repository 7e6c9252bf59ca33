"""A VLA as a policy's field: its settings, and the policies that are made by them.

network: {field: {kind: vla, folder: …, tokenizer: …, cameras: {front: base_0_rgb}}}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as setting
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import PositiveFloat, PositiveInt

from lwd_core.rl.encoders import VisionConfig
from lwd_core.rl.fields import BaseFiles, Dims, FieldKind, Measured
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.places import Places
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.vla.base import base_of
from lwd_core.rl.vla.checkpoint import TOKENIZER
from lwd_core.rl.vla.field import ADVANTAGE, VlaField
from lwd_core.rl.vla.fit import fits, of_snapshot, plausible, seen_by
from lwd_core.rl.vla.prompt import StatePrompt
from lwd_core.rl.vla.save import files_of, write_folder
from lwd_core.rl.vla.statistics import VlaStatistics
from lwd_core.rl.vla.units import VlaUnits
from lwd_core.rl.vla.vision import PositionIds
from lwd_core.rl.vla.weights import WEIGHTS


@dataclass(frozen=True)
class Vla(FieldKind):
    """A checkpoint in LeRobot's layout.

    folder, tokenizer, position_ids, state_prompt: see `VlaFolder.open`. cameras: the lake's name of a
    camera to the checkpoint's; those of the checkpoint that are left out are masked. pixels: height and
    width that frames are scaled to before the checkpoint's own preparation; null leaves them as they were
    taken. state, action: names of the checkpoint's numbers, in its order, by which those of the embodiments
    find theirs; none leaves them in theirs. expert, backbone: whether they are learned in "full", by adapters
    of ``rank`` (scale ``alpha`` / rank), or not; the expert's projections learn with its adapters.
    statistics: the "checkpoint"'s, or the "snapshot"'s for a checkpoint of other robots. checkpointing:
    activations are computed again in the backward pass. precision: of a frozen backbone.

    What follows is filled in by whoever makes the policy. base: digests of weights, configuration and
    tokenizer; a folder with others is refused. where: places of each embodiment's numbers.
    """

    folder: str
    tokenizer: str | None = None
    cameras: Mapping[str, str] = setting(default_factory=dict[str, str])
    pixels: tuple[PositiveInt, PositiveInt] | None = None
    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    expert: Literal["full", "lora", "frozen"] = "full"
    backbone: Literal["frozen", "lora", "full"] = "frozen"
    rank: PositiveInt = 16
    alpha: PositiveFloat = 32.0
    statistics: Literal["checkpoint", "snapshot"] = "checkpoint"
    position_ids: PositionIds | None = None
    state_prompt: StatePrompt | None = None
    checkpointing: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    base: Mapping[str, str] = setting(default_factory=dict[str, str])
    where: Mapping[str, Places] = setting(default_factory=dict[str, Places])

    def __post_init__(self) -> None:
        if self.expert == self.backbone == "frozen":
            raise ValueError("expert and backbone: both frozen, and nothing would learn")
        if not self.cameras:
            raise ValueError("cameras: at least one, as {name in the lake: name in the checkpoint}")
        if len(set(self.cameras.values())) < len(self.cameras):
            raise ValueError("cameras: two of the lake's for one of the checkpoint's")
        if bool(self.state) != bool(self.action):
            raise ValueError("state, action: names of both, or of neither")

    def sees(self, sizes: Mapping[tuple[str, str], tuple[int, int]]) -> VisionConfig:
        return seen_by(tuple(self.cameras), self.pixels, sizes)

    def places(self, dims: Callable[[], Dims]) -> dict[str, Places]:
        if not self.state:
            return {}
        own = (self.state, self.action)
        return {name: Places.of(names, own, f"embodiment {name}") for name, names in dims().items()}

    def policy(self, config: PolicyConfig, measured: Measured) -> FlowPolicy:
        """The checkpoint's, on the lake's robots."""
        settled, net = _settled(self), config.field
        base = base_of(settled)
        own = base.folder.config
        fits(self, own, net, measured)
        if self.statistics == "snapshot":
            statistics = of_snapshot(own, measured)
        else:
            statistics = base.folder.statistics
            plausible(self, statistics, measured)
        settled = replace(settled, base=base.folder.digests, where=measured.places)
        made = replace(config, field=replace(net, kind=replace(cast(Any, net.kind), made=settled)))
        width = own.action_dim
        units = VlaUnits(
            statistics, base.folder.prompter, width, measured.low, measured.high, measured.places
        )
        policy = FlowPolicy(made, units)
        cast(VlaField, policy.field).reach.copy_(units.reach)
        return policy

    def field(self, config: FieldConfig) -> "VlaField":
        return VlaField(config, self)

    def units(self, config: FieldConfig) -> VlaUnits:
        folder = base_of(self).folder
        own, state, action = folder.config, config.encoder.state_dim, config.action_dim
        blank = VlaStatistics(
            own.state_units,
            (torch.zeros(state), torch.ones(state)),
            own.action_units,
            (torch.zeros(action), torch.ones(action)),
        )
        ends = torch.full((action,), torch.inf)
        return VlaUnits(blank, folder.prompter, own.action_dim, -ends, ends, self.where)

    def width(self, action_dim: int) -> int:
        return base_of(self).folder.config.action_dim

    def going_on(self, asked: FieldKind) -> "Vla | None":
        """The checkpoint may lie elsewhere; what was filled in or left to the folder need not be said."""
        if not isinstance(asked, Vla):
            return None
        said = {name: getattr(asked, name) for name in ("folder", "tokenizer", "checkpointing", "precision")}
        found = ("base", "where", "position_ids", "state_prompt")
        kept = {name: getattr(self, name) for name in found if not getattr(asked, name)}
        now = replace(self, **said)
        return _settled(now) if replace(asked, **kept) == now else None

    def base_files(self) -> BaseFiles:
        folder = base_of(self).folder
        learned_on = {WEIGHTS: folder.digests["weights"], TOKENIZER: folder.digests["tokenizer"]}
        return BaseFiles(folder.config.kind, files_of(folder), folder.position_ids, learned_on)

    def placed(self, folder: Path | None) -> "Vla":
        if folder is not None:
            return replace(self, folder=str(folder), tokenizer=None)
        base = base_of(self).folder
        moved = replace(self, folder="", tokenizer=None, position_ids=base.position_ids)
        return replace(moved, state_prompt=base.state_prompt)

    def give_back(self, policy: FlowPolicy, out: Path) -> tuple[str, ...]:
        """In LeRobot's layout."""
        base, field = base_of(self).folder, cast(VlaField, policy.field)
        write_folder(
            out,
            base,
            {name: value.detach().float() for name, value in field.merged().items()},
            cast(VlaUnits, policy.normaliser).statistics,
            cameras=self.cameras,
            chunk=policy.config.field.chunk,
            steps=policy.config.steps,
        )
        notes = ["Here actions were held within the robot's limits; LeRobot does not hold them."]
        if base.position_ids == "skewed":
            notes.append("Run it in float32 with transformers 4.55 to 4.57, by whose numbering it sees.")
        if base.config.kind == "pi05" and base.config.real_state_dim < base.config.state_dim:
            told = (
                "padded, as LeRobot 0.4 does" if base.state_prompt == "padded" else "as it is, as 0.5.1 does"
            )
            notes.append(f"Its prompt told the state {told}; the other version tells it otherwise.")
        if self.state:
            notes.append(
                f"States are {', '.join(self.state)}; actions {', '.join(self.action)}, in this order."
            )
        if field.asks > 0.5:
            notes.append(f"End its task with {ADVANTAGE[1].strip()!r} on a line of its own, as it was told.")
        return tuple(notes)


def _settled(kind: Vla) -> Vla:
    """Found from any folder that a command is run in."""
    tokenizer = kind.tokenizer and str(Path(kind.tokenizer).absolute())
    return replace(kind, folder=str(Path(kind.folder).absolute()), tokenizer=tokenizer)
