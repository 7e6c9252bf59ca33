"""When something that failed is tried again: after a minute, then twice as long each time, up to ten."""

from collections.abc import Hashable
from dataclasses import dataclass

FIRST_S, MOST_S = 60, 600
_NS = 1_000_000_000


@dataclass(frozen=True)
class _Refusal:
    at_ns: int
    wait_ns: int


class Refusals:
    """What failed and was refused, so that it is not fetched and read again at every look."""

    def __init__(self) -> None:
        self._refused: dict[Hashable, _Refusal] = {}

    def waits(self, what: Hashable, now_ns: int) -> bool:
        """Whether it failed so lately that it isn't tried now."""
        refusal = self._refused.get(what)
        # a clock that was put back makes nobody wait for it to come again
        return refusal is not None and 0 <= now_ns - refusal.at_ns < refusal.wait_ns

    def add(self, what: Hashable, now_ns: int) -> None:
        """It was tried, in vain."""
        before = self._refused.get(what)
        wait_ns = FIRST_S * _NS if before is None else min(2 * before.wait_ns, MOST_S * _NS)
        self._refused[what] = _Refusal(now_ns, wait_ns)

    def forget(self) -> None:
        """Try everything again: something changed that may have mended it."""
        self._refused.clear()
