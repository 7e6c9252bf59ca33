"""More like this moment: by what a camera showed, or by a window of states."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lwd_core.errors import UserError
from lwd_core.features import files
from lwd_core.labels.batches import each_batch
from lwd_core.lake.episode import Episode
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake
from lwd_core.search.frames import seen, usual
from lwd_core.search.nearest import Best, Hit, unit

#: Steps of a window of states, the moment in its middle.
WINDOW = 9


def like_frame(
    lake: Lake,
    episode: Episode,
    step: int,
    *,
    camera: str = "",
    layer: str = "",
    where: str = "true",
    params: Sequence[Any] = (),
    limit: int = 20,
) -> list[Hit]:
    """Moments whose picture is most like the one that was last seen at a step, the best of each episode.

    ``score`` is the cosine of features, each less what is usual and by its deviation. The episode itself is
    left out. Raises `UserError` for a step, camera or layer there isn't, and a frame without features.
    """
    layer = files.named(lake.place, layer)
    cameras = episode.cameras
    if not cameras:
        raise UserError(f"episode {episode.id}: it has no camera frames; search by --by states")
    camera = camera or cameras[0]
    episode.frames(camera)  # refuses a camera it hasn't
    before = [frame.step for frame in episode.frames(camera) if frame.step <= _checked(episode, step)]
    at = max(before, default=episode.frames(camera)[0].step)
    mean, scale = usual(lake, layer)
    asked = None
    for part in seen(lake, layer, camera=camera, where="episode_id = ?", params=(episode.id,)):
        rows = np.flatnonzero(part.steps == at)
        if len(rows):
            asked = unit((part.vectors[rows[:1]] - mean) * scale)[0]
    if asked is None:
        raise UserError(
            f"episode {episode.id}, step {at}: the frame of {camera} has no features of {layer}; "
            "`lwd features build` makes them"
        )
    best = Best(limit)
    for part in seen(
        lake,
        layer,
        camera=camera,
        where=f"{condition(where)} AND episode_id <> ?",
        params=(*params, episode.id),
    ):
        scores = unit((part.vectors - mean) * scale) @ asked

        def hit(i: int, part: Any = part, scores: Any = scores) -> Hit:
            return Hit(part.episodes[i], float(scores[i]), int(part.steps[i]), f"picture of {camera}")

        best.offer(part.episodes, scores, hit)
    return best.hits()


def like_states(
    lake: Lake,
    episode: Episode,
    step: int,
    *,
    where: str = "true",
    params: Sequence[Any] = (),
    limit: int = 20,
) -> list[Hit]:
    """Moments whose states around them are most like those around a step, the best of each episode.

    Among episodes of the same robot type. ``score`` is 1 / (1 + d), d the root mean square distance over
    `WINDOW` steps in standard deviations of that episode and those compared first. Raises `UserError`.
    """
    own = _windows(episode["state"])
    asked = own[_checked(episode, step)]
    wanted = lake.sql(
        "SELECT episode_id, day, site, steps FROM episodes WHERE embodiment = ? AND episode_id <> ? "
        f"AND {condition(where)} ORDER BY day, site, episode_id",
        (episode.facts["embodiment"], episode.id, *params),
    )
    best = Best(limit)
    scale: np.ndarray | None = None

    def look(episodes: list[Episode]) -> None:
        nonlocal scale
        states = [(one, one["state"]) for one in episodes]
        states = [(one, rows) for one, rows in states if rows.shape[1] == asked.shape[1]]
        if scale is None:
            some = np.concatenate([episode["state"], *(rows for _, rows in states)])
            spread = np.nanstd(np.where(np.isfinite(some), some, np.nan), axis=0)
            scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0)
        for one, rows in states:
            apart = (_windows(rows) - asked) * scale
            scores = 1 / (1 + np.sqrt(np.nanmean(np.square(apart), axis=(1, 2))))
            scores = np.nan_to_num(scores, nan=0.0).astype(np.float32)
            i = int(scores.argmax())
            best.offer([one.id], scores[i : i + 1], lambda _, one=one, i=i, s=scores: Hit(
                one.id, float(s[i]), i, "states"))  # fmt: skip

    for _ in each_batch(lake, wanted, {}, look):
        pass
    return best.hits()


def _windows(states: np.ndarray) -> np.ndarray:
    """(R, WINDOW, S): the states around each row; the first and the last go on beyond the ends."""
    around = np.arange(WINDOW) - WINDOW // 2
    at = np.clip(np.arange(len(states))[:, None] + around, 0, len(states) - 1)
    return states[at]


def _checked(episode: Episode, step: int) -> int:
    rows = len(episode["state"])
    if not 0 <= step < rows:
        raise UserError(f"episode {episode.id}: step {step} is none of its {rows}; the first is 0")
    return step
