"""The episodes a spec means, at pinned table versions: the same spec finds the same ones later."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lwd_core.errors import UserError, did_you_mean
from lwd_core.lake.query import WrongQuery, condition
from lwd_core.lake.read_only import admit_condition
from lwd_core.lake.same_recording import FOR_GOOD
from lwd_core.lake.store import Lake
from lwd_core.snapshots.rule import parts, verdicts
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.vocabulary import EpisodeEnd, Outcome, Source, Split, Verdict

_EPISODE = (
    "episode_id, log_id, site, day, robot_id, embodiment, task, instruction, policy_id, source, "
    'outcome, "end", control_hz, steps, start_ns, embodiment_digest, reading, content, created_ns, '
    f"{FOR_GOOD} AS recording"
)
_LISTS = {
    "embodiments": "embodiment",
    "tasks": "task",
    "sources": "source",
    "outcomes": "outcome",
    "sites": "site",
    "robots": "robot_id",
    "days": "day",
}


class NoEpisodes(UserError):
    """The lake holds nothing that a spec asks for, or not yet."""


def pin(lake: Lake, spec: SnapshotSpec, versions: Mapping[str, int] | None = None) -> dict[str, int]:
    """Versions of the tables the spec reads: those given, else the newest."""
    layers = spec.labels
    tables = ["episodes", "steps"]
    if layers.reward or layers.outcome or layers.blocking:
        tables.append("labels")
    given = versions or {}
    return {name: given[name] if name in given else _newest(lake, name) for name in tables}


def _newest(lake: Lake, table: str) -> int:
    version = lake.version(table)
    if version is None:
        raise UserError(f"{lake.root}: table {table} is empty; ingest and label first")
    return version


def selected(lake: Lake, spec: SnapshotSpec, versions: Mapping[str, int]) -> list[dict[str, Any]]:
    """The episodes the spec asks for, in the order of the snapshot: train before holdout, each by hash.

    A recording that is there several times (as a copy, through two formats) is taken once, as it came first;
    ``copies`` counts those left out. What it was called when it came in decides its split, for good.

    Every dict has the columns of ``episodes`` it needs and ``split``, ``buffer`` and ``success``. All that
    the spec says of outcomes is said of those its outcome layer gives, where it names one.
    """
    try:
        own, *of_buffers = (condition(said) for said in (spec.where, *(b.where for b in spec.buffers)))
    except WrongQuery as error:
        raise UserError(f"spec {spec.name!r}, where: {error}") from error
    conditions, params = [own], []
    for field, column in _LISTS.items():
        if asked := getattr(spec, field):
            conditions.append(f"{column} IN (SELECT unnest(?))")
            params.append([str(a) for a in asked])
    for blocking in spec.labels.blocking:
        layer, _, check = blocking.partition(":")
        conditions.append(
            "episode_id NOT IN (SELECT episode_id FROM labels "
            "WHERE layer_id = ? AND replaced_ns IS NULL AND coalesce(\"check\", '') GLOB ? AND text = ?)"
        )
        params += [layer, check or "*", Verdict.FAIL.value]
    buffers = " ".join(f"WHEN {where} THEN {i}" for i, where in enumerate(of_buffers))
    asked, episodes = " AND ".join(conditions), "episodes"
    if rule := spec.labels.outcome:
        episodes = (
            "(SELECT e.* REPLACE (l.text AS outcome) FROM episodes e "
            f"LEFT JOIN ({verdicts(rule)}) l ON l.episode_id = e.episode_id) AS episodes"
        )
        # an episode without a label has no outcome: it is kept wherever that may matter, and named below
        asked = f"CASE WHEN outcome IS NULL THEN ({asked}) IS NOT FALSE ELSE {asked} END"
        params = [*params, *params]
    query = f"SELECT {_EPISODE}, CASE {buffers} END AS buffer FROM {episodes} WHERE {asked}"
    try:
        if any(said != "true" for said in (spec.where, *(b.where for b in spec.buffers))):
            admit_condition(query, params)
        rows = lake.sql(query, params, versions=versions).to_pylist()
    except WrongQuery as error:
        raise UserError(f"spec {spec.name!r}, where: {error}") from error
    if rule:
        _require_outcomes(lake, ", ".join(parts(rule)), rows)
    rows = [r for r in rows if r["buffer"] is not None and r["steps"] > 0]
    if not rows:
        raise NoEpisodes(f"spec {spec.name!r}: no episode of the lake fits; loosen its filters")
    rows = _each_once(rows)
    for row in rows:
        share = _hash(spec.split_salt, row["recording"])
        row["order"] = share
        row["split"] = Split.HOLDOUT if share < spec.holdout else Split.TRAIN
        row["buffer"] = spec.buffers[row["buffer"]].name
        row["success"] = succeeded(row)
        if row["success"]:  # nothing is to be expected behind it, whatever ended the recording
            row["end"] = EpisodeEnd.TERMINATED.value
    rows.sort(key=lambda r: (r["split"] == Split.HOLDOUT, r["order"], r["episode_id"]))
    return rows


def _each_once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The earliest episode of each recording; those that say nothing of their content are each their own."""
    first: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["created_ns"], row["episode_id"])):
        kept = first.setdefault(row["content"] or row["episode_id"], row | {"copies": -1})
        kept["copies"] += 1
    return list(first.values())


