"""From a recording to episodes: where they begin and end, how they went, who was in control."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from lwd_core.logs.align import Aligned, Aligner
from lwd_core.logs.assemble import Facts, Takeover, episode
from lwd_core.logs.clock import Clock, Timed
from lwd_core.logs.content import EpisodeData, LogContent, UnreadableLog
from lwd_core.logs.recording import Recording, Series
from storage_schemas.embodiment import Embodiment, EventRule
from storage_schemas.vocabulary import Actor, EpisodeEnd, Outcome, OutcomeFrom, Source

_FOREVER = (1 << 62) + (1 << 61)
_PERSON = frozenset({"person", "human", "operator"})


@dataclass(frozen=True)
class _Happened:
    """An event in time."""

    t_ns: int
    kind: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class _Span:
    """An episode's time. ``closed``: the log says where it ends; ``stop`` then is its last action's."""

    start: int
    stop: int
    closed: bool
    said: dict[str, str] = field(default_factory=dict)
    end: str | None = None


def content_of(recording: Recording, embodiment: Embodiment) -> LogContent:
    """Cut and align a recording.

    Raises `UnreadableLog` where state or action cannot be read at all, or no clock is sound.
    """
    for kind in ("state", "action"):
        for feature, series in zip(getattr(embodiment, kind), getattr(recording, kind), strict=True):
            if not len(series) and recording.messages:
                raise UnreadableLog(
                    f"no message of {feature.topic} can be read"
                    + "".join(f"; {note}" for note in recording.notes if note.startswith(f"{feature.topic}:"))
                )
    clock = Clock(recording, embodiment)
    aligner = Aligner(recording, embodiment, clock)
    story = _Story(recording, embodiment, clock)
    found: list[EpisodeData] = []
    for span in story.spans(aligner):
        aligned = aligner.span(span.start, *_reach(span, embodiment))
        if aligned is None:
            clock.notes.append("an episode without any action left out")
            continue
        facts = story.facts(span, aligned, aligner)
        found.append(episode(len(found), aligned, facts, embodiment))
    notes = tuple(dict.fromkeys((*recording.notes, *clock.notes)))
    if notes:
        said = {"notes": json.dumps(notes)}
        found = [replace(e, attributes={**e.attributes, **said}) for e in found]
    return LogContent(
        format=recording.format,
        messages=recording.messages,
        episodes=tuple(found),
        messages_lost=recording.messages_lost,
        salvaged=recording.salvaged,
        embodiment=embodiment.name,
        notes=notes,
    )


def _reach(span: _Span, embodiment: Embodiment) -> tuple[int, int]:
    """Last tick and last action that belong: the state after the last action may follow the end."""
    if not span.closed:
        return span.stop, span.stop
    return span.stop + 3 * embodiment.period_ns // 2, span.stop


def task_name(text: str) -> str:
    """A short name for a task known only by its instruction."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:60] or "unnamed"


