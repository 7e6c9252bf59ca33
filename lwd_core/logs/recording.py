"""What a message log holds of an embodiment: one series a use of a topic, with all three times.

The readers of MCAP and of bags fill a `MessageLog`; cutting into episodes and alignment start from it.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lwd_core.logs import fields
from lwd_core.logs.content import FrameSink
from lwd_core.logs.footage import Footage
from lwd_core.logs.images import VideoFrame, image
from storage_schemas.embodiment import Camera, Embodiment, Feature

I64_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class Series:
    """Messages of one use of one topic, in file order.

    ``log``, ``publish``, ``header`` are (N,) int64 ns; `fields.NO_STAMP` where a header has none.
    ``index`` counts all messages of the log. ``values`` is (N, D) float64 for vectors, else N objects.
    """

    log: np.ndarray
    publish: np.ndarray
    header: np.ndarray
    index: np.ndarray
    values: Any

    def __len__(self) -> int:
        return len(self.log)


@dataclass(frozen=True)
class Frames:
    """Values of a camera's series: where the sink put each frame."""

    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class MessageLog:
    """A message log, read. ``facts`` are what it says of itself (robot_id, site, software).

    ``cut``: its clock was set after its last message; there it did not end.
    """

    format: str
    messages: int
    facts: Mapping[str, str]
    state: tuple[Series, ...]
    action: tuple[Series, ...]
    proposed: tuple[Series, ...]
    cameras: Mapping[str, Series]
    actor: Series | None
    events: Series | None
    outcome: Series | None
    flag: Series | None
    ticks: Series | None
    messages_lost: int | None = 0
    salvaged: str | None = None
    notes: tuple[str, ...] = ()
    cut: bool = False


class _Column:
    """A growing series, packed: a two-hour log has more numbers than Python objects would fit."""

    def __init__(
        self,
        take: Callable[[Any], Any],
        width: int = 0,
        put: Callable[[int, Any], Any] | None = None,
    ) -> None:
        """``width``: of a vector, 0 for any object. ``put``: what becomes of a value at its log time."""
        self._take, self._width, self._put = take, width, put
        self._log, self._publish, self._header, self._index = (array("q") for _ in range(4))
        self._numbers = array("d")
        self._objects: list[Any] = []

    def read(self, message: Any) -> Any:
        """The column's value in a message. Raises `FieldMissing`, or whatever foreign content leads to."""
        value = self._take(message)
        if not self._width:
            return value
        if len(value) != self._width or isinstance(value, str | bytes | bytearray):
            raise fields.FieldMissing(f"{len(value)} values where {self._width} are needed")
        try:
            return array("d", value)
        except TypeError:  # JSON has no NaN: what is null is no number
            return array("d", (float("nan") if v is None else v for v in value))

    def add(self, log: int, publish: int, header: int, index: int, value: Any) -> None:
        if self._put is not None:
            value = self._put(log, value)
        if self._width:
            self._numbers.extend(value)
        else:
            self._objects.append(value)
        self._log.append(log)
        self._publish.append(publish)
        self._header.append(header)
        self._index.append(index)

    def series(self) -> Series:
        values: Any = self._objects
        if self._width:
            values = np.frombuffer(self._numbers, dtype=np.float64).reshape(-1, self._width)
        stamps = (self._log, self._publish, self._header, self._index)
        log, publish, header, index = (np.frombuffer(s, dtype=np.int64) for s in stamps)
        return Series(log, publish, header, index, values)


class _Camera(_Column):
    """A camera's frames: pictures as they come, or a video that is decoded on the way."""

    def __init__(self, camera: Camera, put: Callable[[int, Any], Any]) -> None:
        super().__init__(image(camera.field), put=put)
        self.footage: Footage[tuple[int, int, int, int]] | None = None

    def read(self, message: Any) -> bytes | VideoFrame:
        try:
            return super().read(message)
        except VideoFrame as frame:
            return frame

    def add(self, log: int, publish: int, header: int, index: int, value: Any) -> None:
        stamps = (log, publish, header, index)
        if not isinstance(value, VideoFrame):
            super().add(*stamps, value)
            return
        if self.footage is None:
            self.footage = Footage(value.codec)
        for its, picture in self.footage.feed(value.data, stamps):
            super().add(*its, picture)

    def finish(self) -> None:
        for its, picture in self.footage.flush() if self.footage else ():
            super().add(*its, picture)


