"""Figures between two reports."""

import math
import time
from collections.abc import Mapping
from contextlib import contextmanager

from torch import Tensor

from lwd_core.rl.compute.parallel import mean


class Window:
    """Means of scalars between two calls of the reporter, with the time they took."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._updates = 0
        self._waited = 0.0
        self._begin = time.perf_counter()

    @contextmanager
    def waiting(self):
        """Time spent in here is waiting for data."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    def add(self, info: Mapping[str, Tensor]) -> None:
        self._updates += 1
        for name, value in info.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def close(self, more: Mapping[str, Tensor]) -> dict[str, float]:
        """Means since the last call; ``more`` as it is. Not-a-number is left out."""
        seconds = time.perf_counter() - self._begin
        means = {name: float(mean(total)) / self._counts[name] for name, total in self._sums.items()}
        means |= {name: float(value) for name, value in more.items()}
        means |= {"updates_per_s": self._updates / seconds, "data_wait_share": self._waited / seconds}
        self.__init__()
        return {name: value for name, value in means.items() if math.isfinite(value)}
