"""One process at a time under a name, in a folder or a bucket; it ends with the process, however that ends.

In a folder the system's own lock (flock), which dies with its holder. In a bucket a lease: a holder creates
the next of the objects ``.locks/<name>/<generation>`` by conditional put and writes it anew every few
seconds. Who finds a lease waits until it was not renewed for its whole term, by its own clock, before it
takes the next generation: clocks of two machines are never compared. A holder that was away for longer finds
the generation after its own, and stops.
"""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from lwd_core.errors import UserError
from lwd_core.storage.conditional import put_new
from lwd_core.storage.location import Location

#: A lease not renewed for so long has no holder any more.
TERM_S = 30.0
FOLDER = ".locks"


class Lock(Protocol):
    """What its holder may ask."""

    def check(self) -> None:
        """Raise UserError where somebody else has taken the name: then nothing may be written under it."""
        ...


@contextmanager
def locked(place: Location, name: str, what: str, *, term_s: float | None = None) -> Iterator[Lock]:
    """Hold ``name`` below ``place`` for the length of a block.

    Raises UserError, which begins with ``what``, where another process holds it.
    """
    if not place.remote:
        with _flock(Path(place.path(FOLDER)), name, what):
            yield _Held()
        return
    lease = _Lease(place, name, what, TERM_S if term_s is None else term_s)
    lease.take()
    try:
        yield lease
    finally:
        lease.release()


class _Held:
    def check(self) -> None:
        """The system keeps others out."""


@contextmanager
def _flock(folder: Path, name: str, what: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _busy(what, file.read(200).decode("utf-8", "replace")) from None
        file.truncate(0)
        file.write(_me().encode())
        file.flush()
        yield
        file.truncate(0)


class _Lease:
    def __init__(self, place: Location, name: str, what: str, term_s: float) -> None:
        self._place, self._name, self._what, self._term_s = place, name, what, term_s
        self._token, self._beats, self._generation = uuid.uuid4().hex, 0, 0
        self._done, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {name}", daemon=True)

    def take(self) -> None:
        """Become the holder. Raises UserError while somebody else is."""
        newest = self._wait()
        self._generation = newest + 1
        if not put_new(self._place, self._object(self._generation), self._content()):
            raise _busy(self._what, self._read(self._generation).get("holder", ""))
        for old in self._generations():
            if old < self._generation:
                self._place.remove(self._object(old))
        self._thread.start()

    def check(self) -> None:
        """Ask the store, for this process may have slept."""
        if not self._lost.is_set() and any(other > self._generation for other in self._generations()):
            self._lost.set()
        if self._lost.is_set():
            raise UserError(
                f"{self._what}: another process took it over while this one was silent for "
                f"{self._term_s:g} s; nothing more is written here"
            )

    def release(self) -> None:
        """Let the next one begin at once."""
        self._done.set()
        self._thread.join()
        if not self._lost.is_set():
            with suppress(OSError):  # then it runs out by itself
                self._beat(free=True)

    def _wait(self) -> int:
        """The newest generation, once it has no holder."""
        seen: dict[str, str] | None = None
        since = time.monotonic()
        while True:
            newest = max(self._generations(), default=0)
            lease = self._read(newest) if newest else {"free": "yes"}
            if lease.get("free"):
                return newest
            if lease != seen and seen is not None:
                raise _busy(self._what, lease.get("holder", ""))
            if seen is not None and time.monotonic() - since > self._term_s:
                return newest
            seen = lease
            time.sleep(self._term_s / 10)

    def _renew(self) -> None:
        while not self._done.wait(self._term_s / 3):
            try:
                self.check()
                self._beat()
            except UserError:
                return
            except OSError:
                continue  # the store doesn't answer; whoever takes over meanwhile is seen later

    def _beat(self, *, free: bool = False) -> None:
        self._beats += 1
        with self._place.write(self._object(self._generation)) as file:
            file.write(self._content(free=free))

    def _content(self, *, free: bool = False) -> bytes:
        content = {"token": self._token, "beat": str(self._beats), "holder": _me()}
        return json.dumps(content | ({"free": "yes"} if free else {})).encode()

    def _object(self, generation: int) -> str:
        return f"{FOLDER}/{self._name}/{generation:08d}"

    def _generations(self) -> list[int]:
        folder = self._place.path(FOLDER, self._name)
        try:
            names = self._place.fs.ls(folder, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return [int(last) for name in names if (last := name.rsplit("/", 1)[-1]).isdecimal()]

    def _read(self, generation: int) -> dict[str, str]:
        try:
            return json.loads(self._place.read(self._object(generation)))
        except (FileNotFoundError, ValueError):
            return {}


def _me() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return f"process {os.getpid()} on {socket.gethostname()}, since {since}"


def _busy(what: str, holder: str) -> UserError:
    return UserError(
        f"{what}: another process holds it ({holder or 'it does not say which'}); wait or stop it"
    )
