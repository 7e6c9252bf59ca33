"""Files of features: one beside each frame shard and layer, found by its name, erased with it.

A frame shard never changes under its name, so a file only ever gains frames; it is written whole, at once.
"""
# pyarrow.parquet has no stubs
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.errors import UserError, suggest
from lwd_core.lake.kept_frames import Moved
from lwd_core.storage.location import Location
from storage_schemas.features import DIGEST, FOLDER

#: Frames of a row group: what is held in memory at once.
TOGETHER = 1024
_WRITING: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}


@dataclass(frozen=True)
class FeatureLayer:
    """Which features: ``name`` is ``<backbone>@<digest>``, ``remedy`` the command that makes them."""

    name: str
    digest: str
    width: int
    remedy: str = "lwd features build"

    def path(self, shard: str) -> str:
        """Where features of a frame shard lie, relative to the lake."""
        return path_of(self.name, shard)


def path_of(layer: str, shard: str) -> str:
    """Where features of ``frames/<day>/<site>/<shard>.tar`` lie, relative to the lake."""
    inner = PurePosixPath(shard).relative_to("frames").with_suffix(".parquet")
    return f"{FOLDER}/{layer}/{inner}"


def layers(place: Location) -> list[str]:
    """Names of the layers a lake has, sorted."""
    if not place.exists(FOLDER):
        return []
    return sorted(p.rstrip("/").rsplit("/", 1)[-1] for p in place.fs.ls(place.path(FOLDER), detail=False))


def files(place: Location, layer: str) -> dict[str, int]:
    """Bytes of a layer's files by their path, relative to the lake."""
    root = place.path(FOLDER, layer)
    found = place.fs.find(root, detail=True) if place.fs.exists(root) else {}
    sizes = {place.relative(path): info["size"] for path, info in found.items()}
    return {path: size for path, size in sizes.items() if path.endswith(".parquet")}


def named(place: Location, begins: str = "") -> str:
    """A layer by the beginning of its name; the only one, where nothing is said. `UserError` where it means
    none or several."""
    there = layers(place)
    found = [name for name in there if name.startswith(begins)]
    if len(found) == 1:
        return found[0]
    if not there:
        raise UserError("features: there are no features of frames; `lwd features build` makes them")
    if not found:
        raise UserError(f"features {begins}: no such layer{suggest(begins, there)}; see `lwd features list`")
    raise UserError(f"features {begins}: it may be {' or '.join(found)}; say which")


