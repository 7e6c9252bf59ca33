"""From step to shards: one pool that holds everything, or one after the other.

A set within the memory limit is one pool. A larger one is streamed: each epoch permutes the shards and
cuts them into pools; a pool gives as many batches as its steps fill, then the next takes over.
"""

import threading
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from lwd_core.loader.order import shuffled


@dataclass(frozen=True)
class Span:
    """Steps [begin, end) are drawn from the shards of one pool; ``epoch`` and ``turn`` number it."""

    epoch: int
    turn: int
    begin: int
    end: int
    shards: tuple[str, ...]


class SpanSchedule:
    """The spans of a set whose shards have so many ``rows`` and action ``steps``, by name.

    A batch takes ``steps_a_batch`` of them; a pool holds about ``pool_rows`` rows, None: all. Where
    ``endless``, one pool that holds all is never at its end.
    """

    def __init__(
        self,
        seed: int,
        rows: Mapping[str, int],
        steps: Mapping[str, int],
        steps_a_batch: int,
        pool_rows: int | None,
        *,
        endless: bool,
    ) -> None:
        self._seed, self._rows, self._steps = seed, rows, steps
        self._steps_a_batch, self._pool_rows = steps_a_batch, pool_rows
        self._endless = endless and pool_rows is None
        self._epochs: list[list[Span]] = []
        self._lock = threading.Lock()

    def span(self, step: int) -> Span:
        """The span ``step`` lies in."""
        if self._endless:
            return Span(0, 0, 0, 2**62, tuple(self._rows))
        with self._lock:
            while not self._epochs or self._epochs[-1][-1].end <= step:
                self._epochs.append(self._epoch(len(self._epochs)))
        epoch = self._epochs[bisect_right([e[0].begin for e in self._epochs], step) - 1]
        return epoch[bisect_right([s.begin for s in epoch], step) - 1]

    def _epoch(self, number: int) -> list[Span]:
        begin = self._epochs[-1][-1].end if self._epochs else 0
        spans = []
        for turn, shards in enumerate(self._pools(number)):
            batches = max(1, sum(self._steps[name] for name in shards) // self._steps_a_batch)
            spans.append(Span(number, turn, begin, begin + batches, tuple(sorted(shards))))
            begin += batches
        return spans

    def _pools(self, epoch: int) -> list[list[str]]:
        names = list(self._rows)
        if self._pool_rows is None:
            return [names]
        groups: list[list[str]] = [[]]
        held = 0
        for i in shuffled(self._seed, "shards", (epoch, 0), len(names)):
            if groups[-1] and held + self._rows[names[i]] > self._pool_rows:
                groups.append([])
                held = 0
            groups[-1].append(names[i])
            held += self._rows[names[i]]
        return groups
