"""In what two policies differ: what they were trained on, its labels, how, and how well they do.

Data is compared over all snapshots of each policy's own training, by the lake's rows; labels by
reading the shards, since a label layer shows only in the rewards a snapshot froze.
"""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.intervals import Rate, wilson
from lwd_core.policies.registry import find
from lwd_core.snapshots.diff import other_rewards
from lwd_core.snapshots.snapshot import Snapshot

BY = ("task", "source", "outcome", "site", "robot_id", "day")


@dataclass(frozen=True)
class DataDifference:
    """Episodes each was trained on. ``by``: column -> value -> (episodes in a, in b), where they differ."""

    a: int
    b: int
    shared: int
    only_a: list[str]
    only_b: list[str]
    by: dict[str, dict[str, tuple[int, int]]]


@dataclass(frozen=True)
class Labels:
    """``layers``: (a, b) of what the snapshots' specs name, where it differs; ``rewards``: shared episodes
    whose frozen rewards differ, as far as shards are there; ``unread``: snapshots whose shards are gone."""

    layers: dict[str, tuple[Any, Any]]
    rewards: list[str]
    unread: list[str]


@dataclass(frozen=True)
class Result:
    """One task (or all): success of each, and over scenes both ran how many only one of them solved.

    ``p`` is the two-sided exact McNemar test of these; None where no scene was run by both.
    """

    task: str
    a: Rate
    b: Rate
    only_a: int
    only_b: int
    p: float | None


@dataclass(frozen=True)
class PolicyDifference:
    """From policy a to policy b. ``facts`` and ``config``: field -> (a, b), where they differ."""

    a: str
    b: str
    facts: dict[str, tuple[Any, Any]]
    data: DataDifference
    labels: Labels
    config: dict[str, tuple[Any, Any]]
    results: list[Result]


def diff(lake: Lake, snapshots: str, a: str, b: str) -> PolicyDifference:
    """Compare two policies by id or its beginning. ``snapshots`` is the place their shards lie in."""
    one, two = find(lake, a), find(lake, b)
    facts = {k: (one[k], two[k]) for k in ("stage", "parent", "train_step", "checkpoint", "snapshots")}
    return PolicyDifference(
        a=one["policy_id"],
        b=two["policy_id"],
        facts={k: pair for k, pair in facts.items() if pair[0] != pair[1]},
        data=_data(lake, one["snapshots"], two["snapshots"]),
        labels=_labels(lake, snapshots, one["snapshots"], two["snapshots"]),
        config=_changes(json.loads(one["config"]), json.loads(two["config"])),
        results=_results(lake, one["policy_id"], two["policy_id"]),
    )


def _data(lake: Lake, a: list[str], b: list[str]) -> DataDifference:
    rows = [
        {row["episode_id"]: row for row in lake.sql(
            f"SELECT DISTINCT m.episode_id, {', '.join(f'e.{c}' for c in BY)} FROM snapshot_members m "
            "LEFT JOIN episodes e USING (episode_id) WHERE list_contains(?, m.digest)", (digests,)
        ).to_pylist()}
        for digests in (a, b)
    ]  # fmt: skip
    mine, other = rows
    by: dict[str, dict[str, tuple[int, int]]] = {}
    for column in BY:
        x, y = (Counter(str(row[column]) for row in side.values()) for side in rows)
        if changed := {value: (x[value], y[value]) for value in sorted(x | y) if x[value] != y[value]}:
            by[column] = changed
    shared = len(mine.keys() & other.keys())
    return DataDifference(
        len(mine), len(other), shared, sorted(mine - other.keys()), sorted(other - mine.keys()), by
    )


def _labels(lake: Lake, place: str, a: list[str], b: list[str]) -> Labels:
    specs = {
        row["digest"]: json.loads(row["spec"])
        for row in lake.read(
            "snapshots", columns=["digest", "spec"], where="list_contains(?, digest)", params=([*a, *b],)
        ).to_pylist()
    }
    named = [[specs[d].get("labels", {}) for d in digests if d in specs] for digests in (a, b)]
    opened: dict[str, Snapshot] = {}
    unread: list[str] = []
    for digest in dict.fromkeys([*a, *b]):
        try:
            opened[digest] = Snapshot.open(place, digest, verify=False)
        except UserError:
            unread.append(digest)
    rewards: set[str] = set()
    for x in (opened[d] for d in a if d in opened):
        for y in (opened[d] for d in b if d in opened and d != x.digest):
            rewards.update(other_rewards(x, y))
    layers = {} if named[0] == named[1] else {"labels": (named[0], named[1])}
    return Labels(layers, sorted(rewards), unread)


def _changes(a: Any, b: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Leaves of two nested settings that differ, by dotted path."""
    if isinstance(a, dict) and isinstance(b, dict):
        found: dict[str, tuple[Any, Any]] = {}
        one, two = cast("dict[str, Any]", a), cast("dict[str, Any]", b)
        for key in sorted(one.keys() | two.keys()):
            found |= _changes(one.get(key), two.get(key), f"{path}.{key}" if path else key)
        return found
    return {path: (a, b)} if a != b else {}


def _results(lake: Lake, a: str, b: str) -> list[Result]:
    scenes = lake.sql(
        "SELECT task, seed, max(success) FILTER (policy_id = $1) AS a, "
        "max(success) FILTER (policy_id = $2) AS b "
        "FROM evaluations WHERE policy_id IN ($1, $2) GROUP BY ALL ORDER BY ALL",
        (a, b),
    ).to_pylist()
    tasks = sorted({row["task"] for row in scenes})
    results = [_result(task, [row for row in scenes if row["task"] == task]) for task in tasks]
    return [*results, _result("all", scenes)] if scenes else []


def _result(task: str, scenes: list[dict[str, Any]]) -> Result:
    a, b = (
        wilson(sum(ran), len(ran))
        for ran in ([row[side] for row in scenes if row[side] is not None] for side in ("a", "b"))
    )
    from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

    both = [(row["a"], row["b"]) for row in scenes if row["a"] is not None and row["b"] is not None]
    only_a, only_b = both.count((True, False)), both.count((False, True))
    p = float(cast("Any", stats).binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return Result(task, a, b, only_a, only_b, p if both else None)
