"""Frames through the loader, beside simplejpeg alone on the same bytes."""

import io
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg

from benchmarks.loader_lake import CHUNK, LENGTH, synthetic_lake
from benchmarks.loader_peers import timed
from lwd_core.loader.image_loader import ImageLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import open_location
from storage_schemas.tables import TABLES


def images(clock: Callable[[], float], folder: Path, runs: int) -> tuple[list[float], list[float]]:
    """Frames a second through the loader, and of simplejpeg on the same bytes in memory."""
    cameras, length, size, rng = ("left", "right", "wrist"), 200, 224, np.random.default_rng(0)
    lake = synthetic_lake(folder / "filmed", LENGTH)
    identity = lake.read("episodes")["episode_id"][0].as_py()
    tar, shown, frames = io.BytesIO(), [], []
    for _ in range(length):
        shown.append([])
        for camera in cameras:
            coarse = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)), quality=85)
            frames.append(data)
            place = {
                "camera": camera,
                "shard": "frames/f.tar",
                "offset": tar.tell(),
                "size": len(data),
                "t_ns": 0,
            }
            shown[-1].append(place)
            tar.write(data)
    with lake.place.write("frames/f.tar") as stream:
        stream.write(tar.getvalue())
    steps = lake.read("steps", where="true ORDER BY step").slice(0, length)
    column = pa.array(shown, TABLES["steps"].schema.field("frames").type)
    steps = steps.set_column(steps.column_names.index("frames"), "frames", column)
    lake.replace("steps", steps, {"episode_id": [identity]})
    episode = lake.read("episodes").to_pylist()[0] | {"steps": length}
    row = pa.Table.from_pylist([episode], TABLES["episodes"].schema)
    lake.replace("episodes", row, {"episode_id": [identity]})
    spec = SnapshotSpec(name="film", chunk=CHUNK, cameras=cameras)
    snapshot = build_snapshot(lake, spec, str(folder / "film"), now_ns=1)
    loader = ImageLoader(TransitionLoader(snapshot, 64, 0), open_location(lake.root), height=size, width=size)
    batch = np.empty((2 * 64 * 3, size, size, 3), np.uint8)  # the memory the loader's two buffers have

    def alone() -> None:
        for i, data in enumerate(frames):
            simplejpeg.decode_jpeg(data, fastdct=True, fastupsample=True, buffer=batch[i % len(batch)])

    def ours() -> None:
        for _ in islice(loader, 8):
            pass

    ours()
    alone()
    pairs = [(timed(clock, ours), timed(clock, alone)) for _ in range(runs)]
    return [8 * 64 * 3 / a for a, _ in pairs], [len(frames) / b for _, b in pairs]
