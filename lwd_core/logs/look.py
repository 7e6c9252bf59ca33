"""A look through a message log: when each topic spoke, and some of what it said.

A log's first messages are often not like the others (a driver that starts empty, a second driver that joins
later), so what is kept of a topic is its beginning and a fair draw from the rest.
"""

from array import array
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from lwd_core.logs.stream import MessageStream, decoder_of

_FIRST, _DRAWN = 120, 120  # messages kept of a topic: from its beginning, from the rest
_KEPT_BYTES = 8 << 20  # of one topic
_MESSAGES, _BYTES = 1_000_000, 4 << 30  # looked at in all


@dataclass(frozen=True)
class Seen:
    """What was seen of a topic.

    ``times`` (N,) int64 ns and ``index`` (N,), the place in the log, of every message looked at. ``messages``
    are the decoded ones of those kept, ``at`` (M,) their places in ``times``; ``fault`` says why others
    cannot be decoded.
    """

    schema: str
    times: np.ndarray
    index: np.ndarray
    messages: list[Any]
    at: np.ndarray
    fault: str | None = None

    @property
    def gaps(self) -> np.ndarray:
        """Positive time between messages, ns."""
        gaps = np.diff(self.times)
        return gaps[gaps > 0]

    @property
    def hz(self) -> float:
        """Its usual rate, 0 where it has none."""
        return rate(self.times)

    @property
    def span(self) -> int:
        """ns from the earliest to the latest message."""
        return int(self.times.max() - self.times.min()) if len(self.times) else 0


def rate(times: np.ndarray) -> float:
    """Messages a second by the median gap, 0 where there is none."""
    gaps = np.diff(times)
    gaps = gaps[gaps > 0]
    return 1e9 / float(np.median(gaps)) if len(gaps) else 0.0


@dataclass
class _Kept:
    """One topic while the log is read."""

    schema: str
    times: array = field(default_factory=lambda: array("q"))
    index: array = field(default_factory=lambda: array("q"))
    kept: list[tuple[int, int, bytes]] = field(default_factory=list)  # place, channel, payload
    size: int = 0

    def take(self, log: int, index: int, channel: int, payload: Any, draw: Random) -> None:
        place = len(self.times)
        self.times.append(log)
        self.index.append(index)
        if len(self.kept) < _FIRST + _DRAWN and (self.size < _KEPT_BYTES or place < 4):
            self.kept.append((place, channel, bytes(payload)))  # kept longer than the payload lives
            self.size += len(payload)
        elif self.size < _KEPT_BYTES and (slot := draw.randrange(place + 1)) < _DRAWN:
            self.kept[_FIRST + slot] = (place, channel, bytes(payload))


def look(stream: MessageStream) -> tuple[dict[str, Seen], bool]:
    """What each topic holds, by topic, and whether the whole log was looked through."""
    found: dict[str, _Kept] = {}
    draw, size, whole = Random(0), 0, True
    for number, log, _, payload in stream.messages():
        size += len(payload)
        if stream.count > _MESSAGES or size > _BYTES:
            whole = False
            break
        if not 0 <= log < 1 << 63:
            continue
        topic, encoding = stream.channels[number]
        if topic not in found:
            found[topic] = _Kept(encoding.name)
        found[topic].take(log, stream.count - 1, number, payload, draw)
    for topic, encoding in stream.channels.values():
        found.setdefault(topic, _Kept(encoding.name))
    return {topic: _decoded(stream, kept) for topic, kept in found.items()}, whole


def _decoded(stream: MessageStream, kept: _Kept) -> Seen:
    messages, at, fault = [], [], None
    decoders = {number: decoder_of(stream.channels[number][1]) for number in {n for _, n, _ in kept.kept}}
    for place, number, payload in sorted(kept.kept, key=lambda one: one[0]):
        try:
            messages.append(decoders[number](payload))
            at.append(place)
        except Exception as e:  # a topic nobody can decode is still a topic
            fault = fault or str(e)[:300] or type(e).__name__
    times, index = (np.array(a, dtype=np.int64) for a in (kept.times, kept.index))
    return Seen(kept.schema, times, index, messages, np.array(at, dtype=np.int64), fault)
