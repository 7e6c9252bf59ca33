"""Quality as a layer: every check's verdict on every episode."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from scipy.spatial import KDTree

from lwd_core.labels.batches import each_batch
from lwd_core.labels.checks import CHECKS, EpisodeSignals, Limits
from lwd_core.labels.labeller import Labelled
from lwd_core.labels.said import Finding, LabelRows
from lwd_core.lake.episode import Episode
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Dim, Embodiment
from storage_schemas.vocabulary import LabelKind, Verdict

_ACTION = re.compile(r"(^|[._/])act(ion)?s?(_\d+)?($|[._/])")


@dataclass(frozen=True)
class Quality:
    """All checks of ``checks.py`` and the search for near-duplicates.

    Rows: ``check`` its name, ``text`` the verdict, ``value`` the number it rests on. A snapshot
    names the checks that block.
    """

    limits: Limits = field(default_factory=Limits)
    layer_id: str = "quality@1"
    kind: LabelKind = LabelKind.QUALITY
    description: str = "Defects and risks of each recording, one verdict a check."
    source_digest: None = None  # versioned by hand

    def label(
        self, lake: Lake, episodes: pa.Table, embodiments: Mapping[str, Embodiment]
    ) -> Iterator[Labelled]:
        """One row an episode and check."""
        duplicates = near_duplicates(lake, episodes)

        def judge(batch: list[Episode]) -> Labelled:
            rows = LabelRows(self.kind, "quality")
            cameras = _frame_counts(lake, [episode.id for episode in batch])
            for episode in batch:
                columns = episode_signals(episode, cameras.get(episode.id))
                findings = {name: check(columns, self.limits) for name, check in CHECKS.items()}
                rows.add(episode.id, len(episode), findings | {"risk.near_duplicate": duplicates[episode.id]})
            return Labelled(rows.table())

        return each_batch(lake, episodes, embodiments, judge)


QUALITY = Quality()


def episode_signals(episode: Episode, frames: dict[str, int] | None) -> EpisodeSignals:
    """What the checks read of an episode; limits only where its embodiment fits its columns."""
    state, action, embodiment = episode["state"], episode["action"], episode.embodiment
    limits = _fitting(embodiment.action_dims if embodiment else (), action.shape[1])
    bounds = _fitting(embodiment.state_dims if embodiment else (), state.shape[1])
    return EpisodeSignals(
        t_ns=episode["t_ns"],
        state=state,
        action=action,
        valid=episode["valid"],
        gap=episode["gap"],
        control_hz=episode.fps,
        action_low=np.array([_limit(dim.low if dim else None) for dim in limits]),
        action_high=np.array([_limit(dim.high if dim else None) for dim in limits]),
        state_unit=tuple(dim.unit if dim else "" for dim in bounds),
        frames=frames,
        measured=measured if len(measured := _measured(embodiment)) == state.shape[1] else None,
        action_unit=tuple(dim.unit if dim else "" for dim in limits),
        state_low=np.array([_limit(dim.low if dim else None) for dim in bounds]),
        state_high=np.array([_limit(dim.high if dim else None) for dim in bounds]),
    )


def _fitting(dims: Sequence[Dim], width: int) -> Sequence[Dim | None]:
    return dims if len(dims) == width else (None,) * width


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


def _frame_counts(lake: Lake, ids: list[str]) -> dict[str, dict[str, int]]:
    marks = ", ".join("?" * len(ids))
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


def _limit(value: float | None) -> float:
    return float("nan") if value is None else value
