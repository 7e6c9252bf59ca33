"""A log's table of contents, and the choice of the embodiment that maps it."""

from collections.abc import Mapping
from dataclasses import dataclass

from lwd_core.logs.content import UnreadableLog
from storage_schemas.embodiment import Embodiment


@dataclass(frozen=True)
class Topic:
    """One stream: its schema's name, its encoding, its messages (0: not counted), its width if fixed.

    ``names`` are those of its elements, where the log has them.
    """

    schema: str
    encoding: str
    messages: int = 0
    width: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """Topics by name, and what the log says of itself (robot_id, embodiment, robot_type)."""

    topics: Mapping[str, Topic]
    facts: Mapping[str, str]


def choose(survey: Survey, embodiments: Mapping[str, Embodiment]) -> Embodiment:
    """The embodiment a log is of.

    The one the log names; else the one whose ``match`` and topics fit, the more matched facts the
    better. Raises `UnreadableLog` where none or several do, naming the remedy.
    """
    named = survey.facts.get("embodiment")
    if named and named in embodiments:
        missing = embodiments[named].topics - survey.topics.keys()
        if missing:
            raise UnreadableLog(f"no topic {', '.join(sorted(missing))}, which embodiment {named} needs")
        return embodiments[named]
    fitting = [e for e in embodiments.values() if _fits(e, survey)]
    if named:  # a file of another name may say that it is for logs that state this one
        fitting = [e for e in fitting if e.match.get("embodiment") == named]
        if not fitting:
            raise UnreadableLog(
                f"no embodiment file named {named!r}, which the log says it is of, "
                f"and none that says `match: {{embodiment: {named}}}`"
            )
    best = max((len(e.match) for e in fitting), default=0)
    fitting = [e for e in fitting if len(e.match) == best]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(sorted(e.name for e in fitting))
        raise UnreadableLog(f"embodiments {names} all fit; give one a `match` that only its logs meet")
    raise UnreadableLog(
        f"no embodiment fits its topics{_listed(survey)}; draft one with `lwd embodiment infer`"
    )


def _listed(survey: Survey) -> str:
    """The topics in brackets, with their types."""
    said = [f"{name}: {t.schema}" if t.schema else name for name, t in sorted(survey.topics.items())]
    more = f", {len(said) - 4} more" if len(said) > 4 else ""
    return f" ({', '.join(said[:4])}{more})" if said else ""


def _fits(embodiment: Embodiment, survey: Survey) -> bool:
    if any(survey.facts.get(k) != v for k, v in embodiment.match.items()):
        return False
    for feature in (*embodiment.state, *embodiment.action):
        topic = survey.topics.get(feature.topic)
        if topic is None:
            return False
        if topic.width is not None and feature.start + len(feature.dims) > topic.width:
            return False
    return True