def tables(place: Location, path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A file's rows, some at a time. FileNotFoundError where there is none, `UserError` where damaged."""
    with place.fs.open(place.path(path), "rb") as stream:
        with _readable(place, path):
            batches = pq.ParquetFile(stream).iter_batches(TOGETHER, columns=columns)
        while True:
            with _readable(place, path):  # whoever takes a table has failures of its own
                batch = next(batches, None)
            if batch is None:
                return
            yield pa.Table.from_batches([batch])


def vectors(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Of a column ``features`` (n,): those there are (k, F) f32, and which rows have some (n,)."""
    whole = column.combine_chunks()
    there = np.asarray(whole.is_valid())
    values = whole.drop_null().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, whole.type.list_size).astype(np.float32), there


def sample(place: Location, layer: str, most: int) -> npt.NDArray[np.float32]:
    """Some ``most`` features (N, F) or more, of files drawn at random, always alike; all where fewer are."""
    paths, parts = sorted(files(place, layer)), [np.zeros((0, 0), np.float32)]
    order: list[int] = np.random.default_rng(0).permutation(len(paths)).tolist()
    for i in order:
        parts += [vectors(table["features"])[0] for table in tables(place, paths[i], ["features"])]
        if sum(map(len, parts)) >= most:
            break
    some = [part for part in parts if len(part)]
    return np.concatenate(some) if some else parts[0]


def facts(place: Location, path: str) -> dict[str, str]:
    """What a file says of the backbone that made it. `UserError` where it is damaged."""
    with _readable(place, path), place.fs.open(place.path(path), "rb") as stream:
        metadata = pq.read_schema(stream).metadata or {}
    return {name.decode(): value.decode() for name, value in metadata.items()}


@contextmanager
def _readable(place: Location, path: str) -> Generator[None, None, None]:
    """Says of a file that can't be read what to do."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise UserError(
            f"{place.path(path)}: no file of features, or damaged ({why}); delete it and run "
            "`lwd features build`"
        ) from error


def known(place: Location, layer: FeatureLayer, shard: str) -> np.ndarray:
    """Offsets (n,) i64 of the frames of a shard that have features: what was no picture may be one by now.

    Raises `UserError` for another's file.
    """
    path = layer.path(shard)
    if not place.exists(path):
        return np.empty(0, np.int64)
    require(place, layer, path)
    sound = (t.filter(t["fault"].is_null()) for t in tables(place, path, ["offset", "fault"]))
    return np.concatenate([np.empty(0, np.int64), *(table["offset"].to_numpy() for table in sound)])


def require(place: Location, layer: FeatureLayer, path: str) -> None:
    """Raise `UserError` unless a file holds features of this layer's backbone."""
    made_by = facts(place, path).get(DIGEST, "nothing that says so")
    if made_by != layer.digest:
        raise UserError(
            f"{place.path(path)}: features of another backbone ({DIGEST}: {made_by[:12]}, wanted "
            f"{layer.name}); delete it and run `{layer.remedy}`"
        )


def write(place: Location, path: str, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
    """One file of these rows, which appears whole."""
    with place.write(path) as stream, pq.ParquetWriter(stream, schema, **_WRITING) as writer:
        for part in parts:
            writer.write_table(part.cast(schema), TOGETHER)


def read_into(place: Location, layer: FeatureLayer, shard: str, offsets: np.ndarray, out: np.ndarray) -> None:
    """Features of frames of one shard, by their offsets (n,), rising, into ``out`` (n, F) f16.

    Of a frame that is no picture they are not numbers. Raises `UserError` where one has none: not made, or by
    another backbone.
    """
    path = layer.path(shard)
    if not place.exists(path):
        _refuse(place, layer, shard, len(offsets), len(offsets))
    require(place, layer, path)
    found = np.zeros(len(offsets), bool)
    for table in tables(place, path, ["offset", "features"]):
        at = np.searchsorted(offsets, table["offset"].to_numpy())
        wanted = np.flatnonzero(offsets[np.minimum(at, len(offsets) - 1)] == table["offset"].to_numpy())
        if not len(wanted):
            continue
        column = table["features"].combine_chunks()
        values = column.values.to_numpy(zero_copy_only=False).reshape(-1, layer.width)
        out[at[wanted]] = values[column.offset : column.offset + len(column)][wanted]
        out[at[wanted[~np.asarray(column.is_valid())[wanted]]]] = np.nan
        found[at[wanted]] = True
    if not found.all():
        _refuse(place, layer, shard, int((~found).sum()), len(offsets))


def _refuse(place: Location, layer: FeatureLayer, shard: str, missing: int, count: int) -> None:
    others = [name for name in layers(place) if name != layer.name]
    there = f" (there are features of {', '.join(others)}, another backbone or size)" if others else ""
    raise UserError(
        f"{place.path(shard)}: {missing} of {count} frames have no features of {layer.name}{there}; "
        f"make them with `{layer.remedy}`"
    )


def remove(place: Location, shards: Iterable[str]) -> None:
    """Delete what any layer has of these frame shards."""
    for layer in layers(place):
        for shard in shards:
            place.remove(path_of(layer, shard))


def follow_frames(place: Location, moved: Moved) -> None:
    """Give frames that went to a new shard the features they had: those of all others are left behind."""
    for layer in layers(place):
        for old, (new, offsets) in moved.items():
            source, target = path_of(layer, old), path_of(layer, new)
            if place.exists(source) and not place.exists(target):
                with place.fs.open(place.path(source), "rb") as stream:
                    schema = pq.read_schema(stream)
                write(place, target, schema, (_moved(t, offsets) for t in tables(place, source)))


def _moved(table: pa.Table, offsets: dict[int, int]) -> pa.Table:
    kept = [i for i, offset in enumerate(table["offset"].to_pylist()) if offset in offsets]
    table = table.take(pa.array(kept, pa.int64()))
    now = pa.array([offsets[offset] for offset in table["offset"].to_pylist()], pa.int64())
    return table.set_column(0, table.schema.field("offset"), now)
