"""Files of a bucket on local disk, as many as a limit allows."""

import hashlib
import os
import shutil
import threading
import uuid
from pathlib import Path
from tempfile import gettempdir
from typing import BinaryIO

from lwd_core.settings import Settings
from lwd_core.storage.location import Location

_CHUNK = 1 << 23
#: Folder of fetched objects below ``cache_home``.
OBJECTS = "objects"


def cache_home() -> Path:
    """Folder of this machine's caches of what lies in buckets; deleting it is always safe."""
    home = Settings().home
    return Path(gettempdir(), "lwd-cache") if "://" in home else Path(home) / "cache"


def cache_folder(place: Location, digest: str) -> Path:
    """Where a snapshot's cache lies: beside it, or under LWD_HOME if it lies in a bucket."""
    return (cache_home() if place.remote else Path(place.root) / ".cache") / digest


def drop_cache(place: Location, digest: str) -> None:
    """Delete what is cached of a snapshot here; readers that have it open keep their bytes until they end."""
    shutil.rmtree(cache_folder(place, digest), ignore_errors=True)
    if place.remote:
        shutil.rmtree(cache_home() / OBJECTS, ignore_errors=True)


class DiskCache:
    """Whole objects under ``folder``, the least recently used given up once ``limit`` bytes are exceeded.

    The object just fetched always stays, so the folder holds at most ``limit`` bytes or one object, plus
    downloads under way, one a thread. Objects must never change under their name. Several processes may share
    a folder: a file another one removes stays readable to whoever has it open.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._lock = threading.Lock()
        self._evict(keep="")

    def open(self, place: Location, path: str) -> BinaryIO:
        """The local copy of an object below ``place``, open. FileNotFoundError if there is no such object."""
        local, fetched = self._local(place, path), False
        while True:
            try:
                stream = local.open("rb")
            except FileNotFoundError:  # never fetched, or given up by another thread or process
                self._download(place, path, local)
                fetched = True
                continue
            os.utime(stream.fileno())
            if fetched:
                with self._lock:
                    self._evict(keep=local.name)
            return stream

    def forget(self, place: Location, path: str) -> None:
        """Give up the local copy, if there is one."""
        self._local(place, path).unlink(missing_ok=True)

    def _local(self, place: Location, path: str) -> Path:
        return self.folder / hashlib.sha256(f"{place.root}\n{path}".encode()).hexdigest()[:32]

    def _download(self, place: Location, path: str, local: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = local.with_name(f".{uuid.uuid4().hex[:12]}.part")
        try:
            with place.fs.open(place.path(path), "rb") as source, temporary.open("wb") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
            os.replace(temporary, local)
        finally:
            temporary.unlink(missing_ok=True)

    def _evict(self, keep: str) -> None:
        files = []
        for file in self.folder.glob("[0-9a-f]*"):
            try:
                stat = file.stat()
            except FileNotFoundError:
                continue
            files.append((file.name == keep, stat.st_mtime_ns, stat.st_size, file))
        held = sum(size for _, _, size, _ in files)
        for kept, _, size, file in sorted(files):
            if held <= self.limit or kept:
                return
            file.unlink(missing_ok=True)
            held -= size
