"""Features of frames with the moments that saw them, a frame shard at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lwd_core.features import files
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake

#: Frames that say what is usual, where features are compared.
SAMPLE = 4096

_SEEN = """
SELECT f.shard AS shard, f."offset" AS place, f.camera AS camera, episode_id, min(step) AS step
FROM (SELECT episode_id, step, unnest(frames) AS f FROM steps WHERE day = ? AND site = ?
      AND episode_id IN (SELECT episode_id FROM episodes WHERE {where}))
WHERE {camera} GROUP BY ALL ORDER BY ALL"""


@dataclass(frozen=True)
class ShardFrames:
    """Frames of one shard that have features: vectors (N, F) f32, and of each episode, first step and
    SHA-256."""

    vectors: np.ndarray
    episodes: list[str]
    steps: np.ndarray
    digests: list[bytes]


def seen(
    lake: Lake, layer: str, *, camera: str = "", where: str = "true", params: Sequence[Any] = ()
) -> Iterator[ShardFrames]:
    """Frames of the episodes that fit ``where``, shard by shard; those without features are passed over."""
    cells = lake.sql(
        f"SELECT DISTINCT day, site FROM episodes WHERE {condition(where)} ORDER BY ALL", tuple(params)
    )
    of = "f.camera = ?" if camera else "true"
    for cell in cells.to_pylist():
        rows = lake.sql(
            _SEEN.format(where=condition(where), camera=of),
            (cell["day"], cell["site"], *params, *([camera] if camera else [])),
        )
        shards = rows["shard"].to_numpy()
        edges: list[int] = (
            np.flatnonzero(np.append(True, shards[1:] != shards[:-1])).tolist() if len(shards) else []
        )
        for a, b in zip(edges, [*edges[1:], len(shards)], strict=True):
            found = _of_shard(lake, layer, rows.slice(a, b - a))
            if found is not None:
                yield found


def usual(lake: Lake, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F,) and one over the deviation (F,) of features, of some of the layer's frames.

    What all pictures of a robot share says nothing of how near two are.
    """
    some = files.sample(lake.place, layer, SAMPLE)
    if not len(some):
        some = np.zeros((1, 1), np.float32)
    spread = some.std(0)
    return some.mean(0), np.where(spread > 1e-4, 1 / np.maximum(spread, 1e-4), 0).astype(np.float32)


def _of_shard(lake: Lake, layer: str, rows: pa.Table) -> ShardFrames | None:
    path = files.path_of(layer, rows["shard"][0].as_py())
    if not lake.place.exists(path):
        return None
    places: npt.NDArray[np.int64] = rows["place"].to_numpy()
    vectors: list[np.ndarray] = []
    at: list[np.ndarray] = []
    digests: list[bytes] = []
    for table in files.tables(lake.place, path, ["offset", "frame", "features"]):
        values, there = files.vectors(table["features"])
        offsets: npt.NDArray[np.int64] = table["offset"].to_numpy()[there]
        # a frame may have been seen by several episodes of its log
        first, last = np.searchsorted(places, offsets), np.searchsorted(places, offsets, side="right")
        own = np.repeat(np.arange(len(offsets)), last - first)
        vectors.append(values[own])
        at.append(np.concatenate([np.zeros(0, np.int64), *map(np.arange, first, last)]).astype(np.int64))
        frames = table["frame"].to_pylist()
        digests += [frames[i] for i in np.flatnonzero(there)[own].tolist()]
    if not digests:
        return None
    index = np.concatenate(at)
    episodes = rows["episode_id"].to_pylist()
    return ShardFrames(
        np.concatenate(vectors), [episodes[i] for i in index], rows["step"].to_numpy()[index], digests
    )
