"""How long robots wait: quantiles over the last answers, and counts of all."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

#: Answers that quantiles are over: at ten a second and robot, the last minutes of a few.
LAST = 10_000


def _last() -> "deque[float]":
    return deque(maxlen=LAST)


@dataclass
class Waits:
    """Milliseconds of the last answers."""

    values: "deque[float]" = field(default_factory=_last)

    def add(self, seconds: float) -> None:
        """One more."""
        self.values.append(1e3 * seconds)

    def quantiles(self) -> dict[str, float]:
        """``p50``, ``p99`` in milliseconds and the number ``n`` they are over; of nothing, n alone."""
        if not self.values:
            return {"n": 0}
        half, most = np.quantile(np.fromiter(self.values, float), [0.5, 0.99])
        return {"p50": round(float(half), 3), "p99": round(float(most), 3), "n": len(self.values)}


@dataclass
class Served:
    """What a server did: ``latency`` from a message's last byte to its answer's first, ``infer`` the
    policy's part of it."""

    latency: Waits = field(default_factory=Waits)
    infer: Waits = field(default_factory=Waits)
    answers: int = 0
    refused: int = 0
    batches: int = 0
    connections: int = 0
    turned_away: int = 0

    def facts(self) -> dict[str, object]:
        """As plain values."""
        return {
            "answers": self.answers,
            "refused": self.refused,
            "connections": self.connections,
            "turned_away": self.turned_away,
            "batches": self.batches,
            "robots_a_batch": round(self.answers / self.batches, 2) if self.batches else 0.0,
            "latency_ms": self.latency.quantiles(),
            "infer_ms": self.infer.quantiles(),
        }

    def line(self) -> str:
        """The same for a person."""
        waits = self.latency.quantiles()
        wait = f"latency P50 {waits['p50']:.1f} ms, P99 {waits['p99']:.1f} ms" if waits["n"] else "no latency"
        return (
            f"{self.answers} answers, {wait} (last {waits['n']}), {self.refused} refused, "
            f"{self.facts()['robots_a_batch']} robots a batch, {self.connections} connections, "
            f"{self.turned_away} turned away"
        )
