"""A VLA as a policy's field: what learns of a checkpoint, and what all copies of it share.

    network: {field: {kind: vla, folder: …, tokenizer: …, cameras: {front: base_0_rgb}}}

θ, β, what acts and their averages differ in what learns, by default the action expert with all projections,
of the state too; the rest is in memory once, and what a frozen backbone makes of a batch is computed once.
"""

import copy
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as setting
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast
from weakref import WeakValueDictionary

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.rl.encoders import Observation, VisionConfig
from lwd_core.rl.fields import BaseFiles, Dims, FieldKind, Flow, Measured, PolicyField
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.places import Places
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.vla.checkpoint import VlaFolder
from lwd_core.rl.vla.config import ACTION, STATE, Units, VlaConfig
from lwd_core.rl.vla.lora import LoraLinear, adapt
from lwd_core.rl.vla.model import Prefix, TowerModel
from lwd_core.rl.vla.pictures import prepared
from lwd_core.rl.vla.prompt import StatePrompt
from lwd_core.rl.vla.runs import policy_folder
from lwd_core.rl.vla.save import files_of, write_folder
from lwd_core.rl.vla.statistics import NEEDED, VlaStatistics
from lwd_core.rl.vla.units import VlaUnits, middle
from lwd_core.rl.vla.vision import PositionIds

#: What a prompt ends with in advantage conditioning (RECAP, arXiv 2511.14759).
ADVANTAGE = ("Advantage: negative\n", "Advantage: positive\n")
#: Normalised by statistics of its own, data lie within; by those of other units hardly ever.
FAR = 4.0


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
        if missing := set(self.cameras) - {camera for _, camera in sizes}:
            there = ", ".join(sorted({camera for _, camera in sizes})) or "none"
            raise UserError(
                f"network.field.cameras: the snapshot has no {min(missing)}, only {there}; name it in the "
                "snapshot's spec"
            )
        found = {at: size for at, size in sizes.items() if at[1] in self.cameras}
        if self.pixels is None and len(set(found.values())) > 1:
            each = ", ".join(f"{camera} of {name} {w}x{h}" for (name, camera), (h, w) in found.items())
            raise UserError(
                f"network.field.pixels: pictures of several sizes ({each}); say to which height and width "
                "they are scaled"
            )
        height, width = self.pixels or next(iter(found.values()))
        return VisionConfig(tuple(self.cameras), height, width)

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
        _fits(self, own, net, measured)
        if self.statistics == "snapshot":
            statistics = _of_snapshot(own, measured)
        else:
            statistics = base.folder.statistics
            _plausible(self, statistics, measured)
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
        return BaseFiles(folder.config.kind, files_of(folder), folder.position_ids)

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


