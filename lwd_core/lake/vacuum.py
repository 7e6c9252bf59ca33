"""What no version needs any more and must not linger: old data files and the history that tells of them."""

import time
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import TABLES_OF_EPISODES
from lwd_core.lake.upkeep import GRACE_HOURS, HOUR, age

# An entry that says nothing and keeps its number taken: a writer that computed a commit on an old version
# must lose the race and not find its number free, where nobody would ever read what it wrote.
BLANK = b'{"txn":{"appId":"erased","version":0}}\n'


def purge(lake: Lake, episodes: Sequence[str]) -> list[str]:
    """Delete every data file, of whatever version, that holds one of the episodes, and shorten histories.

    The newest versions must not show the episodes any more, and tables be fenced, so that no writer under way
    can commit such a file. Older versions of these tables can't be read afterwards. Returns the paths
    deleted, relative to the lake.
    """
    gone = []
    for name in TABLES_OF_EPISODES:
        version = lake.version(name)
        if version is None:
            continue
        named = {file.path for file in lake.log(name).entries(version)}
        root = f"tables/{name}/"
        for full in lake.fs.find(lake.path("tables", name)):
            path = lake.place.relative(full)
            inner = path.removeprefix(root)
            if inner.startswith("_delta_log/") or inner in named or not inner.endswith(".parquet"):
                continue
            if _holds(lake, path, episodes):
                lake.place.remove(path)
                gone.append(path)
        shorten(lake, name)
    return gone


def columns(lake: Lake, path: str, names: list[str]) -> pa.Table:
    """Columns of one data file, by its path in the lake."""
    with lake.fs.open(lake.path(path), "rb") as stream:
        return pq.read_table(stream, columns=names)


def _holds(lake: Lake, path: str, episodes: Sequence[str]) -> bool:
    try:
        values = columns(lake, path, ["episode_id"]).column(0)
    except (OSError, pa.ArrowInvalid):
        return False  # gone meanwhile, or no data file of ours
    return not set(episodes).isdisjoint(values.unique().to_pylist())


def shorten(lake: Lake, table: str) -> None:
    """Make the newest version the oldest: a checkpoint of it, and no log entry before it that tells anything.

    Entries of the last week are emptied, older ones deleted: no writer is under way that long.
    """
    version, now = lake.log(table).checkpoint(), time.time()
    for full, info in lake.fs.find(lake.path("tables", table, "_delta_log"), detail=True).items():
        path = lake.place.relative(full)
        number, _, kind = path.rsplit("/", 1)[-1].partition(".")
        if not number.isdecimal() or int(number) >= version:
            continue
        if kind != "json" or age(info, now) > GRACE_HOURS * HOUR:
            lake.place.remove(path)
        elif info["size"] != len(BLANK):
            with lake.place.write(path) as entry:
                entry.write(BLANK)
