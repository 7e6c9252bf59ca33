"""Every file below a place, with what is in the way of reading it: nothing is passed over unseen."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from lwd_core.logs.folders import passing
from lwd_core.logs.source import blobs_of, leads_inside
from lwd_core.storage.location import Location

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_CACHES = ("datasets--", "models--", "spaces--")


@dataclass(frozen=True)
class Entry:
    """One file: path below the root, bytes, and why it can't be read as one (None: nothing is known)."""

    name: str
    size: int
    problem: str | None = None


def shown(path: str) -> str:
    """A path as text that tables and terminals take: bytes that are no UTF-8 become ``\\\\xNN``."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def entries(place: Location) -> Iterator[Entry]:
    """Files below the root (the root itself, if it is one), in the order of names.

    Hidden names, uploads under way and digests beside logs are left out, and links to what lies below the
    root under a name of its own.
    """
    if place.remote:
        yield from _of_bucket(place)
        return
    root = place.root
    problem, size = _look(root)
    if not os.path.isdir(root):
        yield Entry("", size, problem)
        return
    yield from _of_folder(root, "")


def _of_bucket(place: Location) -> Iterator[Entry]:
    if place.fs.isfile(place.root):
        yield Entry("", place.fs.size(place.root) or 0)
        return
    bare = str(place.fs._strip_protocol(place.root)).rstrip("/")
    for path, info in sorted(place.fs.find(bare, detail=True, withdirs=False).items()):
        name = path[len(bare) :].lstrip("/")
        if name and not passing(name):
            yield Entry(name, info.get("size") or 0)


def _of_folder(root: str, below: str) -> Iterator[Entry]:
    folder = f"{root}/{below}" if below else root
    try:
        with os.scandir(folder) as found:
            here = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return  # removed meanwhile
    except OSError as error:
        yield Entry(below, 0, f"a folder that can't be looked into ({error.strerror}); mend its rights")
        return
    for entry in here:
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if not _kept_by_cache(folder, entry.name):
                yield from _of_folder(root, name)
        elif not passing(name):
            if entry.is_symlink() and _met_anyway(root, name):
                continue
            problem, size = _look(entry.path, root, name)
            if size >= 0:
                yield Entry(name, size, problem)


def _look(path: str, root: str = "", name: str = "") -> tuple[str | None, int]:
    """What is in the way of reading a path, and its bytes; -1 where it is gone."""
    link = os.path.islink(path)
    try:
        found = os.stat(path)
    except OSError:
        return ("a link to nothing; put the file itself there", 0) if link else (None, -1)
    if link and name and not leads_inside(root, name):
        target = shown(os.path.realpath(path))
        return f"a link to {target}, outside of what was named; put the file itself there (`cp -rL`)", 0
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind:
        return f"{kind}, not a file; move it away", 0
    if shown(path) != path:
        return "its name is not UTF-8; rename it", found.st_size
    return None, found.st_size


def _met_anyway(root: str, name: str) -> bool:
    """Whether a link leads to something below the root that is met under its own name."""
    real, base = os.path.realpath(f"{root}/{name}"), os.path.realpath(root)
    return real.startswith(base + "/") and os.path.exists(real) and not _in_cache(f"{root}/{name}", real)


def _in_cache(path: str, real: str) -> bool:
    blobs = blobs_of(path)
    return blobs is not None and real.startswith(os.path.realpath(blobs) + "/")


def _kept_by_cache(folder: str, name: str) -> bool:
    """Whether a folder is one of a Hugging Face cache that its snapshots lead to."""
    return name in ("blobs", "refs") and os.path.basename(folder).startswith(_CACHES)