class _Story:
    """What a recording says besides vectors and images."""

    def __init__(self, recording: Recording, embodiment: Embodiment, clock: Clock) -> None:
        self._recording, self._embodiment = recording, embodiment
        self._actor = _timed(clock, embodiment.actor.topic, recording.actor)
        self._outcome = _timed(clock, embodiment.outcome.topic, recording.outcome)
        self._flag = _timed(clock, embodiment.episodes.topic, recording.flag)
        self._events: list[_Happened] = []
        if embodiment.events and recording.events is not None:
            series = recording.events
            # events of one moment are all meant: they are only put in order, never reduced
            t = series.header if clock.kind == "header" else series.log
            if clock.kind == "publish":
                t = series.publish
            for at in np.argsort(t, kind="stable"):
                kind, attributes = series.values[at]
                self._events.append(_Happened(int(t[at]), kind, attributes))

    def spans(self, aligner: Aligner) -> Iterator[_Span]:
        """Episodes in time, by the embodiment's boundary rule."""
        lead = aligner.lead
        if not len(lead):
            return
        rule = self._embodiment.episodes
        truncated = self._recording.salvaged is not None
        if rule.boundary == "events":
            yield from self._by_events(self._embodiment.events, int(lead[-1]))
        elif rule.boundary == "flag":
            yield from self._by_flag(int(lead[-1]))
        elif rule.boundary == "gap":
            for run in np.split(lead, np.flatnonzero(np.diff(lead) > rule.gap_s * 1e9) + 1):
                yield _Span(int(run[0]), int(run[-1]), closed=not truncated)
        else:
            yield _Span(int(lead[0]), int(lead[-1]), closed=not truncated)

    def _by_events(self, rule: EventRule | None, last: int) -> Iterator[_Span]:
        assert rule is not None
        begun: _Happened | None = None
        for event in self._events:
            if event.kind in rule.start:
                if begun is not None:
                    yield _Span(begun.t_ns, event.t_ns - 1, closed=False, said=begun.attributes)
                begun = event
            elif event.kind in rule.end and begun is not None:
                said = {**begun.attributes, **{k: v for k, v in event.attributes.items() if k != "end"}}
                yield _Span(begun.t_ns, event.t_ns, True, said, event.attributes.get("end"))
                begun = None
        if begun is not None and last >= begun.t_ns:
            yield _Span(begun.t_ns, last, closed=False, said=begun.attributes)

    def _by_flag(self, last: int) -> Iterator[_Span]:
        if self._flag is None or self._recording.flag is None:
            return
        begun: int | None = None
        for t, at in zip(self._flag.t.tolist(), self._flag.at.tolist(), strict=True):
            up = self._recording.flag.values[at][0].lower() in ("true", "1", "1.0")
            if up and begun is None:
                begun = t
            elif not up and begun is not None:
                yield _Span(begun, t, closed=True)
                begun = None
        if begun is not None:
            yield _Span(begun, last, closed=False)

    def facts(self, span: _Span, aligned: Aligned, aligner: Aligner) -> Facts:
        """Everything but the numbers of one span."""
        rule, recorded = self._embodiment.task, self._recording.facts
        said = dict(span.said)
        instruction = said.pop("instruction", "") or rule.instruction
        task = said.pop("task", "") or rule.names.get(instruction) or ""
        if not task:
            task = rule.default if rule.default != "unnamed" or not instruction else task_name(instruction)
        source = said.pop("source", "") or self._embodiment.source
        if source not in set(Source):
            said["source_said"], source = source, self._embodiment.source
        outcome, outcome_from = self._verdict(span, aligned)
        end = span.end if span.end in set(EpisodeEnd) else None
        if end is None or not span.closed:
            success = span.closed and outcome == Outcome.SUCCESS
            end = EpisodeEnd.TERMINATED if success else EpisodeEnd.TRUNCATED
        human, operator, policy = self._control(span, aligned)
        first, last = aligner.messages(span.start, int(aligned.t_ns[-1]))
        takeovers = self._takeovers(span)
        for takeover in takeovers:
            if takeover.reason:
                said[f"takeover@{takeover.t_ns}"] = takeover.reason
        own = {"robot_id", "site", "embodiment", "policy_id"}
        return Facts(
            task=task,
            instruction=instruction or task,
            source=source,
            outcome=outcome,
            outcome_from=outcome_from,
            end=end,
            human=human,
            first_message=first,
            last_message=last,
            policy_id=policy or recorded.get("policy_id") or None,
            operator=operator,
            robot_id=recorded.get("robot_id") or None,
            site=recorded.get("site") or None,
            takeovers=takeovers,
            attributes={**{k: v for k, v in recorded.items() if k not in own}, **said},
        )

    def _within(self, span: _Span) -> list[_Happened]:
        reach, _ = _reach(span, self._embodiment)
        return [e for e in self._events if span.start <= e.t_ns <= reach]

    def _verdict(self, span: _Span, aligned: Aligned) -> tuple[str, str]:
        events, rule = self._embodiment.events, self._embodiment.outcome
        best: tuple[str, str] | None = None
        if events:
            for event in self._within(span):
                verdict = (
                    Outcome.SUCCESS
                    if event.kind in events.success
                    else Outcome.FAILURE
                    if event.kind in events.failure
                    else None
                )
                if verdict is None:
                    continue
                person = event.attributes.get("by", "").lower() in _PERSON
                if person or best is None or best[1] != OutcomeFrom.PERSON:
                    best = verdict, OutcomeFrom.PERSON if person else OutcomeFrom.ROBOT
        if best is None and self._outcome is not None and self._recording.outcome is not None:
            t = self._outcome.t
            reach, _ = _reach(span, self._embodiment)
            at = self._outcome.at[(t >= span.start) & (t <= reach)]
            said = [self._recording.outcome.values[i][0] for i in at]
            if verdict := read_outcome(said, self._embodiment):
                best = verdict, OutcomeFrom.ROBOT
        if best is not None:
            return best
        return rule.default, OutcomeFrom.NOBODY

    def _control(self, span: _Span, aligned: Aligned) -> tuple[np.ndarray, str | None, str | None]:
        """(N,) human at the tick, the operator, the policy that ran."""
        rule, n = self._embodiment.actor, len(aligned.t_ns)
        human = np.full(n, rule.default == Actor.HUMAN)
        if self._actor is not None and self._recording.actor is not None and len(self._actor.t):
            place, _ = self._actor.latest(aligned.t_ns)
            values = self._recording.actor.values
            words = {w.lower() for w in rule.human}
            used = Counter(place[place >= 0][: aligned.actions].tolist())
            is_human = {p: values[p][0].lower() in words for p in used}
            known = place >= 0
            human[known] = [is_human.get(p, values[p][0].lower() in words) for p in place[known].tolist()]
            human[aligned.actions :] = human[aligned.actions - 1]
            operators = Counter(values[p][1] for p in used if is_human[p] and values[p][1])
            policies: Counter[str] = Counter()
            for p, count in used.items():
                if values[p][2]:
                    policies[values[p][2]] += count
            return human, _most(operators), _most(policies)
        events = self._embodiment.events
        if events:
            for event in self._within(span):
                if event.kind in events.intervention_on:
                    human[aligned.t_ns >= event.t_ns] = True
                elif event.kind in events.intervention_off:
                    human[aligned.t_ns >= event.t_ns] = False
            human[aligned.actions :] = human[aligned.actions - 1]
        return human, None, None

    def _takeovers(self, span: _Span) -> list[Takeover]:
        events = self._embodiment.events
        if not events:
            return []
        return [
            Takeover(e.t_ns, e.attributes.get("reason"), e.attributes.get("operator"))
            for e in self._within(span)
            if e.kind in events.intervention_on
        ]


def read_outcome(said: list[str], embodiment: Embodiment) -> str | None:
    """The outcome that values of the outcome topic tell, None if they tell nothing."""
    rule = embodiment.outcome
    if rule.success_at is not None:
        numbers = [n for n in map(_number, said) if n is not None]
        if not numbers:
            return None
        return Outcome.SUCCESS if max(numbers) >= rule.success_at else Outcome.FAILURE
    for word in reversed([s.lower() for s in said]):
        if word in {w.lower() for w in rule.success}:
            return Outcome.SUCCESS
        if word in {w.lower() for w in rule.failure}:
            return Outcome.FAILURE
    return None


def _number(said: str) -> float | None:
    if said in ("true", "false"):
        return float(said == "true")
    try:
        return n if np.isfinite(n := float(said)) else None
    except ValueError:
        return None


def _most(counter: Counter[str]) -> str | None:
    return counter.most_common(1)[0][0] if counter else None


def _timed(clock: Clock, topic: str | None, series: Series | None) -> Timed | None:
    return clock.time(topic, series) if topic and series is not None else None
