"""The lake's side of a snapshot: which episodes a spec means, and their steps as arrays.

Everything is read at pinned table versions, so the same spec finds the same rows later.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError
from lwd_core.lake.query import WrongQuery
from lwd_core.lake.read_only import admit_condition
from lwd_core.lake.same_recording import FOR_GOOD
from lwd_core.lake.store import Lake
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.vocabulary import Actor, EpisodeEnd, Outcome, Source, Split, Verdict

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
#: The episodes with the outcome a layer tells; null where it tells none, or two.
_JUDGED = (
    "(SELECT e.* REPLACE (l.text AS outcome) FROM episodes e LEFT JOIN "
    "(SELECT episode_id, min(text) AS text FROM labels WHERE layer_id = ? "
    "GROUP BY episode_id HAVING count(DISTINCT text) = 1) l ON l.episode_id = e.episode_id)"
)


class NoEpisodes(UserError):
    """The lake holds nothing that a spec asks for, or not yet."""


@dataclass(frozen=True)
class EpisodeRows:
    """Rows of one episode as they stand in the lake.

    state (R, S), action (T, D), reward (T,) f32; human (T,), valid (R,), gap (R,) bool; t_ns (R,) i64;
    frames: None, or R lists of frame structs.
    """

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    human: np.ndarray
    valid: np.ndarray
    gap: np.ndarray
    t_ns: np.ndarray
    frames: list[list[dict] | None] | None


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
    conditions, params = [f"({spec.where})"], []
    for field, column in _LISTS.items():
        if asked := getattr(spec, field):
            conditions.append(f"{column} IN (SELECT unnest(?))")
            params.append([str(a) for a in asked])
    for blocking in spec.labels.blocking:
        layer, _, check = blocking.partition(":")
        conditions.append(
            "episode_id NOT IN (SELECT episode_id FROM labels "
            "WHERE layer_id = ? AND coalesce(\"check\", '') GLOB ? AND text = ?)"
        )
        params += [layer, check or "*", Verdict.FAIL.value]
    buffers = " ".join(f"WHEN ({b.where}) THEN {i}" for i, b in enumerate(spec.buffers))
    condition, episodes = " AND ".join(conditions), "episodes"
    if layer := spec.labels.outcome:
        episodes = f"{_JUDGED} AS episodes"
        # an episode without a label has no outcome: it is kept wherever that may matter, and named below
        condition = f"CASE WHEN outcome IS NULL THEN ({condition}) IS NOT FALSE ELSE {condition} END"
        params = [layer, *params, *params]
    query = f"SELECT {_EPISODE}, CASE {buffers} END AS buffer FROM {episodes} WHERE {condition}"
    try:
        admit_condition(query, params)
    except UserError as error:
        raise UserError(f"spec {spec.name!r}, where: {error}") from error
    try:
        rows = lake.sql(query, params, versions=versions).to_pylist()
    except WrongQuery as error:
        raise UserError(f"spec {spec.name!r}, where: {error}") from error
    if layer:
        _require_outcomes(layer, rows)
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


def _require_outcomes(layer: str, rows: Sequence[Mapping[str, Any]]) -> None:
    _require_labels(layer, rows, {r["episode_id"]: 0 for r in rows if r["outcome"] is not None})
    for row in rows:
        if row["outcome"] not in set(Outcome):
            raise UserError(
                f"label layer {layer}: says {row['outcome']!r} of episode {row['episode_id']}; "
                f"a layer of outcomes says {', '.join(Outcome)}"
            )


def _require_labels(layer: str, rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    missing = [r["episode_id"] for r in rows if r["episode_id"] not in found]
    if missing:
        raise UserError(
            f"label layer {layer}: no label for {len(missing)} of {len(rows)} episodes (first {missing[0]}); "
            "run its labeller over them, or name another layer"
        )


def read_rows(
    lake: Lake, spec: SnapshotSpec, episodes: Sequence[Mapping[str, Any]], versions: Mapping[str, int]
) -> Iterator[EpisodeRows]:
    """The rows of these episodes, one by one in the order given; all of them are held in memory once."""
    columns = ["episode_id", "step", "t_ns", "state", "action", "actor", "valid", "gap"]
    if spec.cameras:
        columns.append("frames")
    ids = [e["episode_id"] for e in episodes]
    table = lake.read("steps", columns=columns, where="episode_id IN (SELECT unnest(?))", params=[ids],
                      versions=versions).combine_chunks()  # fmt: skip
    place = pc.index_in(table["episode_id"], value_set=pa.array(ids)).to_numpy()
    step = table["step"].to_numpy()
    order = np.lexsort((step, place))
    bounds = np.searchsorted(place[order], np.arange(len(ids) + 1))
    state, action = _Lists(table["state"]), _Lists(table["action"])
    human = _bools(pc.equal(table["actor"], Actor.HUMAN))
    valid, gap, t_ns = _bools(table["valid"]), _bools(table["gap"]), table["t_ns"].to_numpy()
    frames = table["frames"] if spec.cameras else None
    rewards = _rewards(lake, spec, episodes, versions)
    for i, episode in enumerate(episodes):
        rows = order[bounds[i] : bounds[i + 1]]
        steps = episode["steps"]
        if not np.array_equal(step[rows], np.arange(len(rows))) or len(rows) - steps not in (0, 1):
            raise UserError(
                f"episode {episode['episode_id']}: {len(rows)} rows for {steps} steps; ingest it again"
            )
        yield EpisodeRows(
            state=state.matrix(rows, episode, "state"),
            action=action.matrix(rows[:steps], episode, "action"),
            reward=rewards[i],
            human=human[rows[:steps]],
            valid=valid[rows],
            gap=gap[rows],
            t_ns=t_ns[rows],
            frames=frames.take(pa.array(rows)).to_pylist() if frames is not None else None,
        )


def _rewards(
    lake: Lake, spec: SnapshotSpec, episodes: Sequence[Mapping[str, Any]], versions: Mapping[str, int]
) -> list[np.ndarray]:
    rewards = [np.zeros(e["steps"], np.float32) for e in episodes]
    layer = spec.labels.reward
    if layer is None:
        for reward, episode in zip(rewards, episodes, strict=True):
            reward[-1] = episode["success"]
        return rewards
    ids = {e["episode_id"]: i for i, e in enumerate(episodes)}
    found = lake.read("labels", columns=["episode_id", "step", "value"],
                      where="layer_id = ? AND episode_id IN (SELECT unnest(?))", params=[layer, list(ids)],
                      versions=versions).to_pydict()  # fmt: skip
    _require_labels(layer, episodes, dict.fromkeys(found["episode_id"]))
    for episode_id, step, value in zip(found["episode_id"], found["step"], found["value"], strict=True):
        reward = rewards[ids[episode_id]]
        at = len(reward) - 1 if step is None else step
        if not 0 <= at < len(reward) or value is None or not math.isfinite(value):
            raise UserError(
                f"label layer {layer}: episode {episode_id} has step {step}, value {value}; "
                f"its actions are 0 to {len(reward) - 1}"
            )
        reward[at] = value
    return rewards


class _Lists:
    """A list column as flat values and offsets."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        lists = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
        self._offsets = lists.offsets.to_numpy()
        self._values = lists.values.to_numpy(zero_copy_only=False)

    def matrix(self, rows: np.ndarray, episode: Mapping[str, Any], column: str) -> np.ndarray:
        """The lists at ``rows`` (n,) as (n, width); UserError where their lengths differ."""
        begin, end = self._offsets[rows], self._offsets[rows + 1]
        width = int(end[0] - begin[0])
        if not np.any(end - begin):
            raise UserError(
                f"episode {episode['episode_id']}: it has no {column}; name its topic under `{column}` "
                f"in the embodiment file {episode['embodiment']} and `lwd logs remap`"
            )
        if width == 0 or np.any(end - begin != width):
            raise UserError(
                f"episode {episode['episode_id']}: {column} is empty or changes its width; ingest it again"
            )
        if rows[-1] - rows[0] == len(rows) - 1 and np.all(np.diff(rows) == 1):
            return self._values[begin[0] : end[-1]].reshape(len(rows), width)
        return self._values[begin[:, None] + np.arange(width)]


def _bools(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy().astype(bool)
