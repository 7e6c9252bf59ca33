"""Tombstones: what was erased stays erased, whatever was under way.

An erasure writes its tombstone before it deletes anything. Tombstones are small files that never change and
never go; they hold salted digests, so that they name nobody.

Why nothing comes back: a commit asks for tombstones *after* it has read the version that it builds on, and
leaves out the rows of what they name. The erasure, its tombstone written, puts a fence (an empty commit) on
every table and sweeps only then. A writer that asked too early builds on a version from before the fence.
Either it lands before the fence, where the sweep sees its rows; or the fence has taken its number, it has
lost the race, and asks again. A writer that dies has committed in this order too, or not at all.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import StorageError, UserError
from lwd_core.storage.location import Location
from storage_schemas.tables import TABLES

FOLDER = ("erasures", "tombstones")
TABLES_OF_EPISODES = tuple(name for name, table in TABLES.items() if "episode_id" in table.names)

Ranges = Sequence[tuple[int, int]]
Done = TypeVar("Done")


class ErasedMeanwhile(UserError):
    """Work under way holds an episode that was erased since it began."""


@dataclass(frozen=True)
class LogStone:
    """What was erased of a log of ``bytes``: the message ranges (first, last), or None: all of it."""

    bytes: int
    ranges: Ranges | None


@dataclass
class _Graves:
    """What was buried under one salt: by one erasure, or by all."""

    salt: bytes
    names: set[str] = field(default_factory=set)
    logs: dict[str, list[LogStone]] = field(default_factory=dict)

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.salt + name.encode()).hexdigest()[:32]


class Tombstones:
    """The tombstones of one lake. Each question lists the folder; a file is read once."""

    def __init__(self, place: Location) -> None:
        self._place = place
        self._read: set[str] = set()
        self._erasures: list[_Graves] = []
        self._graves: dict[bytes, _Graves] = {}

    def bury(self, names: Iterable[str], logs: Mapping[str, LogStone]) -> None:
        """Write the tombstone of episodes, contents, frame shards, and of what of the logs, by id, goes."""
        self._look()
        salt = next(iter(self._graves), None) or secrets.token_bytes(16)
        grave = _Graves(salt)
        said = {
            "salt": salt.hex(),
            "names": sorted(grave.digest(name) for name in names),
            "logs": {grave.digest(log): [stone.bytes, stone.ranges] for log, stone in sorted(logs.items())},
        }
        data = json.dumps(said).encode()
        name = hashlib.sha256(data).hexdigest()[:32] + ".json"
        if name not in self._read:
            with self._place.write(*FOLDER, name) as stream:
                stream.write(data)

    def buried(self, names: Iterable[str]) -> set[str]:
        """Which of these episodes or frame shards were erased."""
        self._look()
        return self._buried(names)

    def _buried(self, names: Iterable[str]) -> set[str]:
        graves = [grave for grave in self._graves.values() if grave.names]
        return {name for name in names if any(g.digest(name) in g.names for g in graves)} if graves else set()

    def logs(self, ids: Iterable[str]) -> dict[str, LogStone]:
        """What was erased of each of these logs; logs nothing was erased of are left out."""
        self._look()
        return self._logs(ids)

    def _logs(self, ids: Iterable[str]) -> dict[str, LogStone]:
        found: dict[str, LogStone] = {}
        for log in ids:
            stones = [s for grave in self._graves.values() for s in grave.logs.get(grave.digest(log), ())]
            if stones:
                whole = any(stone.ranges is None for stone in stones)
                ranges = None if whole else [r for stone in stones for r in stone.ranges or ()]
                found[log] = LogStone(stones[0].bytes, ranges)
        return found

    def count(self) -> int:
        """How many erasures there were; another number says that work under way may have lost its ground."""
        self._look()
        return len(self._read)

    def steady(self, work: Callable[[], Done]) -> Done:
        """Do work that puts episodes on show; again if one was erased before it was done."""
        while True:
            before = self.count()
            done = work()
            if self.count() == before:
                return done

    def erased_with(self, episodes: Iterable[str]) -> "Tombstones":
        """The tombstones of those erasures only that took one of these episodes."""
        self._look()
        wanted, found = list(episodes), Tombstones(self._place)
        for erasure in self._erasures:
            if any(erasure.digest(episode) in erasure.names for episode in wanted):
                found._add(erasure)
        found._read = set(self._read)
        return found

    def sizes(self) -> set[int]:
        """Sizes of the logs of which something was erased: other files need not be hashed."""
        self._look()
        return {s.bytes for grave in self._graves.values() for stones in grave.logs.values() for s in stones}

    def without(self, rows: pa.Table) -> pa.Table:
        """The rows of no erased episode; the same table where there is none.

        ``rows`` have the columns episode_id, log_id and, of table ``episodes``, the range of messages.
        """
        gone = self._erased(rows)
        if gone is None or not pc.any(gone).as_py():
            return rows
        return rows.filter(pc.invert(gone))

    def refuse(self, names: Iterable[str], work: str) -> None:
        """Raise ``ErasedMeanwhile`` if one of the episodes or shards was erased; ``work`` can't go on."""
        if self.buried(names):
            raise ErasedMeanwhile(
                f"{work}: episodes in it were erased meanwhile; do it again (`lwd erase` finishes an erasure "
                "that was cut off)"
            )

    def _erased(self, rows: pa.Table) -> pa.ChunkedArray | pa.Array | None:
        self._look()
        if not self._graves or not rows.num_rows or not {"episode_id", "log_id"} <= set(rows.column_names):
            return None
        stones = self._logs(pc.unique(rows["log_id"]).to_pylist())
        whole = [log for log, stone in stones.items() if stone.ranges is None]
        ids = self._buried(pc.unique(rows["episode_id"]).to_pylist())
        if "content" in rows.column_names:  # the recording, under whatever name it comes
            known = rows.filter(pc.is_valid(rows["content"]))
            again = self._buried(pc.unique(known["content"]).to_pylist())
            back = known.filter(pc.is_in(known["content"], pa.array(sorted(again), pa.string())))
            ids |= set(back["episode_id"].to_pylist())
        if "first_message" in rows.column_names:
            columns = (
                rows[name].to_pylist() for name in ("episode_id", "log_id", "first_message", "last_message")
            )
            for episode, log, first, last in zip(*columns, strict=True):
                ranges = stones[log].ranges if log in stones else None
                if any(first <= end and start <= last for start, end in ranges or ()):
                    ids.add(episode)
        return pc.or_(
            pc.is_in(rows["episode_id"], value_set=pa.array(sorted(ids), pa.string())),
            pc.is_in(rows["log_id"], value_set=pa.array(sorted(whole), pa.string())),
        )

    def _look(self) -> None:
        """Read what is new. The store is asked each time: a cached answer would be the hole in the fence."""
        folder = self._place.path(*FOLDER)
        try:
            if self._place.remote:
                self._place.fs.invalidate_cache()
                listed = self._place.fs.ls(folder, detail=False)
            else:
                listed = os.listdir(folder)
        except FileNotFoundError:
            return
        names = {path.rsplit("/", 1)[-1] for path in listed}
        for name in sorted(n for n in names - self._read if n.endswith(".json")):
            try:
                said = json.loads(self._place.read(*FOLDER, name))
                logs = {
                    log: [LogStone(size, ranges and [(a, b) for a, b in ranges])]
                    for log, (size, ranges) in said["logs"].items()
                }
                self._add(_Graves(bytes.fromhex(said["salt"]), set(said["names"]), logs))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise StorageError(
                    f"{self._place.path(*FOLDER, name)}: a damaged tombstone ({error}); without it what was "
                    "erased could come back: restore the file from a backup"
                ) from error
            self._read.add(name)

    def _add(self, erasure: _Graves) -> None:
        self._erasures.append(erasure)
        grave = self._graves.setdefault(erasure.salt, _Graves(erasure.salt))
        grave.names |= erasure.names
        for log, stones in erasure.logs.items():
            grave.logs.setdefault(log, []).extend(stones)


def apart(erased: Iterable[tuple[int, int]], staying: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of the erased message ranges belongs to no episode that stays."""
    left = list(erased)
    for first, last in staying:
        parts = [((a, min(b, first - 1)), (max(a, last + 1), b)) for a, b in left]
        left = [(a, b) for pair in parts for a, b in pair if a <= b]
    return left
