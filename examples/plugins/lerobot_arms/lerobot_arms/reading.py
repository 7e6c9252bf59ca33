"""A device read by a thread of its own, so that a control loop waits for none."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from lwd_core import UserError

T = TypeVar("T")
_PAUSE_S = 0.001  # at least so long between two reads, for whoever else wants the bus


class Newest(Generic[T]):
    """What ``read(t_ns)`` gave last, asked for ``hz`` times a second; ``t_ns`` is when the reading began.

    A reading that fails is tried again; only when nothing new has come for ``most_s`` is it an error.
    """

    def __init__(self, read: Callable[[int], T], hz: float, who: str, most_s: float) -> None:
        self._read, self._period, self._who, self._most_s = read, 1 / hz, who, most_s
        self._ends, self._first = threading.Event(), threading.Event()
        self._newest: tuple[T, int, float] | None = None
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"reads {who}", daemon=True)

    def start(self, most_s: float = 5.0) -> None:
        """Read on; returns when there is a first reading. Raises `UserError` where none comes."""
        self._thread.start()
        if not self._first.wait(most_s):
            raise UserError(f"{self._who}: no reading within {most_s:g} s ({self._why()})")

    def get(self) -> tuple[T, int]:
        """The newest reading and its stamp. Raises `UserError` where it is too old."""
        if self._newest is None or time.monotonic() - self._newest[2] > self._most_s:
            raise UserError(f"{self._who}: no reading for {self._most_s * 1e3:.0f} ms ({self._why()})")
        return self._newest[0], self._newest[1]

    def close(self) -> None:
        """Read no more; waits a second for a reading that is under way."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _why(self) -> str:
        return f"{type(self._fault).__name__}: {self._fault}" if self._fault else "its driver hangs"

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ends.is_set():
            t_ns, began = time.time_ns(), time.monotonic()
            try:
                self._newest, self._fault = (self._read(t_ns), t_ns, began), None
                self._first.set()
            except Exception as fault:  # whatever a driver raises; `get` tells it
                self._fault = fault
            due = max(due + self._period, time.monotonic())
            self._ends.wait(max(due - time.monotonic(), _PAUSE_S))
