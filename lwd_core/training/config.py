"""One configuration for every stage, from plain values."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter

from lwd_core import config_file
from lwd_core.errors import UserError
from lwd_core.rl.chosen import LATER, Chosen, choose, chosen_by, plain, unknown
from lwd_core.rl.compute.engine import Device
from lwd_core.rl.encoders import BACKBONES, Backbone, VisionConfig
from lwd_core.rl.fields import FIELDS, FieldKind
from lwd_core.rl.learners import LEARNERS, Algorithm
from lwd_core.rl.networks import CriticShape
from lwd_core.training.upgrade import upgraded
from storage_schemas.canonical import canonical_json
from storage_schemas.vocabulary import Stage


@dataclass(frozen=True)
class NetworkShape:
    """The policy's network. ``steps`` is how many Euler steps it acts with; T = 10 as in QAM. ``vision``:
    the cameras it sees, for the critic too; null for proprioception alone. ``backbone``: what makes a
    feature of it all, by its installed name (a policy is loaded elsewhere); null is the platform's own.
    ``field``: a policy trained elsewhere, in the place of the network of which the rest tells. ``spread``:
    the network says the action about which the flow closes in, to within this much where actions reach from
    -1 to 1; null: it says the velocity (docs/algorithms.md)."""

    hidden: PositiveInt = 256
    layers: PositiveInt = 3
    instruction_features: NonNegativeInt = 32
    steps: PositiveInt = 10
    vision: VisionConfig | None = None
    backbone: Annotated[Chosen[Backbone] | None, chosen_by(BACKBONES, None, addresses=False)] = field(
        default=None, metadata=LATER
    )
    field: Annotated[Chosen[FieldKind] | None, chosen_by(FIELDS, None, addresses=False)] = field(
        default=None, metadata=LATER
    )
    spread: PositiveFloat | None = dataclasses.field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        if self.field is not None and (self.vision or self.backbone):
            raise ValueError("field: it has senses of its own; leave vision and backbone out")


@dataclass(frozen=True)
class TrainConfig:
    """One run: a stage, its data, where it starts, how long it takes.

    offline, online: digests of snapshots; the online stage draws ``online_share`` of each batch from
    the second (LWD: 1:1). follow: in place of the second a snapshot spec, asked of the lake anew every
    ``poll_every`` batches, so that episodes are learned from as they arrive. init: a finished run's
    name, or the address of a checkpoint; its networks and normaliser are taken over, and its optimisers
    where it ran the same learner; a ``network.field`` that is trained already needs none. chunk, stride,
    n_step, gamma: null takes the offline snapshot's. imitation: what learns in the SFT stage, learner: in
    the others; an algorithm by its ``kind``, with its settings.
    batch: unreported by LWD; 256 is QAM's. threads: torch's; one a process is the safe default. bf16:
    products in bfloat16; weights, moments, averages, targets and adjoint sums stay float32.
    device: "auto" is a GPU if there is one; random numbers are drawn on the CPU whatever the device, and
    checkpoints fit every device.
    """

    run: str
    stage: Stage
    offline: str
    online: str | None = None
    follow: dict[str, Any] | None = None
    poll_every: int = 50
    init: str | None = None
    seed: int = 0
    updates: int = 10_000
    batch: int = 256
    online_share: float = 0.5
    chunk: int | None = None
    stride: int | None = None
    n_step: int | None = None
    gamma: float | None = None
    network: NetworkShape = field(default_factory=NetworkShape)
    critic: CriticShape = field(default_factory=CriticShape)
    imitation: Annotated[Chosen[Algorithm], chosen_by(LEARNERS, "imitation")] = field(
        default_factory=lambda: choose(LEARNERS, "imitation")
    )
    learner: Annotated[Chosen[Algorithm], chosen_by(LEARNERS, "lwd")] = field(
        default_factory=lambda: choose(LEARNERS, "lwd")
    )
    log_every: int = 100
    checkpoint_every: int = 2_000
    keep: int = 2
    threads: int = 1
    bf16: bool = False
    device: Device = "cpu"

    def __post_init__(self) -> None:
        if not self.run or any(c in self.run for c in "/\\") or self.run.startswith("."):
            raise ValueError(f"run: {self.run!r} is no folder name")
        if self.updates < 1 or self.batch < 1 or self.log_every < 1 or self.checkpoint_every < 1:
            raise ValueError("updates, batch, log_every and checkpoint_every: at least 1")
        if self.poll_every < 1:
            raise ValueError("poll_every: at least 1")
        seconds = (self.online is not None) + (self.follow is not None)
        if seconds != (self.stage is Stage.ONLINE):
            raise ValueError(
                "online, follow: the online stage, and no other, needs a second snapshot or a spec to follow"
            )
        if self.stage is not Stage.SFT and self.init is None and self.network.field is None:
            raise ValueError(f"init: the {self.stage} stage starts from a run or checkpoint; name one")
        if not 0 < self.online_share < 1:
            raise ValueError("online_share: between 0 and 1")

    @property
    def algorithm(self) -> Chosen[Algorithm]:
        """What learns in this stage."""
        return self.imitation if self.stage is Stage.SFT else self.learner

    @classmethod
    def parse(
        cls, value: Mapping[str, Any], *, where: str = "training configuration", addresses: bool = True
    ) -> "TrainConfig":
        """From plain values over the stage's defaults. UserError names ``where`` and each wrong field.

        ``addresses``: whether plug-ins may be named as module:attribute; False for what comes from outside.
        """
        fields = upgraded(value)
        strange = "; ".join(unknown(cls, fields))
        if strange:
            raise UserError(f"{where}: {strange}")
        merged = config_file.over(STAGE_DEFAULTS.get(str(fields.get("stage")), {}), fields)
        return config_file.check(_ADAPTER, merged, where, value, context={"addresses": addresses})

    @classmethod
    def load(cls, path: str | Path) -> "TrainConfig":
        """From a YAML or JSON file. UserError if there is none or it is wrong."""
        return cls.parse(read_config(path), where=str(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `parse` takes them back."""
        return json.loads(canonical_json(plain(self)))


def read_config(path: str | Path) -> Mapping[str, Any]:
    """The fields of a YAML or JSON file. UserError if there is none or it is wrong."""
    return config_file.read(path, "a training configuration with run, stage and offline")


#: Where learning departs from the dataclasses' defaults, which are LWD's table: what simulation showed to
#: matter (docs/algorithms.md has the figures). Offline and online are alike: a round goes on from the last.
_LEARNS: dict[str, Any] = {
    "learner": {
        "kind": "lwd",
        "divl": {"tau_base": 0.9},
        "extraction": {"kind": "qam", "temperature": 0.02},
        "reference": {"mode": "acting", "data": "finished"},
    }
}
STAGE_DEFAULTS: dict[str, dict[str, Any]] = {"offline": _LEARNS, "online": _LEARNS}

_ADAPTER = TypeAdapter(TrainConfig)


def algorithm_of(config: Mapping[str, Any]) -> str:
    """The name of what learned, of a stored configuration."""
    name, default = ("imitation", "imitation") if config["stage"] == Stage.SFT else ("learner", "lwd")
    return upgraded(config)[name].get("kind", default)
