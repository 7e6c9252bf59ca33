"""What a model sees of an episode: its states, and what cameras showed by a few numbers each."""

from typing import Any, Protocol

import numpy as np

from lwd_core.judges.networks import Array
from lwd_core.lake.episode import Episode

#: Steps of an episode that are learned from, evenly spaced.
STEPS = 64


class Looks(Protocol):
    """Makes a few numbers of what cameras showed."""

    def __call__(self, episode: Episode) -> Array:
        """(R, P) of an episode of R rows; what was shown last counts until the next."""
        ...

    def about(self) -> dict[str, Any]:
        """What it is, for a person and to make it again."""
        ...

    def arrays(self) -> dict[str, Array]:
        """What it consists of, by name, so that a model keeps it."""
        ...


def observations(episode: Episode, sight: Looks | None) -> Array:
    """(R, S + P): states as they were last known, and what ``sight`` makes of the pictures."""
    state = filled(episode["state"].astype(float))
    return state if sight is None else np.concatenate([state, filled(sight(episode))], axis=1)


def filled(rows: Array) -> Array:
    """With the last finite number where one is missing, before the first with the first, else 0."""
    finite = np.isfinite(rows)
    if finite.all():
        return rows
    at = np.maximum.accumulate(np.where(finite, np.arange(len(rows))[:, None], 0), axis=0)
    kept = np.take_along_axis(rows, at, axis=0)
    first = np.take_along_axis(rows, finite.argmax(0)[None], axis=0)
    return np.nan_to_num(np.where(np.isfinite(kept), kept, first), nan=0.0, posinf=0.0, neginf=0.0)


def whole(seen: Array) -> Array:
    """An episode (R, O) as (6 O,): where it began and ended, by how much it changed, its range and mean."""
    first, last = seen[0], seen[-1]
    return np.concatenate([first, last, last - first, seen.min(0), seen.max(0), seen.mean(0)])


def along(seen: Array) -> Array:
    """Each step of an episode (R, O) as (R, 2 O): where it is, and how far from where it began."""
    return np.concatenate([seen, seen - seen[0]], axis=1)


def some(rows: int) -> np.ndarray:
    """Up to `STEPS` rows of an episode, the first and the last among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, STEPS)).round().astype(int))
