"""Features of the lake's frames: of those that have none yet, one frame shard after the other."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lwd_core.features import files
from lwd_core.features.extractor import FeatureExtractor
from lwd_core.lake.query import condition
from lwd_core.lake.store import Lake
from lwd_core.loader.jpeg import decode_frame
from storage_schemas.features import FOLDER, feature_schema

#: Frames decoded and looked at before they are written: equal ones among them are looked at once.
AT_ONCE = 256
_SHOWN = (
    'SELECT f.shard AS shard, f."offset" AS place, any_value(f.size) AS size FROM (SELECT unnest(frames) '
    "AS f FROM steps WHERE day = ? AND site = ? AND episode_id IN (SELECT episode_id FROM episodes "
    "WHERE {where})) WHERE {camera} GROUP BY ALL ORDER BY ALL"
)


@dataclass(frozen=True)
class FeatureRun:
    """What came of a build: frames looked at now, those that had features before, and what has none, a line
    each."""

    layer: str
    frames: int
    before: int
    faults: tuple[str, ...]


def build_features(
    lake: Lake,
    extractor: FeatureExtractor,
    *,
    where: str = "true",
    params: Sequence[Any] = (),
    cameras: Sequence[str] = (),
    workers: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> FeatureRun:
    """Make the features of all frames of the episodes that fit ``where`` (SQL over ``episodes``).

    ``cameras``: of these only. What is there already is left alone, so that it can be cut off and run again
    at any time. A frame that is no picture gets a row that says so, and is looked at again; one beyond the
    end of a shard that is cut off gets none. ``progress`` hears of frames as they are done. Memory is bounded
    by `AT_ONCE` frames a worker.
    """
    made = before = 0
    faults: list[str] = []
    with ThreadPoolExecutor(workers, "features") as threads:
        for shards in _shown(lake, where, params, cameras):
            jobs = [
                threads.submit(make, lake, extractor, shard, places, sizes, progress)
                for shard, places, sizes in shards
            ]
            for job in jobs:
                new, old, wrong = job.result()
                made, before = made + new, before + old
                faults += wrong
    return FeatureRun(extractor.layer.name, made, before, tuple(faults))


def cameras_shown(lake: Lake, where: str = "true") -> list[str]:
    """Names of the cameras that episodes show frames of, sorted."""
    return lake.sql(
        "SELECT DISTINCT f.camera AS camera FROM (SELECT unnest(frames) AS f FROM steps WHERE episode_id IN "
        f"(SELECT episode_id FROM episodes WHERE {condition(where)})) ORDER BY ALL"
    )["camera"].to_pylist()


def sweep(lake: Lake, layer: str) -> int:
    """Delete a layer's files whose frame shards are gone, as of logs read again; how many."""
    gone = 0
    for path in files.files(lake.place, layer):
        shard = f"frames/{path.removeprefix(f'{FOLDER}/{layer}/').removesuffix('.parquet')}.tar"
        if not lake.place.exists(shard):
            lake.place.remove(path)
            gone += 1
    return gone


_Frames = tuple[str, np.ndarray, np.ndarray]


def _shown(lake: Lake, where: str, params: Sequence[Any], cameras: Sequence[str]) -> Iterator[list[_Frames]]:
    """Frames as (shard, offsets, sizes), for one day and site at a time."""
    cells = lake.sql(f"SELECT DISTINCT day, site FROM episodes WHERE {condition(where)} ORDER BY ALL", params)
    camera = f"f.camera IN ({', '.join('?' * len(cameras))})" if cameras else "true"
    for cell in cells.to_pylist():
        found = lake.sql(
            _SHOWN.format(where=condition(where), camera=camera),
            (cell["day"], cell["site"], *params, *cameras),
        )
        names, places, sizes = (found[name].to_numpy() for name in ("shard", "place", "size"))
        if not len(names):
            continue
        begins = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        yield [
            (str(names[a]), places[a:b], sizes[a:b])
            for a, b in zip(begins, [*begins[1:], len(names)], strict=True)
        ]


