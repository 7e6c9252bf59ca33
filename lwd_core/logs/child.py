"""The child's side of `lwd_core.logs.children`: what it is asked it does under a limit of memory."""

import contextlib
import faulthandler
import fcntl
import gc
import importlib
import os
import pickle
import resource
import select
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from fsspec.config import conf

from lwd_core.logs.faults import out_of_room

#: Imported before the first log comes.
WARM = ("lwd_core.ingest.staging", "lwd_core.logs.read")
#: A child that keeps more than this (bytes) is replaced, lest it count against the logs to come.
KEPT = 700_000_000


def serve(requests: int, replies: int, lifeline: int) -> None:
    """Answer what comes on the one pipe by the other, until the parent's end closes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent's to obey; it says when to end
        signal.signal(number, signal.SIG_IGN)
    _end_with(lifeline)
    faulthandler.enable()
    for name in WARM:
        importlib.import_module(name)
    gc.freeze()
    hear, tell = Connection(requests, writable=False), Connection(replies, readable=False)
    tell.send_bytes(b"")
    while True:
        try:
            request = hear.recv_bytes()
        except (EOFError, ConnectionError):
            return
        settings, jobs = pickle.loads(request)
        conf.update(settings)
        for memory, function, args in jobs:
            tell.send_bytes(_answer(memory, function, args))


def _end_with(lifeline: int) -> None:
    """Nothing is ever written on this pipe, so that word on it is its end: the parent's.

    The kernel then ends this process by SIGIO, also in the midst of a library that never returns to Python.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        raise SystemExit(1)


def _answer(memory: int, function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    try:
        with _at_most(memory):
            good, result = True, _call(function, args)
    except Exception as error:
        good, result = False, error
    try:
        return pickle.dumps((good, data_bytes() < KEPT, result), protocol=5)
    except Exception as error:  # an exception that can't be sent, or no memory left to send it
        plain = RuntimeError(f"{type(result).__name__}: {result}"[:2000])
        return pickle.dumps((False, False, error if isinstance(error, MemoryError) else plain))


def _call(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except Exception as error:
        if out_of_room(error):  # a reader may have taken it for the log's damage
            raise MemoryError from None
        raise


@contextlib.contextmanager
def _at_most(memory: int) -> Iterator[None]:
    """Data of this process (heap and private mappings, not files mapped) stays below so many bytes.

    Address space would be the wrong measure: libraries reserve far more of it than they use.
    """
    limits = {kind: resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)}
    for kind, hard in limits.items():
        with contextlib.suppress(OSError, ValueError):  # a system that knows no such limit, or a lower one
            resource.setrlimit(kind, (memory, hard))
    try:
        yield
    finally:
        for kind, hard in limits.items():
            resource.setrlimit(kind, (hard, hard))


def data_bytes() -> int:
    """What counts against the limit, now; 0 where the system doesn't say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[5]) * resource.getpagesize()
    except OSError:
        return 0
