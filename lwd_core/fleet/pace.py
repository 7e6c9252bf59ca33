"""A fixed rate, kept and measured; and a watch over whoever keeps it."""

import threading
import time
from array import array
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

import numpy as np

_NS = 1_000_000_000


class Timekeeper(Protocol):
    """The time that a robot lives by; a test has one in which nobody waits."""

    def now_ns(self) -> int:
        """Of the clock on the wall, ns since epoch: what stamps say."""
        ...

    def monotonic_ns(self) -> int:
        """Of a clock that is never set: what the rate is kept by."""
        ...

    def sleep_ns(self, duration: int) -> None:
        """Let so much time pass."""
        ...


class WallTime:
    """The machine's own; implements ``Timekeeper``."""

    def now_ns(self) -> int:
        """``time.time_ns()``."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """``time.monotonic_ns()``."""
        return time.monotonic_ns()

    def sleep_ns(self, duration: int) -> None:
        """``time.sleep``."""
        time.sleep(duration / _NS)


class LeapTime:
    """A time in which nobody waits: who sleeps wakes at once, and so much later; implements ``Timekeeper``.

    What it stamps begins at ``start_ns``. For simulated robots, and for tests.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns, self._passed = start_ns, 0

    def now_ns(self) -> int:
        """The start, and what was slept since."""
        return self._start_ns + self._passed

    def monotonic_ns(self) -> int:
        """What was slept since the start."""
        return self._passed

    def sleep_ns(self, duration: int) -> None:
        """So much has passed."""
        self._passed += max(0, duration)


class Pace:
    """Ticks of ``hz``, by absolute times: a late one does not make the next ones late.

    A tick is *late* by the time it begins after it was due. One whose work ended after the next was due has
    *overrun*; ticks that were due meanwhile are left out, never made up for in a burst.
    """

    def __init__(self, hz: float, keeper: Timekeeper) -> None:
        self.period_ns = round(_NS / hz)
        self._keeper = keeper
        self._due = keeper.monotonic_ns()
        self._late = array("q")
        self.overruns = self.skipped = 0

    def start(self) -> None:
        """The next tick is due now; what was measured is forgotten."""
        self._due = self._keeper.monotonic_ns()
        del self._late[:]
        self.overruns = self.skipped = 0

    def wait(self) -> int:
        """Until the next tick is due; returns how late it begins, ns."""
        ahead = self._due - self._keeper.monotonic_ns()
        if ahead > 0:
            self._keeper.sleep_ns(ahead)
        elif ahead < 0 and len(self._late):
            self.overruns += 1
            missed = -ahead // self.period_ns
            self.skipped += missed
            self._due += missed * self.period_ns
        late = max(0, self._keeper.monotonic_ns() - self._due)
        self._late.append(late)
        self._due += self.period_ns
        return late

    def measured(self) -> Mapping[str, str]:
        """For an episode's log: P50, P99 and most of how late ticks began, microseconds; overruns, ticks left
        out."""
        late = np.array(self._late if len(self._late) else [0]) / 1e3
        p50, p99, most = np.quantile(late, [0.5, 0.99, 1.0])
        return {
            "jitter_us_p50": f"{p50:.0f}",
            "jitter_us_p99": f"{p99:.0f}",
            "jitter_us_most": f"{most:.0f}",
            "overruns": str(self.overruns),
            "skipped_ticks": str(self.skipped),
        }


class Watchdog:
    """Calls ``stop`` from a thread of its own when it was not fed for ``after_s``; a context.

    What hangs in a driver is stopped so. A process that dies, or a library that holds the interpreter's lock,
    is not: against that a robot's controller needs a time-out of its own.
    """

    def __init__(self, stop: Callable[[], None], after_s: float) -> None:
        self._stop, self._after_s = stop, after_s
        self._fed = time.monotonic()
        self._over = threading.Event()
        self.tripped = False
        self._thread = threading.Thread(target=self._watch, name="lwd-watchdog", daemon=True)

    def feed(self) -> None:
        """All is well."""
        self._fed = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(max(self._after_s / 5, 0.001)):
            if time.monotonic() - self._fed > self._after_s and not self._over.is_set():
                self.tripped = True
                self._stop()
                return

    def __enter__(self) -> Self:
        self.feed()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(self._after_s)
