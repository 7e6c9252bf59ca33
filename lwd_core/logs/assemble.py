"""From aligned arrays to an episode's Arrow tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lwd_core.logs.aligned import Aligned, TickFrames
from lwd_core.logs.content import SEGMENTS_READ, STEPS_READ, EpisodeData
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import FRAME
from storage_schemas.vocabulary import Actor, InterventionReason, SegmentKind, Source


@dataclass(frozen=True)
class Takeover:
    """An intervention as the log told it: when, why, by whom."""

    t_ns: int
    reason: str | None = None
    operator: str | None = None


@dataclass(frozen=True)
class EpisodeFacts:
    """What an episode's log said besides numbers. ``human`` is (N,) bool at its ticks."""

    task: str
    instruction: str
    source: str
    outcome: str
    outcome_from: str
    end: str
    human: np.ndarray
    first_message: int
    last_message: int
    policy_id: str | None = None
    operator: str | None = None
    robot_id: str | None = None
    site: str | None = None
    takeovers: Sequence[Takeover] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


def episode(index: int, aligned: Aligned, facts: EpisodeFacts, embodiment: Embodiment) -> EpisodeData:
    """One episode's tables; ``index`` is its place in the log."""
    return EpisodeData(
        index_in_log=index,
        embodiment=embodiment.name,
        task=facts.task,
        instruction=facts.instruction,
        source=facts.source,
        outcome=facts.outcome,
        outcome_from=facts.outcome_from,
        end=facts.end,
        control_hz=embodiment.control_hz,
        first_message=facts.first_message,
        last_message=facts.last_message,
        steps=_steps(aligned, facts.human, embodiment.period_ns),
        segments=_segments(aligned, facts),
        robot_id=facts.robot_id,
        site=facts.site,
        policy_id=facts.policy_id,
        attributes=facts.attributes,
    )


def _steps(aligned: Aligned, human: np.ndarray, period_ns: int) -> pa.Table:
    n, t = len(aligned.t_ns), aligned.actions
    gap = np.zeros(n, dtype=bool)
    gap[1:] = np.abs(np.diff(aligned.t_ns) - period_ns) > period_ns // 2
    columns = {
        "step": pa.array(np.arange(n, dtype=np.int32)),
        "t_ns": pa.array(aligned.t_ns),
        "state": _vectors(aligned.state, np.full(n, True)),
        "action": _vectors(aligned.action, np.arange(n) < t),
        "proposed": _vectors(
            aligned.proposed, np.append(aligned.has_proposed, np.zeros(n - t, dtype=bool)), null=True
        ),
        "actor": pa.array(np.where(human, Actor.HUMAN.value, Actor.POLICY.value)),
        "valid": pa.array(aligned.valid),
        "gap": pa.array(gap),
        "state_age_ns": _optional(aligned.state_age),
        "action_age_ns": _optional(aligned.action_age),
        "publish_ns": _optional(aligned.publish),
        "header_ns": _optional(aligned.header),
        "frames": _frames(aligned.frames) if aligned.frames else pa.nulls(n, pa.list_(FRAME)),
    }
    return pa.Table.from_arrays([columns[name] for name in STEPS_READ.names], schema=STEPS_READ)


def _vectors(values: np.ndarray, present: np.ndarray, null: bool = False) -> pa.ListArray:
    """A list per row: the next row of ``values`` where present, else empty (or null)."""
    width = values.shape[1]
    rows = values[present[: len(values)]] if len(values) else values
    offsets = np.zeros(len(present) + 1, dtype=np.int32)
    np.cumsum(present * width, out=offsets[1:])
    flat = pa.array(np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))
    mask = pa.array(~present) if null else None
    return pa.ListArray.from_arrays(pa.array(offsets), flat, type=pa.list_(pa.float32()), mask=mask)


def _optional(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=values < 0)


def _frames(frames: TickFrames) -> pa.ListArray:
    offsets = np.zeros(len(frames.lengths) + 1, dtype=np.int32)
    np.cumsum(frames.lengths, out=offsets[1:])
    structs = pa.StructArray.from_arrays(
        [
            pa.array(frames.camera, pa.string()),
            pa.array(frames.shard, pa.string()),
            pa.array(frames.offset),
            pa.array(frames.size),
            pa.array(frames.t_ns),
        ],
        fields=list(FRAME),
    )
    return pa.ListArray.from_arrays(pa.array(offsets), structs, type=pa.list_(FRAME))


def _segments(aligned: Aligned, facts: EpisodeFacts) -> pa.Table:
    human = facts.human[: aligned.actions]
    first = np.flatnonzero(np.diff(human, prepend=~human[:1]))
    last = np.append(first[1:], len(human)) - 1
    shown = human.all() and facts.source in (Source.DEMONSTRATION, Source.PLAY)
    by_person = SegmentKind.DEMONSTRATION if shown else SegmentKind.INTERVENTION
    rows = []
    for i, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        start, stop = int(aligned.t_ns[a]), int(aligned.t_ns[b])
        by_human = bool(human[a])
        who, reason = facts.policy_id, None
        if by_human:
            before = int(aligned.t_ns[a - 1]) if a else -1
            told = [x for x in facts.takeovers if before < x.t_ns <= stop]
            who = next((x.operator for x in told if x.operator), facts.operator)
            reason = _reason(next((x.reason for x in told if x.reason), None), facts.source)
        rows.append(
            {
                "segment": i,
                "kind": by_person if by_human else SegmentKind.AUTONOMOUS,
                "first_step": a,
                "last_step": b,
                "start_ns": start,
                "end_ns": stop,
                "actor": Actor.HUMAN if by_human else Actor.POLICY,
                "who": who,
                "reason": reason,
            }
        )
    return pa.Table.from_pylist(rows, schema=SEGMENTS_READ)


def _reason(told: str | None, source: str) -> str:
    """The told reason if the vocabulary has it; an unknown one stays in the episode's attributes."""
    if told in set(InterventionReason):
        return str(told)
    return InterventionReason.DEMONSTRATION if source == Source.DEMONSTRATION else InterventionReason.UNSTATED
