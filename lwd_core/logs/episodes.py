"""From a recording to episodes: how they went, who was in control, what else was said of them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lwd_core.logs.align import Aligner
from lwd_core.logs.aligned import Aligned
from lwd_core.logs.assemble import EpisodeFacts, Takeover, episode
from lwd_core.logs.boundaries import EpisodeSpan, Event, events_of, spans
from lwd_core.logs.clock import Clock, Timed
from lwd_core.logs.clock_cuts import parts
from lwd_core.logs.content import EpisodeData, LogContent, UnreadableLog
from lwd_core.logs.metadata import named_task, outcome_of_word
from lwd_core.logs.recording import MessageLog, Series
from lwd_core.logs.split import by_driver, by_restart, joined
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import Actor, EpisodeEnd, Outcome, OutcomeFrom, Source

_SILENCE_NS = 1_000_000_000
_PERSON = frozenset({"person", "human", "operator"})


def content_of(recording: MessageLog, embodiment: Embodiment) -> LogContent:
    """Cut and align a recording.

    Raises `UnreadableLog` where state or action cannot be read at all, or no clock is sound.
    """
    recording, embodiment = by_driver(recording, embodiment)
    parts = by_restart(recording, embodiment)
    if len(parts) == 1:
        return _content_of(recording, embodiment)
    read: list[LogContent | UnreadableLog] = []
    for part in parts:
        try:
            read.append(_content_of(_of_one(part, alone=False), embodiment))
        except UnreadableLog as e:
            read.append(e)
    return joined(read)


def _of_one(recording: MessageLog, alone: bool) -> MessageLog:
    """The recording; an outcome said of the whole log is unknown of each, where that is several episodes."""
    said = recording.facts.get("outcome")
    if alone or not said or said == Outcome.UNKNOWN:
        return recording
    note = f"the log's outcome {said!r} is not said of any one of its episodes"
    facts = {**recording.facts, "outcome": str(Outcome.UNKNOWN)}
    return replace(recording, facts=facts, notes=(*recording.notes, note))


def _content_of(recording: MessageLog, embodiment: Embodiment) -> LogContent:
    for kind in ("state", "action"):
        for feature, series in zip(getattr(embodiment, kind), getattr(recording, kind), strict=True):
            if not len(series) and recording.messages:
                raise UnreadableLog(
                    f"no message of {feature.topic} can be read"
                    + "".join(f"; {note}" for note in recording.notes if note.startswith(f"{feature.topic}:"))
                )
    clock = Clock(recording, embodiment)
    spanned: list[tuple[MessageLog, Aligner, list[Event], list[EpisodeSpan]]] = []
    for part in parts(recording, embodiment, clock):
        aligner = Aligner(part, embodiment, clock)
        _silences(aligner.lead, embodiment, clock)
        events = events_of(part, clock)
        cut = list(spans(part, embodiment, clock, aligner.lead, events))
        spanned.append((part, aligner, events, cut))
    alone = sum(len(cut) for *_, cut in spanned) < 2
    recording = _of_one(recording, alone)
    found: list[EpisodeData] = []
    for part, aligner, events, cut in spanned:
        story = _Story(_of_one(part, alone), embodiment, clock, events)
        for span in cut:
            aligned = aligner.span(span.start, span.reach(embodiment), span.stop)
            if aligned is None:
                clock.notes.append("an episode without any action left out")
                continue
            facts = story.facts(span, aligned, aligner)
            found.append(episode(len(found), aligned, facts, embodiment))
    if not found and recording.messages:
        clock.notes.append(f"no episode found (boundary: {embodiment.episodes.boundary})")
    clock.notes += _masked([aligner for _, aligner, *_ in spanned])
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


def _masked(aligners: Sequence[Aligner]) -> list[str]:
    """How many rows count, and why others don't."""
    rows, valid = sum(a.rows for a in aligners), sum(a.valid for a in aligners)
    if valid == rows:
        return []
    masked = sum((a.masked for a in aligners), Counter())
    causes = "; ".join(f"{why}, at {count}" for why, count in masked.most_common(5))
    return [f"{valid} of {rows} rows valid ({causes})"]


