"""Raw logs in an erasure: which files are ours to delete, and deleting exactly those.

A file is deleted only where it lies under the home's own landing zone *and* still has the log's digest: an
address is not an identity. Originals elsewhere belong to somebody else, and other bytes under a log's name
are another log.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lwd_core.ingest.landing import DIGEST, receive
from lwd_core.logs.source import LogSource
from lwd_core.storage.location import open_location


class Fate(StrEnum):
    """What becomes of a file that holds, or once held, a log."""

    DELETED = "deleted"
    SHARED = "kept: other episodes of the lake are in it"
    ELSEWHERE = "not ours to delete: outside the landing zone"
    REPLACED = "left: other bytes lie there now"
    GONE = "gone already"


@dataclass(frozen=True)
class RawLog:
    """One file or folder: where it lies, which log it held, its size and what becomes of it."""

    path: str
    log_id: str
    bytes: int
    fate: Fate


def raw_path(landing: str, uri: str) -> str:
    """Where a log of table ``logs`` lies."""
    return uri if "://" in uri or uri.startswith("/") else f"{open_location(landing).root}/{uri}"


def fate(landing: str, path: str, log_id: str, *, shared: bool, also: Collection[str] = ()) -> Fate:
    """What becomes of a file; ``shared`` if episodes of it stay, ``also`` are paths to delete anyway."""
    if not open_location(path).exists():
        return Fate.GONE
    if path not in also:
        if not _inside(landing, path):
            return Fate.ELSEWHERE
        if shared and _is(path, log_id):
            return Fate.SHARED
    return Fate.DELETED if _is(path, log_id) else Fate.REPLACED


def copies(landing: str, sizes: Collection[int], known: Collection[str]) -> Iterator[tuple[str, str, int]]:
    """Path, digest and size of each log in the landing zone that has one of the sizes and isn't known."""
    if not sizes or not open_location(landing).exists():
        return
    for log in receive([landing], landing):
        path = raw_path(landing, log.uri)
        if log.bytes in sizes and path not in known:
            try:
                yield path, LogSource(path).sha256(), log.bytes
            except OSError:
                continue  # gone meanwhile


def delete(logs: Iterable[RawLog]) -> list[RawLog]:
    """Delete the logs whose fate it is, each hashed once more; return those that have other bytes by now."""
    changed = []
    for log in logs:
        if log.fate != Fate.DELETED or not open_location(log.path).exists():
            continue
        if _is(log.path, log.log_id):
            _remove(log.path)
        else:
            changed.append(log)
    return changed


def _is(path: str, log_id: str) -> bool:
    try:
        return LogSource(path).sha256() == log_id
    except FileNotFoundError:
        return False


def _inside(landing: str, path: str) -> bool:
    """Whether a path lies under the landing zone, links followed: what they lead to elsewhere isn't ours."""
    root = open_location(landing)
    if root.remote or "://" in path:
        return path.startswith(root.root + "/")
    return (
        Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root.root))
        and not Path(path).is_symlink()
    )


def _remove(path: str) -> None:
    """The log's own files and the digest beside them; of a folder what then is empty."""
    place, source = open_location(path), LogSource(path)
    if not source.is_folder:
        place.fs.rm_file(path)
    else:
        for name in source.files:
            place.remove(name)
        if source.local:
            for folder, _, _ in os.walk(path, topdown=False):
                if not os.listdir(folder):
                    os.rmdir(folder)
    if place.fs.isfile(path + DIGEST):
        place.fs.rm_file(path + DIGEST)
