"""Proof of absence: a search of every file for an episode's id and content, in the forms it may stand in.

Ids and frames are looked for in plain bytes. Numbers are looked for as the lake and its snapshots store them
everywhere; in raw logs also as their formats do (see number_runs), what is packed unpacked (see unpack).
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lwd_core.erasure.number_runs import Numbers, runs
from lwd_core.erasure.unpack import SMALL, Blind, Content, Long, blocks, inside
from lwd_core.lake.frames import read_frame
from lwd_core.lake.store import Lake
from lwd_core.logs.children import Lost, apart
from lwd_core.storage.location import open_location

PROBE = 32
STORED = ("<f4",)  # as snapshots and caches hold vectors
ROWS, RUNS, MOST = 3, 6, 2000  # rows an episode, runs a row, runs in all


@dataclass(frozen=True)
class Needles:
    """Episode ids, pieces of content as they are (parts of frames), and runs of numbers as float32 bytes."""

    ids: tuple[str, ...]
    pieces: tuple[bytes, ...] = ()
    numbers: tuple[bytes, ...] = ()

    @cached_property
    def plain(self) -> list[bytes]:
        """What is looked for as it is."""
        return [*(i.encode() for i in self.ids), *self.pieces]

    @property
    def runs(self) -> Numbers:
        """The numbers, ready to be looked for."""
        return _ready(self.numbers)


@lru_cache(maxsize=8)
def _ready(numbers: tuple[bytes, ...]) -> Numbers:
    return Numbers(numbers)


@dataclass
class SearchResult:
    """Files that hold a needle, and files that can't be looked into, each with the reason."""

    holding: list[str] = field(default_factory=list)
    blind: dict[str, str] = field(default_factory=dict)


