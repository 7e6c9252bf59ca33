"""What learns of a VLA checkpoint.

θ, β, what acts and their averages differ in what learns, by default the action expert with all projections,
of the state too; the rest is in memory once, and what a frozen backbone makes of a batch is computed once.
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lwd_core.rl.encoders import Observation
from lwd_core.rl.fields import Flow, PolicyField
from lwd_core.rl.networks import FieldConfig
from lwd_core.rl.vla.base import base_of
from lwd_core.rl.vla.lora import LoraLinear
from lwd_core.rl.vla.model import Prefix, TowerModel
from lwd_core.rl.vla.recent import spoken

if TYPE_CHECKING:
    from lwd_core.rl.vla.kind import Vla

#: What a prompt ends with in advantage conditioning (RECAP, arXiv 2511.14759).
ADVANTAGE = ("Advantage: negative\n", "Advantage: positive\n")


class VlaField(PolicyField):
    """What learns of a checkpoint; parameters are called as in the network, with / for each dot.

    ``reach`` (W,): how far each number of an action reaches. ``asks``: 1 where it is always told "good"; a
    parameter, as averages are taken of parameters, but not one that learns.
    """

    reach: Tensor
    network: TowerModel  # no child: what is frozen belongs to no state dict

    def __init__(self, config: FieldConfig, kind: "Vla"):
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
        tokens, mask = spoken(observation)
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
            return self.network.scene(images, mask, *spoken(observation))
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
