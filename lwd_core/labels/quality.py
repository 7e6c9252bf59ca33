"""Quality as a layer: every check's verdict on every episode."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial import KDTree

from lwd_core.labels.checks import CHECKS, EpisodeColumns, Finding, Limits
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LabelKind, Verdict

#: Episodes read at a time: memory is bounded by this, not by the lake.
EPISODES_AT_ONCE = 256
_ACTION = re.compile(r"(^|[._/])act(ion)?s?(_\d+)?($|[._/])")
_STEPS = ("episode_id", "step", "t_ns", "state", "action", "valid", "gap")


@dataclass(frozen=True)
class Quality:
    """All checks of ``checks.py`` and the search for near-duplicates.

    Rows: ``check`` its name, ``text`` the verdict, ``value`` the number it rests on. A snapshot
    names the checks that block.
    """

    embodiments: Mapping[str, Embodiment]
    limits: Limits = field(default_factory=Limits)
    layer_id: str = "quality@1"
    kind: LabelKind = LabelKind.QUALITY

    def label(self, lake: Lake, episodes: pa.Table) -> pa.Table:
        """One row an episode and check."""
        rows: list[dict[str, object]] = []
        duplicates = near_duplicates(lake, episodes)
        ids = episodes.column("episode_id").to_pylist()
        names = dict(zip(ids, episodes.column("embodiment").to_pylist(), strict=True))
        rates = dict(zip(ids, episodes.column("control_hz").to_pylist(), strict=True))
        for episode_id, columns in _columns(lake, ids, names, rates, self.embodiments):
            findings = {name: check(columns, self.limits) for name, check in CHECKS.items()}
            findings["risk.near_duplicate"] = duplicates[episode_id]
            rows += [
                {
                    "episode_id": episode_id,
                    "check": name,
                    "value": finding.value,
                    "text": str(finding.verdict),
                    "detail": finding.detail or None,
                }
                for name, finding in findings.items()
            ]
        return pa.Table.from_pylist(rows)


def _columns(
    lake: Lake,
    ids: list[str],
    names: Mapping[str, str],
    rates: Mapping[str, float],
    embodiments: Mapping[str, Embodiment],
) -> Iterator[tuple[str, EpisodeColumns]]:
    for start in range(0, len(ids), EPISODES_AT_ONCE):
        batch = ids[start : start + EPISODES_AT_ONCE]
        marks = ", ".join("?" * len(batch))
        cameras = _frame_counts(lake, batch, marks)
        steps = lake.read(
            "steps", columns=_STEPS, where=f"episode_id IN ({marks}) ORDER BY episode_id, step", params=batch
        )
        episode = steps.column("episode_id").combine_chunks()
        runs = pc.run_end_encode(episode)
        first = 0
        for episode_id, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            rows = steps.slice(first, end - first)
            yield (
                episode_id,
                _episode(
                    rows, embodiments.get(names[episode_id]), rates[episode_id], cameras.get(episode_id)
                ),
            )
            first = end


def _episode(
    rows: pa.Table, embodiment: Embodiment | None, rate: float, frames: dict[str, int] | None
) -> EpisodeColumns:
    action = _vectors(rows.filter(pc.greater(pc.list_value_length(rows.column("action")), 0)), "action")
    state = _vectors(rows, "state")
    dims = embodiment.action_dims if embodiment else ()
    limits = dims if len(dims) == action.shape[1] else (None,) * action.shape[1]
    dims = embodiment.state_dims if embodiment else ()
    bounds = dims if len(dims) == state.shape[1] else (None,) * state.shape[1]
    return EpisodeColumns(
        t_ns=rows.column("t_ns").to_numpy(),
        state=state,
        action=action,
        valid=rows.column("valid").to_numpy(),
        gap=rows.column("gap").to_numpy(),
        control_hz=rate,
        action_low=np.array([_limit(dim.low if dim else None) for dim in limits]),
        action_high=np.array([_limit(dim.high if dim else None) for dim in limits]),
        state_unit=tuple(dim.unit if dim else "" for dim in bounds),
        frames=frames,
        measured=measured if len(measured := _measured(embodiment)) == state.shape[1] else None,
        action_unit=tuple(dim.unit if dim else "" for dim in limits),
        state_low=np.array([_limit(dim.low if dim else None) for dim in bounds]),
        state_high=np.array([_limit(dim.high if dim else None) for dim in bounds]),
    )


def _measured(embodiment: Embodiment | None) -> np.ndarray:
    """(S,) whether a dim of the state is measured: an observed last action is a command, as its name says."""
    dims = [f"{f.topic}/{d.name}" for f in embodiment.state for d in f.dims] if embodiment else []
    return np.array([not _ACTION.search(name) for name in dims], dtype=bool)


def near_duplicates(
    lake: Lake, episodes: pa.Table, *, points: int = 8, distance: float = 1e-3
) -> dict[str, Finding]:
    """Search each episode's path among all episodes of its task and embodiment.

    A path is the state at ``points`` moments evenly spread over the episode; two paths are near
    when no state number differs by more than ``distance`` of that number's spread in the lake.
    """
    findings = {
        episode_id: Finding(Verdict.UNKNOWN, None, "no states to compare")
        for episode_id in episodes.column("episode_id").to_pylist()
    }
    kinds = episodes.group_by(["task", "embodiment"]).aggregate([]).to_pylist()
    for kind in kinds:
        paths = lake.sql(
            "SELECT e.episode_id, list(s.state ORDER BY s.step) AS path FROM episodes e JOIN steps s "
            "USING (day, site, episode_id) WHERE e.task = ? AND e.embodiment = ? AND e.steps >= ? "
            "AND s.step IN (SELECT unnest(range(?)) * (e.steps - 1) // (? - 1)) "
            "GROUP BY e.episode_id ORDER BY e.episode_id",
            (kind["task"], kind["embodiment"], points, points, points),
        )
        if not paths.num_rows:
            continue
        array = np.array([np.concatenate(path) for path in paths.column("path").to_pylist()])
        told = np.isfinite(array).all(axis=1)  # a path with a hole can't be compared
        ids = paths.column("episode_id").filter(pa.array(told)).to_pylist()
        array = array[told]
        if not ids:
            continue
        spread = np.ptp(array, axis=0)
        scaled = array / np.where(spread > 0, spread, 1.0)
        if len(ids) == 1:
            findings[ids[0]] = Finding(Verdict.PASS)
            continue
        near, which = map(np.asarray, KDTree(scaled).query(scaled, k=2, p=np.inf))
        # Of two equal paths the tree may list either first, so oneself need not be the first.
        self_first = which[:, 0] == np.arange(len(ids))
        gaps = np.where(self_first, near[:, 1], near[:, 0])
        others = np.where(self_first, which[:, 1], which[:, 0])
        for episode_id, gap, other in zip(ids, gaps.tolist(), others.tolist(), strict=True):
            if episode_id not in findings:
                continue
            same = gap <= distance
            detail = f"takes nearly the same path as episode {ids[other]}" if same else ""
            findings[episode_id] = Finding(Verdict.FAIL if same else Verdict.PASS, gap, detail)
    return findings


def _frame_counts(lake: Lake, ids: list[str], marks: str) -> dict[str, dict[str, int]]:
    rows = lake.sql(
        'SELECT episode_id, f.camera AS camera, count(DISTINCT (f.shard, f."offset")) AS frames '
        f"FROM (SELECT episode_id, unnest(frames) AS f FROM steps WHERE episode_id IN ({marks})) "
        "GROUP BY ALL",
        ids,
    ).to_pylist()
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        counts.setdefault(row["episode_id"], {})[row["camera"]] = row["frames"]
    return counts


def _vectors(rows: pa.Table, column: str) -> np.ndarray:
    """A list column of equal widths as (rows, width) float32."""
    values = rows.column(column).combine_chunks()
    if not len(values):
        return np.zeros((0, 0), np.float32)
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)


def _limit(value: float | None) -> float:
    return float("nan") if value is None else value