class VlaBase:
    """A checkpoint as all that learn from it share it: on this machine, in memory once."""

    def __init__(self, folder: VlaFolder, dtype: torch.dtype):
        self.folder = folder
        self.network = folder.model(dtype=dtype).requires_grad_(False).eval()
        for parameter in self.network.expert_parameters():  # its copies learn, and are compared, in float32
            parameter.data = parameter.data.float()
        # of the last two observations, a batch's and the next one's
        self._images, self._looks, self._scenes = (
            deque[tuple[tuple[Any, ...], Any]](maxlen=2) for _ in "123"
        )

    def scene(self, kind: Vla, network: TowerModel, observation: Observation) -> Prefix:
        """What the frozen backbone makes of an observation."""

        def made() -> Prefix:
            images, mask = self.images(kind, observation)
            with torch.no_grad():
                return network.scene(images, mask, *_spoken(observation))

        return _kept(self._scenes, (*observation, *_modes(observation.state)), made)

    def images(self, kind: Vla, observation: Observation) -> tuple[Tensor, Tensor]:
        """What the picture tower takes of an observation, and which of it is there, see `prepared`."""
        pictures, there = observation.image, observation.image_mask
        if pictures is None:
            raise ValueError("this network has cameras; give it images")

        def made() -> tuple[Tensor, Tensor]:
            names = kind.cameras.values()
            seen = dict(zip(names, pictures.unbind(1), strict=True))
            shown = None if there is None else dict(zip(names, there.unbind(1), strict=True))
            return prepared(self.folder.config, seen, shown)

        # pictures lie in memory that is used again; the state is another one each time
        return _kept(self._images, (pictures, there, observation.state), made)

    def frozen(self) -> TowerModel:
        """The network, none of which learns."""
        shared = (*self.network.parameters(), *self.network.buffers())
        return self._looking(copy.deepcopy(self.network, {id(tensor): tensor for tensor in shared}))

    def _looking(self, network: TowerModel) -> TowerModel:
        """With a frozen tower, which looks at the same pictures once for all."""
        vars(network)["look"] = partial(self._look, network)  # a partial is copied with its network
        return network

    def _look(self, network: TowerModel, images: Tensor) -> Tensor:
        return _kept(self._looks, (images, *_modes(images)), lambda: type(network).look(network, images))

    def copy(self, kind: Vla) -> TowerModel:
        """A network that shares all but what learns."""
        shared = [*self.network.buffers()]
        if kind.expert != "full":
            shared += self.network.expert_parameters()
        if kind.backbone != "full":
            shared += self.network.backbone_parameters()
        shared += (p for name, p in self.network.named_parameters() if _unread(self.network, name))
        network = copy.deepcopy(self.network, {id(tensor): tensor for tensor in shared})
        frozen = {id(tensor) for tensor in shared}
        if kind.expert == "lora":  # what is outside the stack learns in full
            frozen -= {id(p) for p in network.expert_parameters()}
            frozen |= {id(p) for p in network.expert.parameters()}
        for name, parameter in list(network.named_parameters()):
            if id(parameter) not in frozen:
                module, _, last = name.rpartition(".")
                setattr(network.get_submodule(module), last, nn.Parameter(parameter.detach().float().clone()))
        scale = kind.alpha / kind.rank
        if kind.backbone == "lora":
            adapt(network.text, kind.rank, scale)
        if kind.expert == "lora":
            adapt(network.expert, kind.rank, scale)
        for name, parameter in network.named_parameters():
            if _unread(network, name):
                parameter.requires_grad_(False)
        network.checkpointing = kind.checkpointing
        return network if kind.backbone == "full" else self._looking(network)

    def __deepcopy__(self, memo: dict[int, Any]) -> "VlaBase":
        return self


_BASES = WeakValueDictionary[tuple[Any, ...], VlaBase]()


def base_of(kind: Vla) -> VlaBase:
    """The checkpoint a field is made from. `UserError` where it isn't the one its digests name."""
    rules = (kind.position_ids, kind.state_prompt, kind.precision, kind.statistics)
    key = (kind.folder, kind.tokenizer, *rules)
    base = _BASES.get(key)
    if base is None:
        base = _BASES[key] = VlaBase(_opened(kind), getattr(torch, kind.precision))
    for part, told in kind.base.items():
        if base.folder.digests[part] != told:
            raise UserError(
                f"{kind.folder}: its {part} are not those that this policy was learned from "
                f"({base.folder.digests[part][:12]} and not {told[:12]}); give the checkpoint it began with"
            )
    return base


