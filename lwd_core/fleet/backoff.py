"""When something that failed is tried again: after a minute, then twice as long each time, up to ten."""

from collections.abc import Hashable
from dataclasses import dataclass

FIRST_S, MOST_S = 60, 600
_NS = 1_000_000_000


@dataclass(frozen=True)
class _Failure:
    at_ns: int
    wait_ns: int


class Backoff:
    """What failed and was refused, so that it is not fetched and read again at every look."""

    def __init__(self) -> None:
        self._failures: dict[Hashable, _Failure] = {}

    def waits(self, what: Hashable, now_ns: int) -> bool:
        """Whether it failed so lately that it isn't tried now."""
        failure = self._failures.get(what)
        # a clock that was put back makes nobody wait for it to come again
        return failure is not None and 0 <= now_ns - failure.at_ns < failure.wait_ns

    def failed(self, what: Hashable, now_ns: int) -> None:
        """It was tried, in vain."""
        before = self._failures.get(what)
        wait_ns = FIRST_S * _NS if before is None else min(2 * before.wait_ns, MOST_S * _NS)
        self._failures[what] = _Failure(now_ns, wait_ns)

    def forget(self) -> None:
        """Try everything again: something changed that may have mended it."""
        self._failures.clear()
