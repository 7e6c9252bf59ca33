"""Which policies the table needs, what each is trained on, and in which order."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from lwd_core import config_file
from lwd_core.errors import UserError
from lwd_core.fleet.workcells import DEFAULT
from storage_schemas.canonical import digest
from storage_schemas.vocabulary import Words

_FIRST_DAY = date(2025, 1, 6)
DEMONSTRATIONS = "demonstrations"
SFT, LWD, CONTROL = "sft", "lwd", "clone"
SAME = f"{LWD}-same"
_CHOICES = {"robot", "camera_hz", "camera_size", "words"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kinds(_Part):
    """A value for short tasks, one for long ones."""

    short: Any
    long: Any


class Shift(_Part):
    """What a robot does on a fleet day: so many episodes, a share of them with a person's eye on it."""

    episodes: int = Field(ge=1)
    watched: float = Field(ge=0, le=1)


class Shifts(_Part):
    """The first day, and those after it: one person can't watch sixteen robots for long."""

    offline: Shift
    online: Shift


class Row(_Part):
    """A baseline or an ablation."""

    title: str
    stage: str = "offline"
    over: dict[str, Any]


class Judged(_Part):
    """Scenes of the evaluation range."""

    episodes_per_task: int = Field(ge=1)
    first_scene: int = Field(ge=0)
    words: Words = Words.USUAL


class Plan(_Part):
    """One of the YAML files beside this module; ``full.yaml`` says what each field is.

    ``eyes.yaml`` says it of robots that look: their type, how often and in which size all of them are
    photographed, in which words they are told.
    """

    robot: str = DEFAULT
    camera_hz: float = Field(default=0.0, ge=0)
    camera_size: int = Field(default=0, ge=0)
    words: Words = Words.USUAL
    tasks: Kinds
    hard: tuple[str, ...]
    demonstrations: Kinds
    sites: tuple[str, ...]
    robots: int
    supervisor: dict[str, Any]
    day: Shifts
    snapshot: dict[str, Any]
    evaluation: Judged
    rounds: int
    fleets: tuple[int, ...]
    training: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    baselines: dict[str, Row]
    ablations: dict[str, Row]

    @property
    def names(self) -> tuple[str, ...]:
        """All tasks, short ones first."""
        return (*self.tasks.short, *self.tasks.long)


@dataclass(frozen=True)
class Day:
    """A day of the fleet: so many robots run the policy of a cell."""

    name: str
    acts: str
    robots: int
    shift: Shift


@dataclass(frozen=True)
class Cell:
    """A policy of the table: how it is trained, on which days, and where it is shown.

    ``days`` are all it learns from beside the demonstrations; with ``online`` those of them that make up
    the online half of a batch. ``settings`` are fields of ``TrainConfig``.
    """

    name: str
    title: str
    part: str
    stage: str
    init: str | None
    days: tuple[Day, ...]
    online: tuple[Day, ...]
    settings: Mapping[str, Any]


def load_plan(name: str) -> Plan:
    """A plan by the name of its file. Raises UserError for one there is not."""
    path = Path(__file__).with_name(f"{name}.yaml")
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UserError(f"plan {name!r}: no such file; use one of {known}")
    return Plan.model_validate(YAML(typ="safe").load(path.read_text()))


def cells(plan: Plan) -> list[Cell]:
    """Every cell, those it rests on before it.

    LWD starts from the control, the best imitation of the same data, so what it is ahead by is what Q adds.
    `SAME` learns from the control's own first online day, as the control does; the ablations change it.
    """
    first = Day("offline", SFT, plan.robots, plan.day.offline)
    found = [Cell(SFT, "SFT", "table", SFT, None, (), (), _settings(plan, SFT, {}))]
    for name, row in plan.baselines.items():
        settings = _settings(plan, row.stage, row.over)
        found.append(Cell(name, row.title, "table", row.stage, SFT, (first,), (), settings))
    offline = _settings(plan, "offline", {})
    found.append(Cell(LWD, "LWD", "table", "offline", CONTROL, (first,), (), offline))
    same = (first, Day(f"{CONTROL}-1", CONTROL, plan.robots, plan.day.online))
    found.append(Cell(SAME, "LWD on the clone's day", "same", "offline", CONTROL, same, (), offline))
    for name, row in plan.baselines.items():
        days: tuple[Day, ...] = (first,)
        for turn in range(1, plan.rounds + 1):
            acts = name if turn == 1 else f"{name}-online-{turn - 1}"
            days = (*days, Day(f"{name}-{turn}", acts, plan.robots, plan.day.online))
            settings = _settings(plan, row.stage, row.over)
            found.append(
                Cell(f"{name}-online-{turn}", row.title, "online", row.stage, SFT, days, (), settings)
            )
    for robots in (plan.robots, *plan.fleets):
        suffix = "" if robots == plan.robots else f"-{robots}"
        own: tuple[Day, ...] = ()
        before = LWD
        for turn in range(1, plan.rounds + 1):
            own = (*own, Day(f"{LWD}{suffix}-{turn}", before, robots, plan.day.online))
            name = f"{LWD}{suffix}-online-{turn}"
            settings = _settings(plan, "online", {})
            part = "fleet" if suffix else "online"
            title = f"LWD, fleet of {robots}" if suffix else "LWD"
            found.append(Cell(name, title, part, "online", before, (first,), own, settings))
            before = name
    for name, row in plan.ablations.items():
        settings = _settings(plan, "offline", row.over)
        found.append(Cell(f"{LWD}-{name}", row.title, "ablation", "offline", CONTROL, same, (), settings))
    return found


def calendar(plan: Plan) -> dict[str, str]:
    """The day (YYYY-MM-DD) of the demonstrations and of every fleet day."""
    names = [DEMONSTRATIONS]
    for cell in cells(plan):
        names += [day.name for day in (*cell.days, *cell.online) if day.name not in names]
    return {name: f"{_FIRST_DAY + timedelta(days=i):%Y-%m-%d}" for i, name in enumerate(names)}


def cell_digest(plan: Plan, cell: Cell) -> str:
    """Tells whether a cell that was made is still the one that is planned, with all it rests on."""
    by_name = {c.name: c for c in cells(plan)}
    days = (*cell.days, *cell.online)
    below = {cell.init, *(day.acts for day in days)} - {None}
    shared = plan.model_dump(
        mode="json", exclude={"day", "baselines", "ablations", "fleets", "rounds", "stages", "training"}
    )
    # cells made before there was a choice stay
    for part, fields in ((shared, Plan.model_fields), (shared["evaluation"], Judged.model_fields)):
        for name in _CHOICES & part.keys():
            if part[name] == fields[name].default:
                del part[name]
    mine = [cell.stage, [[day.robots, day.shift.model_dump()] for day in days], dict(cell.settings)]
    return digest([shared, mine, sorted(cell_digest(plan, by_name[name]) for name in below if name)])


def _settings(plan: Plan, stage: str, over: Mapping[str, Any]) -> dict[str, Any]:
    """Of a stage, without what it does not read, so that no cell is another's for that."""
    settings = config_file.over(config_file.over(plan.training, plan.stages[stage]), over)
    return {
        key: value for key, value in settings.items() if key != ("learner" if stage == SFT else "imitation")
    }