def make(
    lake: Lake,
    extractor: FeatureExtractor,
    shard: str,
    places: np.ndarray,
    sizes: np.ndarray,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[int, int, list[str]]:
    """Make features of frames of one shard, by their offsets and sizes (n,): how many were made, how many had
    some before, and what has none."""
    place, layer = lake.place, extractor.layer
    there = files.known(place, layer, shard)
    new = ~np.isin(places, there)
    before = len(places) - int(new.sum())
    progress(before)
    if not new.any() or lake.tombstones.buried([shard]):
        return 0, before, []
    faults: list[str] = []
    looked: list[int] = []
    schema = feature_schema(extractor.width, extractor.facts)

    def rows() -> Iterator[pa.Table]:
        if place.exists(layer.path(shard)):
            for table in files.tables(place, layer.path(shard)):
                yield table.filter(pa.array(~np.isin(table["offset"].to_numpy(), places[new])))
        with place.fs.open(place.path(shard), "rb") as stream:
            stream.seek(0, os.SEEK_END)
            end = stream.tell()
            whole = new & (places + sizes <= end)
            if cut := int(new.sum() - whole.sum()):
                faults.append(
                    f"{place.path(shard)}: cut off at byte {end}, before the end of {cut} frames; restore it "
                    "from a backup"
                )
            for first in range(0, int(whole.sum()), AT_ONCE):
                some = slice(first, first + AT_ONCE)
                table = _looked(extractor, stream, places[whole][some], sizes[whole][some], schema)
                looked.append(table.num_rows)
                faults.extend(
                    f"{place.path(shard)}: no features of the frame at byte {offset}: {fault}"
                    for offset, fault in zip(
                        *(table[n].to_pylist() for n in ("offset", "fault")), strict=True
                    )
                    if fault
                )
                progress(table.num_rows)
                yield table

    try:
        files.write(place, layer.path(shard), schema, rows())
    except FileNotFoundError:
        return 0, before, [f"{place.path(shard)}: this frame shard is missing; restore it from a backup"]
    if lake.tombstones.buried([shard]):  # erased meanwhile: whoever erases looked before or after this came
        place.remove(layer.path(shard))
    return sum(looked), before, faults


def _looked(
    extractor: FeatureExtractor, stream: Any, places: np.ndarray, sizes: np.ndarray, schema: pa.Schema
) -> pa.Table:
    """Rows of these frames of an open shard."""
    frames: list[bytes] = []
    for offset, size in zip(places.tolist(), sizes.tolist(), strict=True):
        stream.seek(offset)
        frames.append(stream.read(size))
    digests = [hashlib.sha256(data).digest() for data in frames]
    first = {digest: i for i, digest in reversed(list(enumerate(digests)))}
    own = sorted(first.values())
    pictures = np.empty((len(own), *extractor.size, 3), np.uint8)
    wrong: dict[bytes, str] = {}
    for out, i in zip(pictures, own, strict=True):
        try:
            decode_frame(frames[i], out)
        except ValueError as error:
            out[...] = 0
            wrong[digests[i]] = f"no JPEG of {len(frames[i])} bytes ({error})"
    row = {digests[i]: k for k, i in enumerate(own)}
    values = extractor(pictures)[[row[digest] for digest in digests]]
    bad = np.array([digest in wrong for digest in digests])
    features = pa.FixedSizeListArray.from_arrays(
        pa.array(values.reshape(-1)), type=schema.field("features").type, mask=pa.array(bad)
    )
    columns = {
        "offset": pa.array(places, pa.int64()),
        "size": pa.array(sizes, pa.int32()),
        "frame": pa.array(digests, pa.binary()),
        "features": features,
        "fault": pa.array([wrong.get(digest) for digest in digests], pa.string()),
    }
    return pa.Table.from_arrays(list(columns.values()), schema=schema)