class VlaField(PolicyField):
    """What learns of a checkpoint; parameters are called as in the network, with / for each dot.

    ``reach`` (W,): how far each number of an action reaches. ``asks``: 1 where it is always told "good"; a
    parameter, as averages are taken of parameters, but not one that learns.
    """

    reach: Tensor
    network: TowerModel  # no child: what is frozen belongs to no state dict

    def __init__(self, config: FieldConfig, kind: Vla):
        super().__init__()
        self.config, self.kind, self.base = config, kind, base_of(kind)
        vars(self)["network"] = self.base.copy(kind)
        self._name_learned()
        self.register_buffer("reach", torch.full((self.network.config.action_dim,), torch.inf))
        self.asks = nn.Parameter(torch.zeros(()), requires_grad=False)

    @property
    def limit(self) -> Tensor:
        return self.reach.repeat(self.config.chunk)

    def at(self, observation: Observation) -> Flow:
        if self.asks > 0.5:
            observation = self.told(observation, torch.ones_like(observation.state[:, 0]))
        prefix = self.network.informed(self._scene(observation), observation.state)
        return self.network.at(prefix, observation.state)

    def trunk(self) -> list[nn.Parameter]:
        """What learns of the backbone."""
        learned = {id(p) for p in self.parameters()}
        return [p for p in self.network.backbone_parameters() if id(p) in learned]

    def told(self, observation: Observation, good: Tensor) -> Observation:
        """In words behind the prompt."""
        tokens, mask = _spoken(observation)
        tokenizer, pad = self.base.folder.prompter.tokenizer, self.base.folder.prompter.pad
        said = [tokenizer.encode(text, add_special_tokens=False).ids for text in ADVANTAGE]
        length = max(map(len, said))
        ids = torch.tensor([row + [pad] * (length - len(row)) for row in said], device=tokens.device)
        there = torch.tensor([[i < len(row) for i in range(length)] for row in said], device=tokens.device)
        which = (good > 0.5).long()
        return observation._replace(
            tokens=torch.cat([tokens, ids[which]], 1), token_mask=torch.cat([mask, there[which]], 1)
        )

    @torch.no_grad()
    def ask_for_good(self, trained: PolicyField) -> None:
        self.load_state_dict(trained.state_dict())
        self.asks.fill_(1)

    def merged(self) -> dict[str, Tensor]:
        """What it learned by the network's names, adapters within the weights they stand beside."""
        found = dict[str, Tensor]()
        for name, module in self.network.named_modules():  # pyright: ignore[reportUnknownVariableType]
            if isinstance(module, LoraLinear):
                found[f"{name}.weight"] = module.merged()
        own = ((name.replace("/", "."), p) for name, p in self.named_parameters() if "/" in name)
        return found | {name: p for name, p in own if "lora_" not in name}

    def _scene(self, observation: Observation) -> Prefix:
        if self.kind.backbone != "frozen":
            images, mask = self.base.images(self.kind, observation)
            return self.network.scene(images, mask, *_spoken(observation))
        return self.base.scene(self.kind, self.network, observation)

    def _name_learned(self) -> None:
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                self.register_parameter(name.replace(".", "/"), parameter)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "VlaField":
        self.network._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        for name in [name for name in self._parameters if "/" in name]:
            self._parameters[name] = self.network.get_parameter(name.replace("/", "."))
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "VlaField":
        learned = {id(p) for p in self.parameters()}
        for tensor in (*self.network.parameters(), *self.network.buffers()):
            if id(tensor) not in learned:
                memo[id(tensor)] = tensor
        copied = VlaField.__new__(VlaField)
        memo[id(self)] = copied
        vars(copied).update(copy.deepcopy(vars(self), memo))
        return copied


def _unread(network: TowerModel, name: str) -> bool:
    """Whether it is of the language model's last layer, but not of the keys and values it is asked for."""
    last = f"text.layers.{len(network.text.layers) - 1}."
    asked = ("input_layernorm.", "self_attn.k_proj.", "self_attn.v_proj.")
    return name.startswith("text.norm.") or (
        name.startswith(last) and not name.removeprefix(last).startswith(asked)
    )


def _kept(shelf: deque[tuple[tuple[Any, ...], Any]], key: tuple[Any, ...], made: Callable[[], Any]) -> Any:
    """What was made of these very tensors, if it is among the last; else it is made, and kept."""
    for known, value in shelf:
        if all(a is b for a, b in zip(key, known, strict=True)):
            return value
    value = made()
    shelf.append((key, value))
    return value


