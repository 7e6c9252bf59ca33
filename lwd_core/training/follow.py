"""The online part of a run that follows the lake."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.growing import GrowingLoader
from lwd_core.loader.mixed import parts
from lwd_core.settings import Settings
from lwd_core.snapshots.select import NoEpisodes, pin, selected
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import Location, open_location
from lwd_core.training.config import TrainConfig
from lwd_core.training.workers import Share

DRAWS = "draws.jsonl"
_WAIT_S = 1.0


def follow(
    config: TrainConfig,
    settings: Settings,
    offline: Snapshot,
    share: Share,
    *,
    cameras: Sequence[str] = (),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], int] = time.time_ns,
) -> GrowingLoader:
    """The online part of a run's batches: what the lake holds of ``config.follow``, as it grows.

    Chunk, stride, return and discount are the run's, and so are ``cameras``, whose pictures are like those of
    the offline snapshot. Waits for the first episode. Raises UserError for a wrong spec and where several
    workers would have to agree on what they see.
    """
    if share.world > 1:
        raise UserError(
            f"run {config.run}: a run that follows the lake is one process; start it without torchrun"
        )
    spec = SnapshotSpec.parse(dict(config.follow or {}), where=f"run {config.run}, follow")
    like = offline.spec
    spec = spec.model_copy(
        update={
            "chunk": config.chunk or like.chunk,
            "stride": config.stride or like.stride,
            "n_step": config.n_step or like.n_step,
            "gamma": config.gamma or like.gamma,
            "frame_rate": like.frame_rate,
            "cameras": tuple(cameras),
            "frame_age_ms": like.frame_age_ms if spec.frame_age_ms is None else spec.frame_age_ms,
        }
    )
    lake = Lake.open(settings.lake)
    while not _any_episode(lake, spec):
        sleep(_WAIT_S)
    _, online = parts(config.batch, 1 - config.online_share)
    draws = Draws(open_location(f"{settings.checkpoints}/{config.run}"), now)
    return GrowingLoader(
        lake,
        spec,
        online,
        config.seed + 1,
        poll_every=config.poll_every,
        told=draws,
        sizes=offline.frame_sizes,
    )


class Draws:
    """draws.jsonl in the run's folder: from which batch on which versions of the lake were drawn from.

    A line holds ``batch``, ``t_ns`` (when it could be drawn from), ``episodes`` so far and ``versions``.
    """

    def __init__(self, run: Location, now: Callable[[], int]) -> None:
        self._run, self._now = run, now
        self._lines = read_draws(run)

    def __call__(self, batch: int, versions: Mapping[str, int], episodes: int) -> None:
        """What ``GrowingLoader`` tells; a resumed run overwrites what it does again."""
        self._lines = [line for line in self._lines if line["batch"] < batch]
        self._lines.append(
            {"batch": batch, "t_ns": self._now(), "episodes": episodes, "versions": dict(versions)}
        )
        with self._run.write(DRAWS) as file:
            file.write("".join(f"{json.dumps(line)}\n" for line in self._lines).encode())


def read_draws(run: Location) -> list[dict[str, Any]]:
    """The lines of a run's draws.jsonl; none if there is no such file."""
    try:
        return [json.loads(line) for line in run.read(DRAWS).splitlines()]
    except FileNotFoundError:
        return []


def _any_episode(lake: Lake, spec: SnapshotSpec) -> bool:
    try:
        return bool(selected(lake, spec, pin(lake, spec)))
    except NoEpisodes:
        return False
