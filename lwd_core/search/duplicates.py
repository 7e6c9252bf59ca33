"""Episodes that are nearly the same: their states along the way, and pictures that are the same bytes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.features import files
from lwd_core.labels.batches import each_batch
from lwd_core.lake.episode import Episode
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake
from lwd_core.search.frames import seen
from lwd_core.search.nearest import close_pairs

#: States of an episode that are compared, evenly spaced in time, and how near all must be: the root mean
#: square distance in standard deviations of that robot's episodes.
POINTS, NEAR = 16, 0.02
#: Frames that more episodes share than this say nothing of two of them.
SHARED = 8


@dataclass(frozen=True)
class Pair:
    """Two episodes: ``distance`` of their states, None where they are of different robots or far apart, and
    how many ``frames`` are the same bytes."""

    one: str
    other: str
    distance: float | None
    frames: int


def duplicates(
    lake: Lake,
    *,
    near: float = NEAR,
    where: str = "true",
    params: Sequence[Any] = (),
    layer: str | None = None,
) -> list[Pair]:
    """Pairs of episodes that are nearly the same, the nearest first.

    Episodes of a robot type and task are compared with each other, every one with every other. With a
    ``layer`` of features the frames' digests, which are kept there, are too. Raises `UserError` for a
    ``near`` that is no distance, and a condition that means nothing.
    """
    if not 0 <= near < np.inf:
        raise UserError(f"near {near}: no distance; give a number from 0")
    wanted = lake.sql(
        f"SELECT episode_id, day, site, steps FROM episodes WHERE {condition(where)} "
        "ORDER BY day, site, episode_id",
        tuple(params),
    )
    paths: dict[tuple[str, str, int], tuple[list[str], list[np.ndarray]]] = {}

    def look(episodes: list[Episode]) -> None:
        for one in episodes:
            states = np.nan_to_num(one["state"], posinf=0, neginf=0)
            if len(states):
                at = np.linspace(0, len(states) - 1, POINTS).round().astype(int)
                key = (one.facts["embodiment"], one.task, states.shape[1])
                ids, rows = paths.setdefault(key, ([], []))
                ids.append(one.id)
                rows.append(states[at].astype(np.float32))

    for _ in each_batch(lake, wanted, {}, look):
        pass
    apart: dict[tuple[str, str], float] = {}
    for ids, rows in paths.values():
        stacked = np.stack(rows)
        spread = stacked.std(axis=(0, 1))
        scaled = (stacked - stacked.mean(axis=(0, 1))) / np.where(spread > 1e-6, spread, 1)
        alive = max(1, int((spread > 1e-6).sum()))
        vectors = scaled.reshape(len(ids), -1) / np.sqrt(POINTS * alive)
        for i, j, distance in close_pairs(vectors, near):
            one, other = sorted((ids[i], ids[j]))
            apart[one, other] = distance
    same = _same_frames(lake, layer, where, params) if layer else Counter[tuple[str, str]]()
    pairs = [Pair(*ids, apart.get(ids), same[ids]) for ids in {*apart, *same}]
    return sorted(pairs, key=lambda p: (p.distance is None, p.distance or 0.0, -p.frames, p.one, p.other))


def _same_frames(lake: Lake, layer: str, where: str, params: Sequence[Any]) -> Counter[tuple[str, str]]:
    """How many frames pairs of episodes share."""
    seen_in: dict[bytes, set[str]] = {}
    for part in seen(lake, layer, where=where, params=params):
        for digest, episode in zip(part.digests, part.episodes, strict=True):
            seen_in.setdefault(digest[:16], set()).add(episode)
    found = Counter[tuple[str, str]]()
    for episodes in seen_in.values():
        if 2 <= len(episodes) <= SHARED:
            found.update(combinations(sorted(episodes), 2))
    return found


def layer_or_none(lake: Lake, layer: str) -> str | None:
    """The layer named, or the first there is; None where there is none."""
    return layer or next(iter(files.layers(lake.place)), None)