def _modes(like: Tensor) -> tuple[bool, bool]:
    """What else a frozen network's answer depends on."""
    return torch.is_inference_mode_enabled(), torch.is_autocast_enabled(like.device.type)


def _spoken(observation: Observation) -> tuple[Tensor, Tensor]:
    if observation.tokens is None or observation.token_mask is None:
        raise ValueError("this network reads; give it tokens")
    return observation.tokens, observation.token_mask


def _settled(kind: Vla) -> Vla:
    """Found from any folder that a command is run in."""
    tokenizer = kind.tokenizer and str(Path(kind.tokenizer).absolute())
    return replace(kind, folder=str(Path(kind.folder).absolute()), tokenizer=tokenizer)


def _opened(kind: Vla) -> VlaFolder:
    own = None
    if kind.statistics == "snapshot":  # the folder's, if it has any, are of other robots
        own = VlaStatistics.identity(VlaConfig.read(policy_folder(Path(kind.folder))))
    return VlaFolder.open(kind.folder, kind.tokenizer, kind.position_ids, own, state_prompt=kind.state_prompt)


def _fits(kind: Vla, own: VlaConfig, net: FieldConfig, measured: Measured) -> None:
    where = f"network.field.folder: {kind.folder}"
    for name in kind.cameras.values():
        if name not in own.cameras:
            raise UserError(
                f"network.field.cameras: {kind.folder} has no camera {name}, only {', '.join(own.cameras)}"
            )
    if net.chunk > own.chunk:
        raise UserError(
            f"{where} acts in chunks of {own.chunk}, the snapshot's are of {net.chunk}; build it with "
            f"`chunk` {own.chunk}, or train with `chunk` {own.chunk}"
        )
    for what, have, real, padded in (
        ("states", net.encoder.state_dim, own.real_state_dim, own.state_dim),
        ("actions", net.action_dim, own.real_action_dim, own.action_dim),
    ):
        if have > padded:
            raise UserError(f"{where} takes {what} of at most {padded} numbers, the snapshot's have {have}")
        if have != real and kind.statistics == "checkpoint":
            raise UserError(
                f"{where} was trained on {what} of {real} numbers, the snapshot's have {have}; for another "
                "robot set network.field.statistics to snapshot"
            )


def _of_snapshot(own: VlaConfig, measured: Measured) -> VlaStatistics:
    """The data's statistics in the checkpoint's kind of units."""
    pairs = list[tuple[Tensor, Tensor]]()
    kinds: list[tuple[str, Units, Mapping[str, Tensor]]] = [
        (STATE, own.state_units, measured.state),
        (ACTION, own.action_units, measured.action),
    ]
    for what, units, values in kinds:
        names = NEEDED[units]
        if missing := [name for name in names if name not in values]:
            raise UserError(
                f"network.field.statistics: a snapshot has no {missing[0]} of {what}, which {units} needs; "
                "use the checkpoint's"
            )
        width = len(next(iter(values.values())))
        first, second = [values[name].float() for name in names] or [torch.zeros(width), torch.ones(width)]
        pairs.append((first, second))
    return VlaStatistics(own.state_units, pairs[0], own.action_units, pairs[1])


def _plausible(kind: Vla, statistics: VlaStatistics, measured: Measured) -> None:
    """Whether the data are in the units the checkpoint was trained in: a degree is not a radian."""
    for what, scaled, values in (
        ("state", statistics.state, measured.state),
        ("action", statistics.action, measured.action),
    ):
        far: list[int] = np.flatnonzero(scaled(values["mean"].float()).abs() > FAR).tolist()
        there = {dim for own in measured.places.values() for dim in getattr(own, what)}
        for dim in far if not there else sorted(there & set(far)):
            raise UserError(
                f"network.field.statistics: {kind.folder} knows number {dim} of {what} around "
                f"{middle(statistics, what)[dim]:.4g}, in the snapshot it is around "
                f"{values['mean'][dim]:.4g}: other units, or another robot; mend the embodiment file, or set "
                "network.field.statistics to snapshot"
            )
