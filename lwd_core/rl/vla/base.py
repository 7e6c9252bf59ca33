"""A checkpoint on this machine, in memory once for all that learn from it.

What a frozen backbone makes of a batch is computed once for θ, β and a critic beside them.
"""

import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from lwd_core.errors import UserError, suggest
from lwd_core.rl.encoders import Observation
from lwd_core.rl.vla.checkpoint import VlaFolder
from lwd_core.rl.vla.config_json import read_config
from lwd_core.rl.vla.lora import adapt
from lwd_core.rl.vla.model import Prefix, TowerModel
from lwd_core.rl.vla.pictures import prepared
from lwd_core.rl.vla.recent import Recent, modes, spoken
from lwd_core.rl.vla.runs import policy_folder
from lwd_core.rl.vla.statistics import VlaStatistics

if TYPE_CHECKING:
    from lwd_core.rl.vla.kind import Vla


class VlaBase:
    """A checkpoint as all that learn from it share it: on this machine, in memory once."""

    def __init__(self, folder: VlaFolder, dtype: torch.dtype):
        self.folder = folder
        self.network = folder.model(dtype=dtype).requires_grad_(False).eval()
        for parameter in self.network.expert_parameters():  # its copies learn, and are compared, in float32
            parameter.data = parameter.data.float()
        self._images, self._looks = Recent[tuple[Tensor, Tensor]](), Recent[Tensor]()
        self._scenes = Recent[Prefix]()

    def scene(self, kind: "Vla", network: TowerModel, observation: Observation) -> Prefix:
        """What the frozen backbone makes of an observation."""

        def made() -> Prefix:
            images, mask = self.images(kind, observation)
            with torch.no_grad():
                return network.scene(images, mask, *spoken(observation))

        return self._scenes.of((*observation, *modes(observation.state)), made)

    def images(self, kind: "Vla", observation: Observation) -> tuple[Tensor, Tensor]:
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
        return self._images.of((pictures, there, observation.state), made)

    def frozen(self) -> TowerModel:
        """The network, none of which learns."""
        shared = (*self.network.parameters(), *self.network.buffers())
        return self._looking(copy.deepcopy(self.network, {id(tensor): tensor for tensor in shared}))

    def _looking(self, network: TowerModel) -> TowerModel:
        """With a frozen tower, which looks at the same pictures once for all."""
        vars(network)["look"] = partial(self._look, network)  # a partial is copied with its network
        return network

    def _look(self, network: TowerModel, images: Tensor) -> Tensor:
        return self._looks.of((images, *modes(images)), lambda: type(network).look(network, images))

    def copy(self, kind: "Vla") -> TowerModel:
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


def base_of(kind: "Vla") -> VlaBase:
    """The checkpoint a field is made from. `UserError` where it isn't the one its digests name."""
    rules = (kind.position_ids, kind.state_prompt, kind.precision, kind.statistics)
    key = (kind.folder, kind.tokenizer, *rules)
    base = _BASES.get(key)
    if base is None:
        base = _BASES[key] = VlaBase(_opened(kind), getattr(torch, kind.precision))
    for part, told in kind.base.items():
        if part not in base.folder.digests:
            raise UserError(
                f"network.field.base.{part}: no such part{suggest(part, base.folder.digests)}; leave base "
                "out, it is filled in"
            )
        if base.folder.digests[part] != told:
            raise UserError(
                f"{kind.folder}: its {part} are not those that this policy was learned from "
                f"({base.folder.digests[part][:12]} and not {told[:12]}); give the checkpoint it began with"
            )
    return base


def _unread(network: TowerModel, name: str) -> bool:
    """Whether it is of the language model's last layer, but not of the keys and values it is asked for."""
    last = f"text.layers.{len(network.text.layers) - 1}."
    asked = ("input_layernorm.", "self_attn.k_proj.", "self_attn.v_proj.")
    return name.startswith("text.norm.") or (
        name.startswith(last) and not name.removeprefix(last).startswith(asked)
    )


def _opened(kind: "Vla") -> VlaFolder:
    own = None
    if kind.statistics == "snapshot":  # the folder's, if it has any, are of other robots
        own = VlaStatistics.identity(read_config(policy_folder(Path(kind.folder))))
    return VlaFolder.open(kind.folder, kind.tokenizer, kind.position_ids, own, state_prompt=kind.state_prompt)
