"""Where the pictures of episodes lie: a few of each for the grid, all of one camera for its film."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import simplejpeg  # pyright: ignore[reportMissingTypeStubs]

from lwd_core.lake.episode import Episode
from lwd_core.lake.frames import extension
from lwd_core.lake.pictures import Pictures
from lwd_core.lake.store import Lake
from lwd_core.storage.location import Location

#: Pictures of a card's film, cards and episodes remembered, and the width of a card's picture.
STRIP, CARDS, FILMS, WIDTH = 8, 20_000, 32, 320
_SMALL = 24_000  # bytes; a picture that is not larger is sent as it is
_MEDIA = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}

Value = TypeVar("Value")
Strip = tuple[Mapping[str, Any], ...]


class Remembered(OrderedDict[str, Value]):
    """The newest values that were asked for, at most so many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most, self._lock = most, threading.Lock()

    def keep(self, key: str, value: Value) -> Value:
        """Remember it, and forget what was put in longest ago."""
        with self._lock:
            self[key] = value
            while len(self) > self._most:
                self.popitem(last=False)
        return value


def strips(lake: Lake, cards: Sequence[Mapping[str, Any]]) -> dict[str, Strip]:
    """Up to `STRIP` frames of the first camera of each episode, evenly spread; none where it has none.

    ``cards``: episode_id, day, site, steps. One query for all of them.
    """
    ids = [card["episode_id"] for card in cards]
    where: list[str] = []
    params: list[Any] = []
    for name in ("day", "site", "episode_id"):
        words = list(dict.fromkeys(card[name] for card in cards))
        where.append(f"s.{name} IN ({', '.join('?' * len(words))})")
        params += words
    rows = lake.sql(
        "WITH seen AS (SELECT s.episode_id, s.step, s.frames[1] AS frame, "
        "(row_number() OVER of - 1) * ? // count(*) OVER (PARTITION BY s.episode_id) AS part "
        f"FROM steps s WHERE len(s.frames) > 0 AND {' AND '.join(where)} "
        "WINDOW of AS (PARTITION BY s.episode_id ORDER BY s.step)) "
        "SELECT episode_id, list(frame ORDER BY step) AS frames FROM "
        "(SELECT episode_id, part, min(step) AS step, arg_min(frame, step) AS frame FROM seen GROUP BY ALL) "
        "GROUP BY episode_id",
        (STRIP, *params),
    ).to_pylist()
    found = {row["episode_id"]: row["frames"] for row in rows}
    return {
        episode: tuple(f for f in found.get(episode, ()) if f["camera"] == found[episode][0]["camera"])
        for episode in ids
    }


@dataclass(frozen=True)
class CameraFilm:
    """The frames of one camera: when, at which step first seen, where their bytes lie. All (N,)."""

    camera: str
    t_ns: npt.NDArray[np.int64]
    step: npt.NDArray[np.int32]
    shards: tuple[str, ...]
    shard: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.t_ns)

    def frame(self, place: int) -> dict[str, Any]:
        """Where the bytes of a frame lie."""
        shard = self.shards[int(self.shard[place])]
        return {"shard": shard, "offset": int(self.offset[place]), "size": int(self.size[place])}


def films(episode: Episode) -> list[CameraFilm]:
    """One of each of the episode's cameras, by name."""
    by_camera: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for frame in episode.frames():
        by_camera.setdefault(frame.camera, []).append((frame.step, frame.at))
    made: list[CameraFilm] = []
    for camera, found in sorted(by_camera.items()):
        shards = {name: i for i, name in enumerate(dict.fromkeys(at["shard"] for _, at in found))}
        columns = (
            np.array([at["t_ns"] for _, at in found], np.int64),
            np.array([step for step, _ in found], np.int32),
            tuple(shards),
            np.array([shards[at["shard"]] for _, at in found], np.int32),
            np.array([at["offset"] for _, at in found], np.int64),
            np.array([at["size"] for _, at in found], np.int32),
        )
        made.append(CameraFilm(camera, *columns))
    return made


def picture(place: Location, frame: Mapping[str, Any], *, small: bool = False) -> tuple[bytes, str]:
    """Bytes and media type of a frame, as the robot sent it; the card where it can't be shown.

    ``small`` pictures are shrunk to a card's width where that saves something.
    """
    pictures = Pictures(place)
    data = pictures.bytes_of(frame)
    if small and len(data) > _SMALL and extension(data) == "jpg":
        try:
            pixels = simplejpeg.decode_jpeg(data, min_width=WIDTH, min_height=1)
        except ValueError:
            data = b""
        else:
            return simplejpeg.encode_jpeg(pixels, quality=80), _MEDIA["jpg"]
    data = pictures.shown(data)
    return data, _MEDIA.get(extension(data), _MEDIA["jpg"])