def require_one_meaning(episodes: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``UserError`` where episodes of one embodiment were read by different files.

    Those that came in before this was noted pass for whatever the others are.
    """
    files: dict[str, Counter[str]] = {}
    for episode in episodes:
        if episode["embodiment_digest"]:
            files.setdefault(episode["embodiment"], Counter())[episode["embodiment_digest"]] += 1
    for name, digests in files.items():
        if len(digests) > 1:
            counts = ", ".join(f"{n} by {digest[:12]}" for digest, n in digests.most_common())
            raise UserError(
                f"embodiment {name}: its episodes were read by {len(digests)} different files ({counts}), so "
                f"their numbers differ in meaning; `lwd logs remap --embodiment {name}` reads all by today's"
            )


def succeeded(episode: Mapping[str, Any]) -> bool:
    """Only what is known to be one is a success, and play is for exploring: it counts as failure.

    In lakes of before an embodiment's file was noted, a demonstration that nobody judged stands as unknown
    and counted as a success; it still does.
    """
    source, outcome = episode["source"], episode["outcome"]
    if outcome == Outcome.UNKNOWN and episode["embodiment_digest"] is None:
        return source == Source.DEMONSTRATION
    return outcome == Outcome.SUCCESS and source != Source.PLAY


def _hash(salt: str, recording: str) -> float:
    digest = hashlib.sha256(f"{salt}:{recording}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _require_outcomes(lake: Lake, layer: str, rows: Sequence[Mapping[str, Any]]) -> None:
    require_labels(lake, layer, rows, {r["episode_id"] for r in rows if r["outcome"] is not None})
    for row in rows:
        if row["outcome"] not in set(Outcome):
            raise UserError(
                f"label layer {layer}: says {row['outcome']!r} of episode {row['episode_id']}; "
                f"a layer of outcomes says {', '.join(Outcome)}"
            )


def require_labels(lake: Lake, layer: str, rows: Sequence[Mapping[str, Any]], found: Collection[str]) -> None:
    """Raise ``UserError`` where the layer says nothing of some of these episodes."""
    missing = [r["episode_id"] for r in rows if r["episode_id"] not in found]
    if missing:
        there = () if found else lake.sql("SELECT DISTINCT layer_id FROM labels")["layer_id"].to_pylist()
        meant = did_you_mean(layer, there) or "; run its labeller over them, or name another layer"
        raise UserError(
            f"label layer {layer}: no label for {len(missing)} of {len(rows)} episodes (first {missing[0]})"
            f"{meant}"
        )
