"""A profile: how large a run of the loop is, and with which settings, from one YAML file.

The demo and the assets read the same profile, so what the UI materialises is what the demo
would have made.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from lwd_core import config_file
from lwd_core.errors import UserError
from lwd_core.fleet.task import kept
from pipelines.home import PROFILE
from pipelines.partitions import DAYS, NAME
from storage_schemas.canonical import digest
from storage_schemas.vocabulary import Source, Stage, Words

if TYPE_CHECKING:  # definitions load without NumPy and YAML
    from lwd_core.fleet.supervisor import Supervisor

PROFILES = Path(__file__).parent / "profiles"
#: Rounds that no profile plans are named after the day they learned from.
NIGHTLY = "nightly-"


#: Becomes a partition key, where Dagster would take any text.
PartitionName = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


def _kept(words: Words) -> Words:
    try:
        return kept(words)
    except UserError as error:
        raise ValueError(str(error)) from error


#: All that a profile's robots do is recorded, and so are its evaluations.
KeptWords = Annotated[Words, AfterValidator(_kept)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FleetPlan(_Part):
    """What the robots of every site do on the round's day."""

    source: Source
    episodes_per_task: int = Field(ge=1, description="of each site")
    watched: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of its episodes with a person's eye on them; null: supervisor's",
    )


class RoundPlan(_Part):
    """One turn of the loop: a fleet day, and the learning from it."""

    name: PartitionName
    stage: Stage
    fleet: FleetPlan
    training: dict[str, object] = Field(default_factory=dict, description="over the profile's `training`")


class EvaluationPlan(_Part):
    """Scenes the policy is judged on, never trained on.

    ``first_scene`` is where in the evaluation range they begin: settings that were chosen by looking
    at some scenes are judged on others.
    """

    episodes_per_task: int = Field(ge=1)
    first_scene: int = Field(default=0, ge=0)
    words: KeptWords = Field(default=Words.USUAL, description="how the policy is told what to do")


class Profile(_Part):
    """See ``profiles/default.yaml``, which says what each field does."""

    name: str
    seed: int = 0
    first_day: str
    sites: tuple[PartitionName, ...] = Field(min_length=1)
    robots_per_site: int = Field(ge=1)
    cameras_per_site: int = Field(default=1, ge=0, description="robots photographed at camera_hz")
    camera_hz: float = Field(default=5.0, gt=0)
    camera_size: int = Field(default=0, ge=0, description="pixels a side; 0: as the cameras give them")
    robot: str = "metaworld"
    words: KeptWords = Field(default=Words.USUAL, description="how robots are told what to do")
    tasks: tuple[str, ...] = Field(min_length=1)
    supervisor: dict[str, Any] = Field(default_factory=dict)
    snapshot: dict[str, object] = Field(default_factory=dict)
    training: dict[str, object] = Field(default_factory=dict)
    evaluation: EvaluationPlan
    rounds: tuple[RoundPlan, ...] = Field(min_length=1)
    formerly: tuple[str, ...] = Field(default=(), description="its digests when fields had other names")

    @model_validator(mode="after")
    def _names_are_real(self) -> "Profile":
        from lwd_core.fleet.task import find_tasks
        from lwd_core.fleet.workcells import Workcells

        names = [r.name for r in self.rounds]
        if len(set(names)) != len(names):
            raise ValueError("rounds: a name is used twice")
        try:
            for planned in self.rounds:
                self.watcher(planned.fleet)
            find_tasks(Workcells(self.robot).tasks, self.tasks)
        except UserError as error:
            raise ValueError(str(error)) from error
        if self.first_day not in DAYS.get_partition_keys():
            raise ValueError(f"first_day: {self.first_day} is no day from {DAYS.start:%Y-%m-%d} until today")
        return self

    def watcher(self, fleet: FleetPlan) -> "Supervisor":
        """The person beside the robots on a round's day. Raises UserError for a field there is not."""
        from lwd_core.fleet.supervisor import Supervisor

        share = {} if fleet.watched is None else {"rate": fleet.watched}
        try:
            return Supervisor(**{**self.supervisor, **share})
        except TypeError as error:
            raise UserError(f"supervisor: {error}") from error

    @property
    def digest(self) -> str:
        """Tells two profiles apart."""
        said = self.model_dump(mode="json", exclude={"formerly"})
        # homes begun before there was a choice go on
        for name in ("robot", "camera_hz", "camera_size", "words"):
            if said[name] == type(self).model_fields[name].default:
                del said[name]
        if self.evaluation.words is Words.USUAL:
            del said["evaluation"]["words"]
        for planned in said["rounds"]:
            if planned["fleet"]["watched"] is None:
                del planned["fleet"]["watched"]
        return digest(said)[:12]

    @property
    def digests(self) -> list[str]:
        """Of the profile, and those that homes begun before may have."""
        return [self.digest, *self.formerly]

    def round(self, name: str) -> RoundPlan:
        """The round of that name; one the profile does not list follows its last one."""
        for planned in self.rounds:
            if planned.name == name:
                return planned
        return self.rounds[-1].model_copy(update={"name": name})

    def plans(self, round_name: str) -> bool:
        """Whether the profile lists the round."""
        return any(r.name == round_name for r in self.rounds)

    def day(self, round_name: str) -> str:
        """Fleet day of a round: planned ones follow one another, nightly ones are named after theirs."""
        if round_name.startswith(NIGHTLY):
            return round_name.removeprefix(NIGHTLY)
        place = [r.name for r in self.rounds].index(round_name)
        days = DAYS.get_partition_keys()
        return days[days.index(self.first_day) + place]

    def round_of(self, day: str) -> RoundPlan:
        """The round whose fleet day this is; days the profile does not plan follow its last round."""
        for planned in self.rounds:
            if self.day(planned.name) == day:
                return planned
        return self.rounds[-1]


def load_profile(name: str | None = None) -> Profile:
    """Read a profile by name or path (default: the variable, else ``default``). Raises UserError."""
    wanted = name or os.environ.get(PROFILE) or "default"
    path = Path(wanted) if wanted.endswith((".yaml", ".yml")) else PROFILES / f"{wanted}.yaml"
    return _read(path)


@lru_cache
def _read(path: Path) -> Profile:
    known = ", ".join(sorted(p.stem for p in PROFILES.glob("*.yaml")))
    fields = config_file.read(path, f"a profile's YAML file, or one of {known}")
    return config_file.check(TypeAdapter(Profile), fields, str(path))
