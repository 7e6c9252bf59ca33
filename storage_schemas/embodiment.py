"""The embodiment file: what a robot type measures and does, and how its logs say so.

Belongs here: the shape of the file. Reading it with line numbers is `lwd_core.logs.embodiment`.

A *topic* is whatever carries one stream in a log: an MCAP or ROS topic, a LeRobot column, an array
of an npz or HDF5 file. A *field* is a path into one message: ``values``, ``pose.position.x``,
``joints[].position`` (of every element), ``data[2]`` (one element), empty for the message itself.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, cast

from storage_schemas.canonical import digest

_FACTS = frozenset({"task", "instruction", "outcome", "operator", "robot_id", "site"})
_CLOSED = {"extra": "forbid"}  # unknown keys are errors, not silence
_PATH = re.compile(r"([^.\[\]\s]+|\[\d*\])((\.[^.\[\]\s]+)|\[\d*\])*")


def _check_paths(*paths: str | None) -> None:
    for path in paths:
        if path and (not _PATH.fullmatch(path) or path.count("[]") > 1):
            raise ValueError(f"{path!r} is no field path; write a.b, a[2] or a[].b")


@dataclass(frozen=True)
class Dim:
    """One number of a vector. Limits are the physical or commanded range, in ``unit``.

    ``key`` is the name the log uses where it differs from ``name``; ``field`` reads this one number
    by a path of its own, for messages that are no vector (a pose).
    """

    name: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    key: str | None = None
    field: str | None = None
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        _check_paths(self.field)
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"dim {self.name}: low must be below high")


@dataclass(frozen=True)
class Feature:
    """A vector read from one topic.

    Its dims are the elements of ``field`` from ``start`` on, in order; with ``names_field`` they are
    picked by name from each message (joint order may change); dims with a ``field`` of their own
    need neither. Older than ``staleness_ms`` at a tick, the tick is masked; None: half a control period
    where a topic gives the ticks (its messages belong together), two on a grid.

    ``pairing``, of an action: ``follows`` (a tick has the one command that was computed from its state,
    published ``delay_ms`` after it) or ``held`` (a command stands until the next one). ``delay_ms`` None:
    measured in each log, where its stamps tell.
    """

    topic: str
    dims: tuple[Dim, ...]
    field: str = ""
    names_field: str | None = None
    start: int = 0
    staleness_ms: float | None = None
    pairing: str = "follows"
    delay_ms: float | None = None
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        _check_paths(self.field, self.names_field)
        if self.pairing not in ("follows", "held"):
            raise ValueError(f"topic {self.topic}: pairing must be follows or held")
        if self.pairing == "held" and self.delay_ms is not None:
            raise ValueError(f"topic {self.topic}: delay_ms is for pairing follows; a held command has none")
        if not self.dims:
            raise ValueError(f"topic {self.topic}: at least one dim")
        if self.start < 0:
            raise ValueError(f"topic {self.topic}: start must not be negative")


@dataclass(frozen=True)
class Camera:
    """Compressed images. ``required``: a tick without a fresh frame is masked."""

    name: str
    topic: str
    field: str = "data"
    staleness_ms: float = 200.0
    required: bool = False
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        _check_paths(self.field)


@dataclass(frozen=True)
class TimeRule:
    """Which time counts and where the ticks lie.

    ``clock``: ``log`` (recorder), ``publish`` (publisher), ``header`` (sensor) or ``nominal`` (ignore
    the stamps, lay the ticks' messages out at the control rate). ``ticks``: the topic whose messages
    are the control ticks; of an action's topic, the states its commands were computed from. None lays a
    grid at the control rate.
    """

    clock: str = "log"
    ticks: str | None = None
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        if self.clock not in ("log", "publish", "header", "nominal"):
            raise ValueError("clock must be log, publish, header or nominal")
        if self.clock == "nominal" and self.ticks is None:
            raise ValueError("clock nominal needs ticks: the topic whose messages are the control ticks")


@dataclass(frozen=True)
class ActorRule:
    """Who chose the executed action.

    The value of ``field`` on ``topic`` stands until the next message. One of ``human`` says a person;
    anything else says the policy. Without a topic, intervention events decide; without those, ``default``.
    """

    topic: str | None = None
    field: str = "actor"
    human: tuple[str, ...] = ("human", "true", "1", "1.0")
    operator: str | None = None
    policy: str | None = None
    default: str = "policy"
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        _check_paths(self.field, self.operator, self.policy)
        if self.default not in ("policy", "human"):
            raise ValueError("default must be policy or human")


@dataclass(frozen=True)
class EventRule:
    """A topic of named events. Each list holds the words the log uses for one of ours."""

    topic: str
    kind: str = "kind"
    attributes: str | None = "attributes"
    start: tuple[str, ...] = ("episode_start",)
    end: tuple[str, ...] = ("episode_end",)
    success: tuple[str, ...] = ("success",)
    failure: tuple[str, ...] = ("failure",)
    intervention_on: tuple[str, ...] = ("intervention_on",)
    intervention_off: tuple[str, ...] = ("intervention_off",)
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        _check_paths(self.kind, self.attributes)


@dataclass(frozen=True)
class EpisodeRule:
    """Where an episode begins and ends.

    ``log``: the log is one episode. ``events``: by start and end events. ``gap``: a silence of
    ``gap_s`` on the tick topic parts episodes. ``flag``: while ``field`` on ``topic`` is true. ``restart``:
    the log's time starts again with every episode (recordings written one behind the other).
    Data sets that number their episodes (LeRobot, npz, HDF5) need no rule.
    """

    boundary: str = "log"
    gap_s: float = 5.0
    topic: str | None = None
    field: str = "data"
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        _check_paths(self.field)
        if self.boundary not in ("log", "events", "gap", "flag", "restart"):
            raise ValueError("boundary must be log, events, gap, flag or restart")
        if self.boundary == "flag" and self.topic is None:
            raise ValueError("boundary flag needs a topic")
        if self.gap_s <= 0:
            raise ValueError("gap_s must be positive")


@dataclass(frozen=True)
class OutcomeRule:
    """How an episode went, where events don't say: the last value of ``field`` on ``topic``.

    For a reward column, ``success_at`` says from which value on any step means success. ``default`` is the
    outcome where nobody says one; see `Embodiment.outcome_unsaid` for what holds without it.
    """

    topic: str | None = None
    field: str = ""
    success: tuple[str, ...] = ("success", "true", "1", "1.0")
    failure: tuple[str, ...] = ("failure", "false", "0", "0.0")
    success_at: float | None = None
    default: str | None = None
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        _check_paths(self.field)
        if self.default not in (None, "success", "failure", "unknown"):
            raise ValueError("default must be success, failure or unknown")


@dataclass(frozen=True)
class TaskRule:
    """What the robot was doing, where the log does not say.

    ``names`` maps a text found in the log (an instruction) to the task's short name.
    """

    default: str = "unnamed"
    instruction: str = ""
    names: dict[str, str] = field(default_factory=dict[str, str])
    __pydantic_config__ = _CLOSED


@dataclass(frozen=True)
class Limit:
    """What may be asked of the robot by one dim of the action, in the dim's unit.

    ``low`` and ``high`` narrow the dim's own. ``velocity``: how fast the command may change, a second.
    ``step``: how far it may lie from what ``state``, a dim of the state, measures; without ``state``, from
    the command before. ``state`` is also what the first command of an episode is compared with.
    """

    dim: str
    low: float | None = None
    high: float | None = None
    velocity: float | None = None
    step: float | None = None
    state: str | None = None
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"limit of {self.dim}: low must be below high")
        for name, value in (("velocity", self.velocity), ("step", self.step)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"limit of {self.dim}: {name} must be above 0 and finite")


@dataclass(frozen=True)
class SafetyLimits:
    """What is enforced before the robot, whoever drives. ``version``: of this section's meaning."""

    dims: tuple[Limit, ...]
    version: int = 1
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ValueError(
                f"limits: version {self.version} is not known here; write version 1, or update lwd"
            )
        names = [limit.dim for limit in self.dims]
        if repeated := {n for n in names if names.count(n) > 1}:
            raise ValueError(f"limits: dim named twice: {', '.join(sorted(repeated))}")


@dataclass(frozen=True)
class Embodiment:
    """A robot type. ``match`` names facts a log must state (``robot_type``, ``embodiment``) to be of it.

    ``facts`` says in which ``record.key`` of a log's metadata its task, instruction, outcome, operator,
    robot_id or site stand, where they are not under these names.
    """

    name: str
    control_hz: float
    state: tuple[Feature, ...]
    action: tuple[Feature, ...] = ()
    proposed: tuple[Feature, ...] = ()
    cameras: tuple[Camera, ...] = ()
    description: str = ""
    time: TimeRule = TimeRule()
    actor: ActorRule = ActorRule()
    events: EventRule | None = None
    episodes: EpisodeRule = EpisodeRule()
    outcome: OutcomeRule = OutcomeRule()
    task: TaskRule = field(default_factory=TaskRule)
    source: str = "rollout"
    limits: SafetyLimits | None = None
    match: dict[str, str] = field(default_factory=dict[str, str])
    facts: dict[str, str] = field(default_factory=dict[str, str])
    __pydantic_config__ = _CLOSED

    def __post_init__(self) -> None:
        if unknown := self.facts.keys() - _FACTS:
            raise ValueError(f"facts: {', '.join(sorted(unknown))} is none; use {', '.join(sorted(_FACTS))}")
        if not 0 < self.control_hz <= 100_000:
            raise ValueError("control_hz must be above 0 and at most 100000")
        if not self.state:
            raise ValueError("state: at least one feature")
        if self.episodes.boundary == "events" and self.events is None:
            raise ValueError("episodes by events need an events section")
        for kind, features in (("state", self.state), ("action", self.action)):
            names = [d.name for f in features for d in f.dims]
            if repeated := {n for n in names if names.count(n) > 1}:
                raise ValueError(f"{kind}: dim named twice: {', '.join(sorted(repeated))}")
        for feature in self.state:
            if feature.pairing != "follows" or feature.delay_ms is not None:
                raise ValueError(f"state {feature.topic}: pairing and delay_ms are an action's")
        if self.proposed and sum(len(f.dims) for f in self.proposed) != len(self.action_dims):
            raise ValueError("proposed must have as many dims as action")
        if self.source not in ("demonstration", "rollout", "play", "online"):
            raise ValueError("source must be demonstration, rollout, play or online")
        if len({c.name for c in self.cameras}) != len(self.cameras):
            raise ValueError("cameras: a name is used twice")
        for limit in self.limits.dims if self.limits else ():
            for name, kind, dims in (
                (limit.dim, "action", self.action_dims),
                (limit.state, "state", self.state_dims),
            ):
                if name is not None and name not in (known := [dim.name for dim in dims]):
                    raise ValueError(f"limits: {name} is no dim of the {kind}; there are {', '.join(known)}")

    @cached_property
    def meaning(self) -> dict[str, Any]:
        """What decides how a log is read: the fields that are not left at their defaults, as plain values.

        Neither the description nor ``match``, which only tells whose logs are its own, nor ``limits``, which
        are for who drives. Written down it is an embodiment file again.
        """
        said = _said(self)
        return {name: value for name, value in said.items() if name not in ("description", "match", "limits")}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the meaning, hex: files that differ in comments or order share it."""
        return digest(self.meaning)

    def outcome_unsaid(self, source: str) -> str:
        """The outcome of an episode of this source of which nobody said one.

        Demonstrations are kept because they worked, so where the file names nothing that would tell, they
        count as successes; all else is unknown.
        """
        if self.outcome.default is not None:
            return self.outcome.default
        events = self.events
        told = self.outcome.topic is not None or (
            events is not None and bool(events.success or events.failure)
        )
        return "success" if source == "demonstration" and not told else "unknown"

    @property
    def state_dims(self) -> tuple[Dim, ...]:
        """The state vector's dims in order."""
        return tuple(d for f in self.state for d in f.dims)

    @property
    def action_dims(self) -> tuple[Dim, ...]:
        """The action vector's dims in order."""
        return tuple(d for f in self.action for d in f.dims)

    @property
    def period_ns(self) -> int:
        """One control period."""
        return round(1e9 / self.control_hz)

    def staleness_ns(self, feature: Feature) -> float:
        """The age beyond which a feature masks a tick."""
        if feature.staleness_ms is not None:
            return feature.staleness_ms * 1e6
        return self.period_ns / 2 if self.time.ticks else 2.0 * self.period_ns

    @property
    def topics(self) -> frozenset[str]:
        """Topics a log must have: those of state and action."""
        return frozenset(f.topic for f in (*self.state, *self.action))


def _said(value: Any) -> Any:
    """Plain values; of a dataclass the fields not at their defaults: so new fields change nothing."""
    if is_dataclass(value):
        said: dict[str, Any] = {}
        for f in fields(value):
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            if (own := getattr(value, f.name)) != default:
                said[f.name] = _said(own)
        return said
    if isinstance(value, Mapping):
        return {key: _said(v) for key, v in cast("Mapping[str, Any]", value).items()}
    return [_said(v) for v in cast("tuple[Any, ...]", value)] if isinstance(value, tuple) else value
