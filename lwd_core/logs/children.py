"""Work on raw logs in processes of their own, with limits: what a log does to its reader stays there.

A log is a stranger's bytes, and small ones can ask for more memory or time than there is. Each is given to
a warm child; one that dies, or takes more than a log of its size may, is that log's fault and is told as
`Lost`. The next log finds a fresh child. Children end with their parent, however that ends.
"""

import atexit
import contextlib
import fcntl
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self, TypeVar

from fsspec.config import conf

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.faults import lacked_memory

T = TypeVar("T")

#: A small log may take so much memory (bytes, the whole process) and time (s) …
MEMORY, SECONDS = 1_750_000_000, 45.0
#: … a large one so many bytes a byte, and seconds a megabyte.
MEMORY_A_BYTE, SECONDS_A_MB = 16, 10.0
#: However large a log, something of the machine's memory is left to others.
MEMORY_SHARE = 0.75
START_S = 120.0
_PREFIX, _SAID = "lwd-reader-", "said"
_TOLD = 4000  # bytes of a dead child's last words
# pyarrow's own allocator maps a gigabyte ahead, which would count as taken
_PLAIN = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
_BOOT = "import sys; sys.path[:] = {path!r}; from lwd_core.logs.child import serve; serve(*{fds})"


class Lost(UnreadableLog):
    """The child (``pid``) that worked on a log died or was ended; ``told`` is what it said last."""

    told: str = ""
    pid: int = 0


@dataclass(frozen=True)
class ChildLimits:
    """Memory (bytes) of the whole child, and time (s), of the work on one log.

    No file that it writes, on its way to a shard or unpacked for a library, gets larger than that memory.
    """

    memory: int
    seconds: float

    @classmethod
    def of(cls, size: int) -> Self:
        """The limits of a log of ``size`` bytes."""
        most = int(MEMORY_SHARE * _machine_memory())
        memory = min(max(MEMORY, MEMORY_A_BYTE * size), most)
        return cls(memory, max(SECONDS, SECONDS_A_MB * size / 1e6))

    @property
    def too_much(self) -> str:
        """What is said of a log that asked for more memory, or room on disk to unpack itself."""
        return f"reading it took more than {self.memory / 1e9:.3g} GB"


@cache
def _machine_memory() -> int:
    """Bytes that this machine, or the container on it, has."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(found, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control group, or one without a limit
        return found


@dataclass(frozen=True)
class ChildCall:
    """A call of a module's function, within limits."""

    limits: ChildLimits
    function: Callable[..., Any]
    args: tuple[Any, ...]