def needles_of(lake: Lake, episodes: Sequence[str]) -> Needles:
    """Numbers and frames from all over the episodes.

    What other episodes have too (a robot at rest, a black picture) proves nothing and is left out.
    """
    pieces: dict[bytes, None] = {}
    found: dict[tuple[int, bytes], None] = {}
    most = max(1, min(RUNS, MOST // max(1, ROWS * len(episodes))))
    for episode in episodes:
        rows = lake.read(
            "steps", columns=["step", "state", "frames"], where="episode_id = ?", params=[episode]
        ).sort_by("step")
        chosen = np.unique(np.linspace(0, rows.num_rows - 1, ROWS).astype(int)) if rows.num_rows else ()
        for row in rows.take(pa.array(chosen, pa.int64())).to_pylist():
            vector = np.asarray(row["state"], "<f4")
            found |= {(a, vector[a:b].tobytes()): None for a, b in runs(vector, most)}
            for frame in row["frames"] or ():
                try:
                    data = read_frame(lake.place, frame)
                except OSError:
                    continue
                pieces[data[len(data) // 2 :][:PROBE]] = None
                pieces[hashlib.sha256(data).digest()] = None  # by it features of the frame are kept
    own = _not_elsewhere(lake, episodes, list(found)[:MOST])
    return Needles(tuple(episodes), tuple(piece for piece in pieces if len(set(piece)) > 4), tuple(own))


def _not_elsewhere(
    lake: Lake, episodes: Sequence[str], found: list[tuple[int, bytes]], at_once: int = 100
) -> list[bytes]:
    """The runs no other episode has at the same place of its state."""
    own: list[bytes] = []
    for begin in range(0, len(found), at_once):
        some = found[begin : begin + at_once]
        tests, params = [], []
        for first, run in some:
            values = np.frombuffer(run, "<f4").tolist()
            tests.append(" AND ".join(f"state[{first + 1 + i}] = ?::FLOAT" for i in range(len(values))))
            params += values
        listed = ", ".join(f"coalesce(bool_or({test}), false) AS t{i}" for i, test in enumerate(tests))
        row = lake.sql(
            f"SELECT {listed} FROM steps WHERE NOT list_contains(?, episode_id)", [*params, list(episodes)]
        ).to_pylist()[0]
        own += [run for i, (_, run) in enumerate(some) if not row[f"t{i}"]]
    return list(dict.fromkeys(own))


def search(roots: Sequence[str], needles: Needles, *, raw: Sequence[str] = ()) -> SearchResult:
    """Every file under the roots and under ``raw``, where raw logs lie and files are opened as logs."""
    found = SearchResult()
    for root in dict.fromkeys([*raw, *roots]):
        place = open_location(root)
        if not place.fs.exists(place.root):
            continue
        prefix = "s3://" if place.remote else ""
        for name in sorted(place.fs.find(place.root)):
            path = prefix + name
            if not place.remote and not os.path.isfile(path):
                continue  # a pipe or a socket would keep us waiting
            try:
                if holds(path, needles, raw=root in raw, found=found):
                    found.holding.append(path)
            except FileNotFoundError:
                continue  # gone meanwhile
    return found


def unrecognised(path: str, needles: Needles) -> list[str]:
    """What of a log's content this search would not recognise in the log itself, and so not in its copies."""
    place = open_location(path)
    files = place.fs.find(place.root) if place.fs.isdir(place.root) else [place.root]
    kinds = {
        "numbers": Needles((), (), needles.numbers) if needles.numbers else None,
        "frames": Needles((), needles.pieces) if needles.pieces else None,
    }
    prefix = "s3://" if place.remote else ""
    return [
        kind
        for kind, some in kinds.items()
        if some is not None
        and not any(
            holds(prefix + place.fs._strip_protocol(f), some, raw=True, found=SearchResult()) for f in files
        )
    ]


def holds(path: str, needles: Needles, *, raw: bool, found: SearchResult) -> bool:
    """Whether a file holds a needle; what can't be looked into is noted in ``found``.

    A raw log is a stranger's bytes: it is opened in a child, with the limits of its size.
    """
    place = open_location(path)
    with place.fs.open(place.root, "rb") as stream:
        for block in blocks(stream):
            if any(needle in block for needle in needles.plain) or needles.runs.in_bytes(block, STORED):
                return True
            if b"\0" not in block[:SMALL] and needles.runs.in_text(block):
                return True
        if not raw:
            with suppress(pa.ArrowException):  # cut short: never committed, its bytes were searched
                return _is_parquet(stream) and _in_parquet(stream, needles)
            return False
    try:
        return apart(place.fs.size(place.root) or 0, _in_log, path, needles)
    except (Blind, Lost) as blind:
        found.blind[path] = str(blind)
        return False


def _in_log(path: str, needles: Needles) -> bool:
    """Whether a raw log holds a needle inside of what its format packs."""
    place = open_location(path)
    with place.fs.open(place.root, "rb") as stream:
        if _is_parquet(stream):
            try:
                return _in_parquet(stream, needles)
            except Exception as error:
                raise Blind(f"can't be opened ({type(error).__name__}: {error})") from error
    opened = False
    for piece in inside(path):
        opened = True
        if _in_piece(piece, needles):
            return True
    return not opened and _in_unknown(path, needles)


def _is_parquet(stream: IO[bytes]) -> bool:
    stream.seek(0)
    return stream.read(4) == b"PAR1"


def _in_piece(piece: Content, needles: Needles) -> bool:
    if isinstance(piece, np.ndarray):
        return needles.runs.in_array(piece)
    if any(needle in piece for needle in needles.plain):
        return True
    if not isinstance(piece, Long) and needles.runs.in_bytes(piece):
        return True
    return needles.runs.in_text(piece)


def _in_unknown(path: str, needles: Needles) -> bool:
    """Numbers in a file of no format that packs anything."""
    place = open_location(path)
    with place.fs.open(place.root, "rb") as stream:
        return any(needles.runs.in_bytes(block) for block in blocks(stream))


def _in_parquet(stream: IO[bytes], needles: Needles) -> bool:
    stream.seek(0)
    batches = pq.ParquetFile(stream).iter_batches()
    return any(_in_column(column, needles) for batch in batches for column in batch.columns)


def _in_column(column: pa.Array, needles: Needles) -> bool:
    for leaf in _leaves(column):
        if pa.types.is_dictionary(leaf.type):
            leaf = leaf.dictionary_decode()
        if (pa.types.is_string(leaf.type) or pa.types.is_large_string(leaf.type)) and any(
            pc.any(pc.match_substring(leaf, i)).as_py() for i in needles.ids
        ):
            return True
        if (pa.types.is_binary(leaf.type) or pa.types.is_large_binary(leaf.type)) and any(
            piece in value for value in leaf.drop_null().to_pylist() for piece in needles.pieces
        ):
            return True
        if pa.types.is_floating(leaf.type) and needles.numbers:
            with np.errstate(all="ignore"):
                if needles.runs.in_array(leaf.drop_null().to_numpy(zero_copy_only=False).astype("<f4")):
                    return True
    return False


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    if pa.types.is_struct(column.type):
        for inner in column.flatten():
            yield from _leaves(inner)
    elif isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield from _leaves(column.flatten())
    elif pa.types.is_map(column.type):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    else:
        yield column
