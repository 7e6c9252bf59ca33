"""The policy's flow as a network: what a learner asks of one, and the door for those that are no MLP.

A field's parameters are those that learn. What it computes with but never learns, a backbone trained
elsewhere, is shared by all its copies and belongs to no state dict: θ, β and their averages cost their own
numbers alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor, nn

from lwd_core.errors import UserError
from lwd_core.plugins import Door
from lwd_core.rl.encoders import Observation, VisionConfig
from lwd_core.rl.places import Places

if TYPE_CHECKING:
    from lwd_core.rl.networks import FieldConfig
    from lwd_core.rl.policy import FlowPolicy, PolicyConfig


class Flow(Protocol):
    """A velocity field at fixed observations, over flattened chunks x (…, B, A)."""

    def velocity(self, x: Tensor, w: Tensor | float) -> Tensor:
        """w: a number or a tensor that broadcasts to (…, B, 1). Differentiable, by x and by weights."""
        ...


class PolicyField(nn.Module, ABC):
    """f(s, x, w): velocity of a flattened action chunk x (…, B, A) at flow time w in [0, 1]."""

    @property
    def limit(self) -> Tensor | float:
        """How far actions reach in the network's units, a number or (A,)."""
        return 1.0

    @abstractmethod
    def at(self, observation: Observation) -> Flow:
        """The flow for a batch of observations, which are encoded once for all of it."""

    @abstractmethod
    def trunk(self) -> list[nn.Parameter]:
        """Parameters frozen when only the action expert learns."""

    @abstractmethod
    def told(self, observation: Observation, good: Tensor) -> Observation:
        """The observation with good (B,), 1 or 0, written into it, see ``advantage``."""

    @abstractmethod
    def ask_for_good(self, trained: "PolicyField") -> None:
        """Become the ``trained`` flow that is always told "good"."""


class PolicyUnits(nn.Module, ABC):
    """Raw units to a network's, and its actions back.

    ``noise_in_padding``: whether padded action dims go through the network as noise does, as one that was
    trained so expects; else they are 0 in it.
    """

    noise_in_padding: ClassVar[bool] = False

    @property
    def places(self) -> Mapping[str, Places]:
        """By embodiment, where its numbers stand among the network's; none where they stand as they are."""
        return {}

    def arranged(self, raw: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A loader's batch in the network's order; ``raw["embodiment"]`` counts in `places`."""
        return raw

    def entering(self, state: Tensor, embodiment: str = "") -> Tensor:
        """A robot's raw states (B, S') in the network's order (B, S)."""
        return state

    def leaving(self, action: Tensor, width: int, embodiment: str = "") -> Tensor:
        """Raw actions (…, D) as a robot has them (…, D'), whose states are S' = ``width`` wide."""
        return action

    @abstractmethod
    def state(self, raw: Tensor) -> Tensor:
        """(B, S) raw to the network's."""

    @abstractmethod
    def action(self, raw: Tensor) -> Tensor:
        """(…, D) raw to the network's (…, W), W ≥ D: what is beyond D is padding."""

    @abstractmethod
    def raw_action(self, action: Tensor) -> Tensor:
        """(…, W) to raw (…, D)."""

    def prompt(self, instructions: Sequence[str], state: Tensor) -> tuple[Tensor, Tensor] | None:
        """Tokens and their mask (B, L), for states (B, S) in the network's units; None of one that doesn't
        read."""
        return None


@dataclass(frozen=True)
class Measured:
    """What a run's data say of the robots.

    state, action: statistics by name (mean, std, min, max, q01, q99), each (S,) or (D,), of all embodiments
    together, in the network's order. low, high: (D,), limits of actions. places: of each embodiment.
    """

    state: Mapping[str, Tensor]
    action: Mapping[str, Tensor]
    low: Tensor
    high: Tensor
    places: Mapping[str, Places] = field(default_factory=dict[str, Places])


@dataclass(frozen=True)
class BaseFiles:
    """What a field computes with and never learned: the ``kind`` of checkpoint, its files by the names under
    which one folder holds them, the rule its pictures' positions are numbered by, where there are two, and by
    name the SHA-256 of files as they were ``learned_on``."""

    kind: str
    files: Mapping[str, Path]
    position_ids: str = ""
    learned_on: Mapping[str, str] = field(default_factory=dict[str, str])


#: Names of the states and the actions of each embodiment.
Dims = Mapping[str, tuple[Sequence[str], Sequence[str]]]


class FieldKind(ABC):
    """What makes a field; subclasses are frozen dataclasses of its settings."""

    def base_files(self) -> BaseFiles | None:
        """What its policies need beside what they learned; None of a field that is learned whole."""
        return None

    def placed(self, folder: Path | None) -> "FieldKind":
        """The same, its base in ``folder``; None is for a policy on its way, which names it by digest."""
        return self

    def give_back(self, policy: "FlowPolicy", out: Path) -> tuple[str, ...]:
        """Write a policy of this kind into the empty folder ``out``, base and all, as those who made the base
        read theirs; what a reader must know is returned. `UserError` where they have no way to read it."""
        raise UserError("this policy's network is of nobody else's making; there is no folder to give back")

    @abstractmethod
    def sees(self, sizes: Mapping[tuple[str, str], tuple[int, int]]) -> VisionConfig:
        """The cameras whose pictures it takes and their size, from each embodiment's and camera's (height,
        width). `UserError` where they are not there."""

    def places(self, dims: Callable[[], Dims]) -> Mapping[str, Places]:
        """Where each embodiment's numbers stand; none where they stand as they are, and nobody asks for
        ``dims``."""
        return {}

    @abstractmethod
    def policy(self, config: "PolicyConfig", measured: Measured) -> "FlowPolicy":
        """A new policy for these data. `UserError` where the two don't fit each other."""

    @abstractmethod
    def field(self, config: "FieldConfig") -> PolicyField:
        """To be filled by ``load_state_dict``, as `units` are."""

    @abstractmethod
    def units(self, config: "FieldConfig") -> PolicyUnits:
        """Those of its policies."""

    def going_on(self, asked: "FieldKind") -> "FieldKind | None":
        """Itself in another stage, whose settings those are; None where they are of another policy."""
        return self if asked == self else None

    @abstractmethod
    def width(self, action_dim: int) -> int:
        """W, numbers of an action in the network's units."""


#: Beside the platform's own MLP, which is meant where none is named.
FIELDS: Door[type[Any]] = Door(
    "lwd.fields",
    {"vla": "lwd_core.rl.vla.kind:Vla", "vlm": "lwd_core.rl.vla.vlm_kind:Vlm"},
    needs=("field", "units", "policy"),
    kind="policy field",
)
