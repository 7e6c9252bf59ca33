"""A look through a message log: when each topic spoke, and some of what it said.

A log's first messages are often not like the others (a driver that starts empty, a second driver that joins
later), so what is kept of a topic is its beginning and a fair draw from the rest.
"""

from array import array
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np

from lwd_core.logs.clock import COLLAPSED_NS
from lwd_core.logs.fields import NO_STAMP, HeaderStamps
from lwd_core.logs.stream import MessageStream, decoder_of

_FIRST, _DRAWN = 120, 120  # messages kept of a topic: from its beginning, from the rest
_KEPT_BYTES = 8 << 20  # of one topic
_MESSAGES, _BYTES = 1_000_000, 4 << 30  # looked at in all


@dataclass(frozen=True)
class Sample:
    """What was seen of a topic.

    ``times`` (N,) int64 ns and ``index`` (N,), the place in the log, of every message looked at. ``messages``
    are the decoded ones of those kept, ``at`` (M,) their places in ``times``; ``fault`` says why others
    cannot be decoded. ``clock`` is what ``times`` are: ``header`` where the log's own are collapsed (all
    written in one go) and the sensors' stamps of the messages kept tell better.
    """

    schema: str
    times: np.ndarray
    index: np.ndarray
    messages: list[Any]
    at: np.ndarray
    fault: str | None = None
    clock: str = "log"

    @property
    def hz(self) -> float:
        """Its usual rate, 0 where it has none."""
        return rate(self.times)

    @property
    def span(self) -> int:
        """ns from the earliest to the latest message."""
        return int(self.times.max() - self.times.min()) if len(self.times) else 0

    def within(self, first: int, stop: int) -> "Sample":
        """The same of the messages with numbers in [first, stop) of the log; those kept stay all."""
        here = (self.index >= first) & (self.index < stop)
        return replace(self, times=self.times[here], index=self.index[here])


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


def look(stream: MessageStream) -> tuple[dict[str, Sample], bool]:
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


def _decoded(stream: MessageStream, kept: _Kept) -> Sample:
    messages, at, fault, stamp_of = [], [], None, HeaderStamps()
    decoders = {number: decoder_of(stream.channels[number][1]) for number in {n for _, n, _ in kept.kept}}
    for place, number, payload in sorted(kept.kept, key=lambda one: one[0]):
        try:
            messages.append(decoders[number](payload))
            at.append(place)
        except Exception as e:  # a topic nobody can decode is still a topic
            fault = fault or str(e)[:300] or type(e).__name__
    times, index = (np.array(a, dtype=np.int64) for a in (kept.times, kept.index))
    clock, places = "log", np.array(at, dtype=np.int64)
    if len(times) >= 10 and np.median(np.abs(np.diff(times))) < COLLAPSED_NS:
        stamps = np.array([stamp_of(message) for message in messages], dtype=np.int64)
        if len(stamps) > 2 and (stamps != NO_STAMP).all() and (np.diff(stamps) > COLLAPSED_NS).all():
            times = np.interp(np.arange(len(times)), places, stamps - stamps[0]).astype(np.int64) + stamps[0]
            clock = "header"
    return Sample(kept.schema, times, index, messages, places, fault, clock)