@cache
def _sweep() -> None:
    """Remove the folders of children whose parents were killed; the living hold a lock on a file there."""
    for said in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_SAID}"):
        with contextlib.suppress(OSError), open(said, "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(said.parent, ignore_errors=True)


class _Child:
    """One process that works on what it is given, one thing after another. Used by one thread at a time."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        _sweep()
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)  # what it leaves there is removed
        self._said = open(f"{self._folder.name}/new", "wb+")  # noqa: SIM115 - closed by `close`
        with contextlib.suppress(OSError):  # a disk that knows no locks
            fcntl.flock(self._said, fcntl.LOCK_EX)
            os.rename(self._said.name, f"{self._folder.name}/{_SAID}")
        hear, answer = os.pipe()
        request, tell = os.pipe()
        until, self._lifeline = os.pipe()
        theirs = (request, answer, until)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT.format(path=sys.path, fds=theirs)],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=theirs,
                env=self.environment | _PLAIN | {"TMPDIR": self._folder.name},
            )
        finally:
            for line in theirs:
                os.close(line)
        self._tell = Connection(tell, readable=False)
        self._hear = Connection(hear, writable=False)
        self._ready = False
        self.fresh = True

    def ask(self, jobs: Sequence[ChildCall]) -> Iterator[tuple[bool, Any]]:
        """The result of each job in turn, and whether it is one: else it is what the job raised.

        Raises `Lost` in place of the result of the job that this child died of; it is no good then.
        """
        if not self._ready:
            self._await_start()
        request = [(job.limits.memory, job.function, job.args) for job in jobs]
        for i, job in enumerate(jobs):
            start = os.fstat(self._said.fileno()).st_size
            try:
                if i == 0:
                    self._tell.send_bytes(pickle.dumps((dict(conf), request), protocol=5))
                if not self._hear.poll(job.limits.seconds):
                    why = f"reading it took more than {job.limits.seconds:.0f} s"
                    raise self._lost(start, job.limits, why)
                good, self.fresh, result = pickle.loads(self._hear.recv_bytes())
            except (EOFError, ConnectionError):
                raise self._lost(start, job.limits) from None
            if isinstance(result, MemoryError):
                raise self._lost(start, job.limits, job.limits.too_much)
            yield good, result

    def _await_start(self) -> None:
        try:
            if self._hear.poll(START_S):
                self._hear.recv_bytes()
                self._ready = True
                return
        except EOFError:
            pass
        self._process.kill()
        self._process.wait()
        raise RuntimeError(f"a process that reads logs can't be started: {self._words(0).strip()}")

    def _lost(self, start: int, limits: ChildLimits, why: str = "") -> Lost:
        """Of what this child died, or is ended for: ``why``, or what its end tells."""
        if why:
            self._process.kill()
        code = self._process.wait()
        told = self._words(start)
        if not why and lacked_memory(told):
            why = limits.too_much
        if not why:
            hint = ", out of memory?" if code == -signal.SIGKILL else ""
            why = f"the reader died ({f'signal {-code}' if code < 0 else f'code {code}'}{hint})"
        lost = Lost(why)
        lost.told, lost.pid = told, self._process.pid
        return lost

    def _words(self, start: int) -> str:
        size = os.fstat(self._said.fileno()).st_size
        at = max(start, size - _TOLD)
        return os.pread(self._said.fileno(), size - at, at).decode(errors="replace")

    def end(self) -> None:
        """Kill it, whatever it does; what waits for its answer meets `Lost`."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it and let its lines go."""
        self.end()
        for line in (self._tell, self._hear, self._said):
            line.close()
        os.close(self._lifeline)
        self._folder.cleanup()


_idle: list[_Child] = []
_lock = threading.Lock()


def _warm() -> _Child:
    """An idle child that knows today's environment, else a new one."""
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None:
            return _Child()
        if child._process.poll() is None and child.environment == os.environ:
            return child
        child.close()


def _end_all() -> None:
    while _idle:
        _idle.pop().close()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_idle.clear)  # they are the parent's


class Children:
    """So many children at work at once. A context: left by an error, it ends them at their work.

    They stay warm for the next who comes.
    """

    def __init__(self, count: int = 1) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="lwd-reader")
        self._free: queue.SimpleQueue[_Child | None] = queue.SimpleQueue()
        self._busy: set[_Child] = set()
        self._stopped = False
        for _ in range(count):
            self._free.put(None)

    def submit(self, jobs: Sequence[ChildCall]) -> list[Future[Any]]:
        """Have one child do these one after another. A future raises what its job raises, or `Lost`.

        Many small jobs at once cost less than one by one.
        """
        futures: list[Future[Any]] = [Future() for _ in jobs]
        self._threads.submit(self._work, jobs, futures)
        return futures

    def _work(self, jobs: Sequence[ChildCall], futures: Sequence[Future[Any]]) -> None:
        done = 0
        while done < len(jobs):
            child = None
            try:
                if self._stopped:
                    raise Lost("reading was stopped")
                child = self._free.get() or _warm()
                self._busy.add(child)
                for good, result in child.ask(jobs[done:]):
                    done += 1
                    if good:
                        futures[done - 1].set_result(result)
                    else:
                        futures[done - 1].set_exception(result)
            except BaseException as error:
                futures[done].set_exception(error)
                done += 1
                if child is not None:
                    child.fresh = False
            if child is not None:
                self._busy.discard(child)
                if not child.fresh:
                    child.close()
                self._free.put(child if child.fresh else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self._stopped = True
            for child in list(self._busy):
                child.end()
        self._threads.shutdown(cancel_futures=True)
        with _lock:
            while not self._free.empty():
                if child := self._free.get():
                    _idle.append(child)


def apart(size: int, function: Callable[..., T], *args: Any) -> T:
    """Call a function of a module in a child, with the limits of a log of ``size`` bytes.

    Raises what it raises, and `Lost` (an `UnreadableLog`) where the child dies or takes too much.
    """
    with Children() as children:
        (future,) = children.submit([ChildCall(ChildLimits.of(size), function, args)])
        return future.result()
