"""Proof of absence: a search of the bytes of every file for an episode's id and content."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lwd_core.lake.frames import read_frame
from lwd_core.lake.place import open_place
from lwd_core.lake.store import Lake

BLOCK = 8 * 2**20
PROBE = 32


@dataclass(frozen=True)
class Needles:
    """Episode ids, and pieces of content: vectors as snapshots store them, parts of frames."""

    ids: tuple[str, ...]
    content: tuple[bytes, ...]

    @property
    def all(self) -> list[bytes]:
        """As bytes to look for."""
        return [*(i.encode() for i in self.ids), *self.content]


def needles_of(lake: Lake, episodes: Sequence[str], each: int = 3) -> tuple[str, ...]:
    """Pieces of content, hex: ``each`` state vectors and frames an episode, from all over it.

    A piece that other episodes have too (a robot at rest, a black picture) proves nothing and is left out.
    """
    pieces: dict[bytes, None] = {}
    for episode in episodes:
        rows = lake.read(
            "steps", columns=["step", "state", "frames"], where="episode_id = ?", params=[episode]
        ).sort_by("step")
        for index in np.linspace(0, max(rows.num_rows - 1, 0), each).astype(int) if rows.num_rows else ():
            row = rows.slice(int(index), 1).to_pylist()[0]
            vector = np.asarray(row["state"], np.float32)
            if np.unique(vector).size > 2 and not _elsewhere(lake, episodes, row["state"]):
                pieces[vector.tobytes()] = None
            for frame in row["frames"] or ():
                try:
                    data = read_frame(lake.place, frame)
                except OSError:
                    continue
                pieces[data[len(data) // 2 :][:PROBE]] = None
    return tuple(piece.hex() for piece in pieces if len(set(piece)) > 4)


def _elsewhere(lake: Lake, episodes: Sequence[str], state: list[float]) -> bool:
    found = lake.sql(
        "SELECT 1 FROM steps WHERE state = ?::FLOAT[] AND NOT list_contains(?, episode_id) LIMIT 1",
        [state, list(episodes)],
    )
    return found.num_rows > 0


def search(roots: Sequence[str], needles: Needles) -> list[str]:
    """Files under the roots that hold a needle: as plain bytes, or inside Parquet once decoded."""
    found = []
    for root in dict.fromkeys(roots):
        place = open_place(root)
        if not place.fs.exists(place.root):
            continue
        for path in place.fs.find(place.root):
            with place.fs.open(path, "rb") as stream:
                if _in_bytes(stream, needles.all) or (
                    path.endswith(".parquet") and _in_parquet(stream, needles)
                ):
                    found.append(path)
    return sorted(found)


def _in_bytes(stream: io.IOBase, needles: Sequence[bytes]) -> bool:
    overlap = max(map(len, needles), default=1) - 1
    tail = b""
    while block := stream.read(BLOCK):
        window = tail + block
        if any(needle in window for needle in needles):
            return True
        tail = window[-overlap:] if overlap else b""
    return False


def _in_parquet(stream: io.IOBase, needles: Needles) -> bool:
    stream.seek(0)
    try:
        file = pq.ParquetFile(stream)
        for batch in file.iter_batches():
            if any(_in_column(column, needles) for column in batch.columns):
                return True
    except pa.ArrowException:
        return False  # cut short: never committed, its bytes were searched
    return False


def _in_column(column: pa.Array, needles: Needles) -> bool:
    for leaf in _leaves(column):
        if pa.types.is_string(leaf.type) and any(
            pc.any(pc.match_substring(leaf, i)).as_py() for i in needles.ids
        ):
            return True
        if pa.types.is_float32(leaf.type) and leaf.null_count == 0 and needles.content:
            raw = leaf.to_numpy(zero_copy_only=False).tobytes()
            if any(needle in raw for needle in needles.content):
                return True
    return False


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_struct(column.type):
        for inner in column.flatten():
            yield from _leaves(inner)
    elif pa.types.is_list(column.type):
        yield from _leaves(column.flatten())
    elif pa.types.is_map(column.type):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    else:
        yield column
