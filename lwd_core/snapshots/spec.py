"""What a snapshot should hold, said once: from YAML or Python, to canonical JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from lwd_core import config_file
from lwd_core.snapshots.rule import OUTCOME_WORDS, REWARD_WORDS, Rule, checked
from storage_schemas.canonical import canonical_json
from storage_schemas.vocabulary import Outcome, Source

Names = tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Layers(_Strict):
    """Label layers by id, or rules over several (see ``snapshots.rule``): the first that speaks counts.

    Without a reward layer the reward is sparse: 1 on the last action of a success. Without an
    outcome layer the episode's own outcome holds; with one, whatever the spec asks of outcomes
    (``outcomes``, ``where``, buffers) is asked of the layer. ``blocking`` names quality layers, or some
    checks of one (``quality@1:defect.*``): an episode that failed any of them is left out.
    """

    reward: Rule | None = None
    outcome: Rule | None = None
    blocking: Names = ()

    @field_validator("reward")
    @classmethod
    def _rewards(cls, rule: Rule | None) -> Rule | None:
        return checked(rule, REWARD_WORDS)

    @field_validator("outcome")
    @classmethod
    def _outcomes(cls, rule: Rule | None) -> Rule | None:
        return checked(rule, OUTCOME_WORDS)


class Buffer(_Strict):
    """A named part of the snapshot, drawn from by weight. The first that takes an episode has it."""

    name: str = Field(min_length=1)
    where: str = "true"
    weight: float = Field(default=1.0, gt=0)


class Discount(_Strict):
    """The discount as a person thinks of it: what a success is worth at the start of an ``episode`` of the
    longest task. LWD's γ makes it .58 for five minutes."""

    episode: float = Field(gt=0, lt=1)


class SnapshotSpec(_Strict):
    """A training set as a question to the lake.

    The lists and ``where`` (SQL over the columns of ``episodes``) must all hold; an empty
    list asks nothing. ``chunk`` counts frames after resampling to ``frame_rate``.
    """

    name: str = Field(min_length=1)
    embodiments: Names = ()
    tasks: Names = ()
    sources: tuple[Source, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    sites: Names = ()
    robots: Names = ()
    days: Names = ()
    where: str = "true"
    labels: Layers = Layers()

    chunk: int = Field(default=10, ge=1, le=1024, description="H, frames of an action chunk")
    stride: int = Field(default=1, ge=1, description="frames between starts of chunks")
    n_step: int = Field(default=1, ge=1, le=500, description="chunks of a return before the bootstrap")
    gamma: float = Field(default=0.9999, gt=0, le=1, description="discount per frame")
    discount: Discount | None = Field(default=None, description="in place of gamma, from the tasks' length")
    frame_rate: float | None = Field(default=None, gt=0, description="Hz; null keeps the control rate")
    cameras: Names = ()
    frame_age_ms: float | None = Field(
        default=None, ge=0, description="older frames are not shown; null: the embodiment file's staleness"
    )

    holdout: float = Field(default=0.0, ge=0, lt=1, description="share of episodes held out, by hash")
    split_salt: str = ""
    buffers: Annotated[tuple[Buffer, ...], Field(min_length=1)] = (Buffer(name="all"),)
    shard_mb: float = Field(default=48, gt=0, le=1024, description="size at which a shard is closed")

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        names = [b.name for b in self.buffers]
        if len(set(names)) != len(names):
            raise ValueError("buffers: a name is used twice")
        if self.discount is not None and self.gamma != type(self).model_fields["gamma"].default:
            raise ValueError("gamma, discount: give one of them")
        return self

    def canonical(self) -> dict[str, Any]:
        """Plain values in a fixed order, for manifest and digest."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """Canonical JSON text."""
        return canonical_json(self.canonical()).decode()

    @classmethod
    def from_yaml(cls, path: str | Path) -> "SnapshotSpec":
        """Read a spec file; UserError names the file and each wrong field."""
        return cls.parse(config_file.read(path, "a snapshot spec with at least `name`"), where=str(path))

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, where: str = "spec") -> "SnapshotSpec":
        """Check plain values; UserError names ``where`` and each wrong field."""
        return config_file.check(TypeAdapter(cls), raw, where)
