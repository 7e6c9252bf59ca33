"""What people say of episodes: how it ended, the stage it reached, words over a span of time.

A person has a layer for each kind, ``person.NAME.outcome@1``, beside those of robots and models. Who says
otherwise later replaces what they said and removes nothing: the earlier row stays, with the time from which
it no longer counts. What was said is ordered by when it was said, so that the same again changes nothing,
even if it comes late.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lwd_core.errors import UserError, suggest
from lwd_core.labels.said import Said, WrongAnswer, storable
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS, PERSON
from storage_schemas.vocabulary import LabelKind, Outcome

#: What people say, and the kind of layer it is.
KINDS = {"outcome": LabelKind.OUTCOME, "stage": LabelKind.PROGRESS, "note": LabelKind.ANNOTATION}
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
#: SQL: rows of ``labels`` that count.
COUNTS = "replaced_ns IS NULL"
#: Seconds into an episode, at most: what the lake's times can count by far, and longer than any episode.
LONGEST_S = 1e9
#: How far ahead the clock of whoever says something may be.
_AHEAD_NS = 300 * 10**9

_PLACE = ("day", "site", "layer_id", "episode_id")

Row = dict[str, Any]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PersonLabel:
    """One thing that one person says of one episode.

    ``kind``: ``outcome`` (``text``: success, failure or unknown), ``stage`` (the furthest stage it reached)
    or ``note`` (words). A ``text`` of None takes back what they said. ``from_s`` and ``to_s`` are the span a
    note speaks of, in seconds since the episode's first step; without ``to_s`` to its end. ``detail`` says
    why, ``at_ns`` when it was said, by default now.
    """

    episode_id: str
    by: str
    kind: str
    text: str | None
    detail: str | None = None
    from_s: float | None = None
    to_s: float | None = None
    at_ns: int | None = None


@dataclass
class LabelsSet:
    """What became of some labels: new, in place of another, taken back; said before, or otherwise since."""

    added: int = 0
    changed: int = 0
    taken_back: int = 0
    unchanged: int = 0


def layer_of(by: str, kind: str) -> str:
    """The layer of what a person says of a kind."""
    return f"{PERSON}{by}.{kind}@1"


def set_labels(lake: Lake, labels: Sequence[PersonLabel], *, now_ns: int) -> LabelsSet:
    """Keep what people say, all in one commit or nothing; the same again changes nothing.

    Of one person, one kind and one span a single label counts: the last. Raises `UserError` for a name, kind,
    text, span or episode there can't be.
    """
    said = [_checked(label, now_ns + i) for i, label in enumerate(labels)]  # what comes later counts
    if not said:
        return LabelsSet()
    rows = _rows(lake, said)
    where = {name: sorted({row[name] for row in rows}) for name in _PLACE}
    version = lake.version("labels")
    done = _merged(_there(lake, where, version), rows)[1]
    if done.unchanged == len(rows):
        return done

    def plan(base: int) -> pa.Table:
        nonlocal done
        merged, done = _merged(_there(lake, where, base), rows)
        return pa.Table.from_pylist(merged, LABELS.schema)

    lake.settle("labels", plan, where)
    return done


def place_again(lake: Lake, episodes: Sequence[str]) -> int:
    """Give spans the steps they have in rows that were read again; how many labels that changed."""

    def spans(version: int | None) -> list[Row]:
        return lake.read(
            "labels",
            where="start_ns IS NOT NULL AND said_by IS NOT NULL AND episode_id IN (SELECT unnest(?))",
            params=[list(episodes)],
            versions=None if version is None else {"labels": version},
        ).to_pylist()

    before = spans(lake.version("labels"))
    after = [dict(row) for row in before]
    _place(lake, after)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    if not moved:
        return 0
    where = {name: sorted({row[name] for row in moved}) for name in _PLACE}

    def plan(base: int) -> pa.Table:
        rows = _there(lake, where, base)
        _place(lake, [row for row in rows if row["start_ns"] is not None])
        return pa.Table.from_pylist(rows, LABELS.schema)

    lake.settle("labels", plan, where)
    return len(moved)


def _checked(label: PersonLabel, now_ns: int) -> PersonLabel:
    where = f"label of episode {label.episode_id}"
    if not NAME.fullmatch(label.by):
        raise UserError(f"{where}, by {label.by!r}: a name is small letters, digits, _ and -, 40 at most")
    if label.kind not in KINDS:
        raise UserError(f"{where}, kind {label.kind!r}: people say no such thing{suggest(label.kind, KINDS)}")
    words = tuple(Outcome)
    if label.kind == "outcome" and label.text is not None and label.text not in words:
        raise UserError(f"{where}, outcome {label.text!r}: no such outcome{suggest(label.text, words)}")
    if label.text is not None and not label.text.strip():
        raise UserError(f"{where}, {label.kind}: there is no word in it; leave it out, or take it back")
    try:
        storable(Said(text=label.text, detail=label.detail))
    except WrongAnswer as error:
        raise UserError(f"{where}, {label.kind}: {error}") from error
    if label.kind != "note" and (label.from_s is not None or label.to_s is not None):
        raise UserError(f"{where}, {label.kind}: only a note speaks of a span; leave its times out")
    if label.to_s is not None and not 0 <= (label.from_s or 0.0) <= label.to_s <= LONGEST_S:
        raise UserError(
            f"{where}, from {label.from_s} to {label.to_s} s: no span; "
            f"its times go up from 0, to {LONGEST_S:g} at most"
        )
    if label.from_s is not None and not 0 <= label.from_s <= LONGEST_S:
        raise UserError(f"{where}, from {label.from_s} s: no time of the episode; 0 is its first step")
    at = now_ns if label.at_ns is None else label.at_ns
    if at < 0:
        raise UserError(f"{where}: said before 1970; mend the time at which it was said")
    if at > now_ns + _AHEAD_NS:
        raise UserError(f"{where}: said in the future; set the clock of whoever says it")
    return replace(label, at_ns=at)


def _rows(lake: Lake, said: Sequence[PersonLabel]) -> list[Row]:
    """As rows of ``labels``, in the order they were said."""
    ids = sorted({label.episode_id for label in said})
    found: list[Row] = lake.read(
        "episodes",
        columns=["episode_id", "log_id", "site", "day", "start_ns", "end_ns"],
        where="episode_id IN (SELECT unnest(?))",
        params=[ids],
    ).to_pylist()
    episodes = {row["episode_id"]: row for row in found}
    for name in ids:
        if name not in episodes:
            raise UserError(f"episode {name}: no such episode in the lake; `lwd episode list` shows them")
    rows: list[Row] = []
    for label in sorted(said, key=lambda label: label.at_ns or 0):
        episode = dict(episodes[label.episode_id])
        start, end = episode.pop("start_ns"), episode.pop("end_ns")
        span = label.from_s is not None or label.to_s is not None
        first = start + round((label.from_s or 0.0) * 1e9)
        last = end if label.to_s is None else min(end, start + round(label.to_s * 1e9))
        if span and first > end:
            raise UserError(
                f"label of episode {label.episode_id}, from {label.from_s} s: "
                f"the episode is {(end - start) / 1e9:g} s long"
            )
        rows.append(
            dict.fromkeys(LABELS.names)
            | episode
            | {
                "layer_id": layer_of(label.by, label.kind),
                "kind": str(KINDS[label.kind]),
                "text": label.text,
                "detail": label.detail,
                "created_ns": label.at_ns,
                "said_by": label.by,
                "start_ns": first if span else None,
                "end_ns": last if span else None,
            }
        )
    _place(lake, [row for row in rows if row["start_ns"] is not None])
    return rows


def _place(lake: Lake, rows: Sequence[Row]) -> None:
    """Give labels of a span its first and last step: ticks within it, or the one before where none is."""
    if not rows:
        return
    where, params = _here(rows)
    ticks = lake.read(
        "steps", columns=["episode_id", "t_ns"], where=f"{where} ORDER BY episode_id, step", params=params
    )
    times: dict[str, Times] = {}
    ids, t_ns = ticks["episode_id"].to_numpy(), ticks["t_ns"].to_numpy()
    edges = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])) if len(ids) else np.zeros(0, int)
    for first, last in zip(edges, np.append(edges[1:], len(ids)), strict=False):
        times[ids[first]] = t_ns[first:last]
    for row in rows:
        own = times.get(row["episode_id"], np.zeros(0, np.int64))
        if not len(own) or row["end_ns"] < own[0] or row["start_ns"] > own[-1]:
            continue  # of another clock than the recording's: what steps it has stay
        row["last_step"] = int(np.searchsorted(own, row["end_ns"], side="right")) - 1
        row["step"] = min(int(np.searchsorted(own, row["start_ns"])), row["last_step"])


def _here(rows: Iterable[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """SQL that finds what lies with the episodes of these rows, and reads no other partition."""
    days = sorted({row["day"] for row in rows})
    sites = sorted({row["site"] for row in rows})
    ids = sorted({row["episode_id"] for row in rows})
    marks = [", ".join("?" * len(values)) for values in (days, sites)]
    return (
        f"day IN ({marks[0]}) AND site IN ({marks[1]}) AND episode_id IN (SELECT unnest(?))",
        [*days, *sites, ids],
    )


def _there(lake: Lake, where: Mapping[str, Sequence[str]], version: int | None) -> list[Row]:
    marks = {name: ", ".join("?" * len(where[name])) for name in ("day", "site", "layer_id")}
    asked = " AND ".join(f"{name} IN ({mark})" for name, mark in marks.items())
    return lake.read(
        "labels",
        where=f"{asked} AND episode_id IN (SELECT unnest(?))",
        params=[*(value for name in marks for value in where[name]), list(where["episode_id"])],
        versions=None if version is None else {"labels": version},
    ).to_pylist()


def _merged(there: list[Row], rows: Sequence[Row]) -> tuple[list[Row], LabelsSet]:
    """The rows that are there and the new ones, each with when it was replaced; and what became of these."""
    done, subjects = LabelsSet(), dict[tuple[Any, ...], list[Row]]()
    for row in there:
        subjects.setdefault(_subject(row), []).append(row)
    for new in rows:
        others = subjects.setdefault(_subject(new), [])
        at = new["created_ns"]
        counts = next((row for row in others if row["replaced_ns"] is None), None)
        latest = max((row["replaced_ns"] or row["created_ns"] for row in others), default=at)
        same = [row for row in others if (row["text"], row["detail"]) == (new["text"], new["detail"])]
        if new["text"] is None:
            if counts is None or counts["created_ns"] > at or any(row["replaced_ns"] == at for row in others):
                done.unchanged += 1
            else:
                counts["replaced_ns"] = at
                done.taken_back += 1
        elif any(row is counts or row["created_ns"] == at for row in same):
            done.unchanged += 1
        elif at < latest:  # came late: it was said, and something else since
            others.append(new | {"replaced_ns": latest})
            done.added += 1
        else:
            done.changed += counts is not None
            done.added += counts is None
            if counts is not None:
                counts["replaced_ns"] = at
            others.append(dict(new))
    return [row for own in subjects.values() for row in own], done


def _subject(row: Row) -> tuple[Any, ...]:
    """What a label speaks of: of one person, one label of it counts."""
    return tuple(row[name] for name in ("layer_id", "episode_id", "start_ns", "end_ns"))