class RecordingBuilder:
    """Collects what an embodiment wants from messages handed over in file order.

    A message whose payload does not decode, or lacks a wanted field, is left out and counted; what
    the topic, or the message for another use, otherwise holds is kept.
    """

    def __init__(self, embodiment: Embodiment, frames: FrameSink) -> None:
        self._columns: dict[tuple[str, Any], _Column] = {}
        self._by_topic: dict[str, list[_Column]] = defaultdict(list)
        self._faults: dict[tuple[str, str], tuple[int, str]] = {}
        self._elsewhere: dict[str, tuple[int, str]] = {}
        self._seen: dict[str, int] = defaultdict(int)
        self._stamp = fields.HeaderStamps()
        self._embodiment = embodiment
        self._wider: dict[tuple[str, str], tuple[str, int, Counter[int]]] = {}
        ends = fields.mapped((*embodiment.state, *embodiment.action, *embodiment.proposed))
        for kind in ("state", "action", "proposed"):
            for i, feature in enumerate(getattr(embodiment, kind)):
                end = ends.get((feature.topic, feature.field), 0)
                take = fields.vector(feature, end, self._wider_of(kind, feature, end))
                self._want(kind, i, feature.topic, take, width=len(feature.dims))
        for camera in embodiment.cameras:
            put = partial(frames.put, camera.name)  # at once: only a frame's place stays in memory
            self._add("cameras", camera.name, camera.topic, _Camera(camera, put))
        actor, events = embodiment.actor, embodiment.events
        if actor.topic:
            paths = [actor.field, actor.operator, actor.policy]
            self._want("actor", None, actor.topic, _texts(paths))
        if events:
            self._want("events", None, events.topic, _event(events.kind, events.attributes))
        if embodiment.outcome.topic:
            self._want("outcome", None, embodiment.outcome.topic, _texts([embodiment.outcome.field]))
        if embodiment.episodes.topic:
            self._want("flag", None, embodiment.episodes.topic, _texts([embodiment.episodes.field]))
        if embodiment.time.ticks and not any(f.topic == embodiment.time.ticks for f in embodiment.state):
            self._want("ticks", None, embodiment.time.ticks, lambda message: None)

    def _want(self, use: str, key: Any, topic: str, take: Callable[[Any], Any], **options: Any) -> None:
        self._add(use, key, topic, _Column(take, **options))

    def _add(self, use: str, key: Any, topic: str, column: _Column) -> None:
        self._columns[use, key] = column
        self._by_topic[topic].append(column)

    @property
    def topics(self) -> frozenset[str]:
        """Topics worth decoding."""
        return frozenset(self._by_topic)

    def add(
        self, topic: str, log: int, publish: int, index: int, decode: Callable[[Any], Any], payload: Any
    ) -> None:
        """Take one message; ``decode`` makes of its payload what paths lead into, and may raise anything."""
        if not 0 <= log <= I64_MAX or not 0 <= publish <= I64_MAX:
            self._seen[topic] += 1
            self._fault(topic, "stamp beyond the range of int64 ns")
            return
        self._seen[topic] += 1
        try:
            message = decode(payload)
            header = self._stamp(message)
        except Exception as e:  # a foreign payload fails in as many ways as there are decoders
            self._fault(topic, _words(e))
            return
        taken, why, apart = 0, "", None
        for column in self._by_topic[topic]:  # what a message lacks for one use it may have for another
            try:
                value = column.read(message)
            except fields.Elsewhere as e:
                apart = e
                continue
            except Exception as e:
                why = _words(e)
                continue
            column.add(log, publish, header, index, value)  # a sink that fails is not the log's fault
            taken += 1
        if why:
            self._fault(topic, why, "left out in part" if taken else "left out")
        elif apart and not taken and isinstance(apart, fields.NotNamed):
            count, first = self._elsewhere.get(topic, (0, str(apart)[:200]))
            self._elsewhere[topic] = (count + 1, first)
        elif apart and not taken:
            self._fault(topic, _words(apart))

    def _fault(self, topic: str, reason: str, what: str = "left out") -> None:
        count, first = self._faults.get((topic, what), (0, reason))
        self._faults[topic, what] = (count + 1, first)

    @property
    def damage(self) -> tuple[str, ...]:
        """What was left out, by topic, with the first reason."""
        broken = (f"{camera}: {f.damage}" for camera, f in self._footage() if f.damage)
        return (
            *(
                f"{topic}: {count} of {self._seen[topic]} messages {what} ({why})"
                for (topic, what), (count, why) in sorted(self._faults.items())
            ),
            *broken,
        )

    def _footage(self) -> list[tuple[str, Footage]]:
        return [
            (f"camera {key}", column.footage)
            for (_, key), column in self._columns.items()
            if isinstance(column, _Camera) and column.footage
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """The damage, and what is of another driver."""
        apart = (
            f"{topic}: {count} of {self._seen[topic]} messages hold nothing that is wanted ({why})"
            for topic, (count, why) in sorted(self._elsewhere.items())
        )
        return (*self.damage, *apart, *(f"{camera}: {f.note}" for camera, f in self._footage()))

    def _wider_of(self, kind: str, feature: Feature, end: int) -> Callable[[int], None]:
        """Counts vectors by width; of several features of one vector the first counts."""
        place = feature.topic, feature.field
        if place in self._wider:
            return lambda width: None
        widths: Counter[int] = Counter()
        self._wider[place] = (kind, end, widths)
        return lambda width: widths.update((width,))

    @property
    def wider(self) -> tuple[str, ...]:
        """Vectors that go on behind what the embodiment maps of them."""
        return tuple(
            f"{kind} {topic}: {count} of {self._seen[topic]} messages have {width} values, {end} are mapped"
            for (topic, _), (kind, end, widths) in self._wider.items()
            for width, count in sorted(widths.items())
        )

    def recording(self, damage: Iterable[str] = (), remarks: Iterable[str] = (), **facts: Any) -> MessageLog:
        """Everything taken so far.

        ``damage`` is the container's, ``remarks`` are further notes, ``facts`` the Recording's other fields.
        """

        for column in self._columns.values():
            if isinstance(column, _Camera):
                column.finish()

        def all_of(use: str) -> tuple[Series, ...]:
            return tuple(c.series() for (u, _), c in self._columns.items() if u == use)

        def one_of(use: str) -> Series | None:
            return next(iter(all_of(use)), None)

        ticks = one_of("ticks")
        for feature, series in zip(self._embodiment.state, all_of("state"), strict=True):
            if ticks is None and feature.topic == self._embodiment.time.ticks:
                ticks = series
        return MessageLog(
            state=all_of("state"),
            action=all_of("action"),
            proposed=all_of("proposed"),
            cameras={k: _framed(c.series()) for (u, k), c in self._columns.items() if u == "cameras"},
            actor=one_of("actor"),
            events=one_of("events"),
            outcome=one_of("outcome"),
            flag=one_of("flag"),
            ticks=ticks,
            salvaged="; ".join((*damage, *self.damage)) or None,
            notes=(*self.notes, *self.wider, *remarks),
            **facts,
        )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _framed(series: Series) -> Series:
    shard, offset, size = zip(*series.values, strict=True) if series.values else ((), (), ())
    frames = Frames(
        np.asarray(shard, dtype=object), np.asarray(offset, dtype=np.int64), np.asarray(size, dtype=np.int64)
    )
    return Series(series.log, series.publish, series.header, series.index, frames)


def _texts(paths: Iterable[str | None]) -> Callable[[Any], tuple[str, ...]]:
    getters = [fields.getter(p) if p is not None else None for p in paths]
    return lambda message: tuple(fields.text(g(message)) if g else "" for g in getters)


def _event(kind: str, attributes: str | None) -> Callable[[Any], tuple[str, dict[str, str]]]:
    kind_of = fields.getter(kind)
    attributes_of = fields.getter(attributes) if attributes else None

    def take(message: Any) -> tuple[str, dict[str, str]]:
        said: Mapping[str, Any] | Sequence[Any] = attributes_of(message) if attributes_of else {}
        pairs = said.items() if isinstance(said, Mapping) else ()
        return fields.text(kind_of(message)), {str(k): fields.text(v) for k, v in pairs}

    return take
