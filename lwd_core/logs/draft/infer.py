"""Drafting an embodiment file from a log: what it holds, what it is for, and what can't be told.

A guess to start from, never used unseen: units and limits are not in logs. A draft keeps the embodiment
file's own rules, whatever the log, and says what it did not find.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft import infer_arrays, infer_messages
from lwd_core.logs.draft.draft import Draft, assign, clean, render, settle
from lwd_core.logs.draft.infer_folder import first_log
from lwd_core.logs.draft.sample import look
from lwd_core.logs.metadata import states_outcome
from lwd_core.logs.read import reader_of
from lwd_core.logs.source import LogSource

_NOTHING = frozenset({"", "none", "null", "unknown", "nan"})


@runtime_checkable
class _OfMessages(Protocol):
    """A reader whose log is a stream of messages."""

    def stream(self, source: LogSource) -> Any: ...


def drafted(source: LogSource, name: str | None = None) -> tuple[str, list[str]]:
    """The draft of `infer` as an embodiment file's text, and what it leaves to a person; what a child is
    asked for."""
    draft = infer(source, name)
    return render(draft), draft.open


def infer(source: LogSource, name: str | None = None) -> Draft:
    """Draft an embodiment, of a folder of logs from the first.

    Raises `UnreadableLog` for a log of no format, or without any vector.
    """
    whole_folder, source = source, first_log(source)
    reader = reader_of(source)
    survey = reader.survey(source)
    named = name or _said(survey.facts, "embodiment") or _said(survey.facts, "robot_type")
    # a name that a person or the log gives stays as it is: logs are matched by it
    draft = Draft(name=named or clean(source.name.partition(".")[0]), control_hz=0.0)
    for fact in ("embodiment", "robot_type", "env_name"):
        if value := _said(survey.facts, fact):
            draft.match = {fact: value}
            break
    if isinstance(reader, _OfMessages):
        with reader.stream(source) as messages:
            seen, whole = look(messages)
        if not whole:
            draft.open.append("only the beginning of the log was looked at")
        infer_messages.fill(draft, seen)
    elif isinstance(reader, infer_arrays.OfRows):
        infer_arrays.fill(draft, survey, reader, source)
        assign(draft)
    if not draft.state:
        raise UnreadableLog("; ".join(["no topic holds numbers an embodiment could map", *draft.open]))
    if states_outcome(survey.facts):
        draft.open = [question for question in draft.open if not question.startswith("outcome: no ")]
    settle(draft)
    if source is not whole_folder:
        draft.open.insert(0, f"drafted from {source.name}, the first log of the folder")
    draft.open.append("units and limits of every dim")
    return draft


def _said(facts: Mapping[str, str], fact: str) -> str | None:
    value = str(facts.get(fact, "")).strip()
    return None if value.lower() in _NOTHING else value