def _silences(lead: np.ndarray, embodiment: Embodiment, clock: Clock) -> None:
    """Name the silences within a recording; where they part episodes they are meant."""
    gaps = np.diff(lead)
    if not len(gaps) or embodiment.episodes.boundary == "gap":
        return
    silent = gaps[gaps > max(_SILENCE_NS, 5 * int(np.median(gaps)))]
    if len(silent):
        clock.notes.append(f"{len(silent)} silences, the longest of {silent.max() / 1e9:.3f} s, are gaps")


class _Story:
    """What a recording says besides vectors and images."""

    def __init__(
        self, recording: MessageLog, embodiment: Embodiment, clock: Clock, events: list[Event]
    ) -> None:
        self._recording, self._embodiment, self._events = recording, embodiment, events
        self._actor = _timed(clock, embodiment.actor.topic, recording.actor)
        self._outcome = _timed(clock, embodiment.outcome.topic, recording.outcome)

    def facts(self, span: EpisodeSpan, aligned: Aligned, aligner: Aligner) -> EpisodeFacts:
        """Everything but the numbers of one span."""
        recorded, said = self._recording.facts, dict(span.said)
        task, instruction = (said.pop(k, "") or recorded.get(k, "") for k in ("task", "instruction"))
        task, instruction = named_task(task, instruction, self._embodiment.task)
        source = said.pop("source", "") or self._embodiment.source
        if source not in set(Source):
            said["source_said"], source = source, self._embodiment.source
        outcome, outcome_from = self._verdict(span, aligned, source)
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
        own = {"robot_id", "site", "embodiment", "policy_id", "task", "instruction"}
        return EpisodeFacts(
            task=task,
            instruction=instruction,
            source=source,
            outcome=outcome,
            outcome_from=outcome_from,
            end=end,
            human=human,
            first_message=first,
            last_message=last,
            policy_id=policy or recorded.get("policy_id") or None,
            operator=operator or recorded.get("operator") or None,
            robot_id=recorded.get("robot_id") or None,
            site=recorded.get("site") or None,
            takeovers=takeovers,
            attributes={**{k: v for k, v in recorded.items() if k not in own}, **said},
        )

    def _within(self, span: EpisodeSpan) -> list[Event]:
        reach = span.reach(self._embodiment)
        return [e for e in self._events if span.start <= e.t_ns <= reach]

    def _verdict(self, span: EpisodeSpan, aligned: Aligned, source: str) -> tuple[str, str]:
        events = self._embodiment.events
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
            reach = span.reach(self._embodiment)
            at = self._outcome.at[(t >= span.start) & (t <= reach)]
            said = [self._recording.outcome.values[i][0] for i in at]
            if verdict := read_outcome(said, self._embodiment):
                best = verdict, OutcomeFrom.ROBOT
        word = self._recording.facts.get("outcome")
        if best is None and word and (verdict := outcome_of_word(word, self._embodiment)):
            best = verdict, OutcomeFrom.ROBOT
        if best is not None:
            return best
        unsaid = self._recording.cut or self._embodiment.outcome.default is None
        if unsaid and not span.closed:  # how it went lies behind the cut
            return Outcome.UNKNOWN, OutcomeFrom.NOBODY
        if word and self._embodiment.outcome.default is None:  # somebody judged it, in no word we know
            return Outcome.UNKNOWN, OutcomeFrom.NOBODY
        return self._embodiment.outcome_unsaid(source), OutcomeFrom.NOBODY

    def _control(self, span: EpisodeSpan, aligned: Aligned) -> tuple[np.ndarray, str | None, str | None]:
        """(N,) human at the tick, the operator, the policy that ran."""
        rule, n = self._embodiment.actor, len(aligned.t_ns)
        human = np.full(n, rule.default == Actor.HUMAN)
        if self._actor is not None and self._recording.actor is not None and len(self._actor.t):
            place, _ = self._actor.latest(
                aligned.acting_ns if aligned.acting_ns is not None else aligned.t_ns
            )
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

    def _takeovers(self, span: EpisodeSpan) -> list[Takeover]:
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
