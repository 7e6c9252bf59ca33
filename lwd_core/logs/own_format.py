"""A reader of one's own from one function: episodes as arrays, or a log's messages one by one.

The embodiment file maps columns, or topics, and everything behind that is the platform's: rate, gaps, actors,
outcomes, drafts.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from lwd_core.logs import stream
from lwd_core.logs.content import FrameSink, LogContent, UnreadableLog
from lwd_core.logs.decode import Encoding
from lwd_core.logs.episodes import content_of
from lwd_core.logs.metadata import episode_facts
from lwd_core.logs.notes import Notes
from lwd_core.logs.recording import RecordingBuilder
from lwd_core.logs.source import LogSource
from lwd_core.logs.survey import Survey, Topic
from lwd_core.logs.tabular import TabularEpisode, tabular_content
from storage_schemas.embodiment import Embodiment

Recognises = Callable[[LogSource, bytes], bool]
#: Topic, the stamp (int64 ns), and what paths of the embodiment file lead into: ``{"values": [.1, .2]}``.
Message = tuple[str, int, Mapping[str, Any]]


@dataclass(frozen=True)
class ArrayReader:
    """Reads logs that are rows already, one a control tick; implements `lwd_core.logs.read.LogReader`.

    ``episodes(source)`` yields each episode's columns; a *topic* of the embodiment file is a column. It is
    called once for a survey, whose columns and ``robot_id``, ``embodiment`` and ``robot_type`` are the first
    episode's, and once to read. Where it raises `UnreadableLog` after some episodes, those are salvaged.
    """

    format: str
    recognises: Recognises
    episodes: Callable[[LogSource], Iterable[TabularEpisode]]

    def survey(self, source: LogSource) -> Survey:
        """The first episode's columns."""
        first = next(iter(self.episodes(source)), None)
        if first is None:
            raise UnreadableLog("it holds no episode")
        topics = {name: _topic(column) for name, column in first.columns.items()}
        cameras = {name: Topic("image", "bytes", len(first)) for name in first.frames}
        return Survey(topics | cameras, _of_all(first.facts))

    def peek(self, source: LogSource, episodes: int) -> list[dict[str, np.ndarray]]:
        """Number columns of the first episodes."""
        return [
            {k: v for k, v in rows.columns.items() if v.dtype.kind in "bifu"}
            for rows in islice(self.episodes(source), episodes)
        ]

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The log's episodes. Raises `UnreadableLog` where none can be read."""
        damage = Notes()
        sets = _until_damaged(self.episodes(source), damage)
        return tabular_content(sets, embodiment, frames, self.format, damage, Notes())


@dataclass(frozen=True)
class MessageReader:
    """Reads logs that are messages, each topic at its rate; implements `lwd_core.logs.read.LogReader`.

    ``messages(source)`` yields them in the order they were written; a camera's hold the encoded image under
    the field that the embodiment file names (``data``). Where it raises `UnreadableLog` after some, those are
    salvaged. ``facts(source)`` is what the log says of itself: robot_id, embodiment, task, outcome, …
    """

    format: str
    recognises: Recognises
    messages: Callable[[LogSource], Iterable[Message]]
    facts: Callable[[LogSource], Mapping[str, str]] = field(default=lambda source: {})

    def survey(self, source: LogSource) -> Survey:
        """Topics by reading the whole log."""
        with self.stream(source) as messages:
            return stream.survey(messages)

    def read(self, source: LogSource, embodiment: Embodiment, frames: FrameSink) -> LogContent:
        """The log's episodes. Raises `UnreadableLog` where nothing can be read."""
        recorder, damage, count = RecordingBuilder(embodiment, frames), Notes(), 0
        for topic, t_ns, message in _until_damaged(self.messages(source), damage):
            if topic in recorder.topics:
                recorder.add(topic, t_ns, t_ns, count, lambda whole: whole, message)
            count += 1
        facts, remarks = episode_facts(self.facts(source), {}, embodiment)
        lost = None if damage else 0
        recording = recorder.recording(
            damage.lines, remarks, format=self.format, messages=count, facts=facts, messages_lost=lost
        )
        return content_of(recording, embodiment)

    @contextmanager
    def stream(self, source: LogSource) -> Iterator[stream.MessageStream]:
        """The messages as JSON, for a draft."""
        yield _AsJson(self.messages(source), self.facts(source))


class _AsJson:
    """Messages of Python values as those of a container; implements `stream.MessageStream`."""

    def __init__(self, messages: Iterable[Message], facts: Mapping[str, str]) -> None:
        self._messages, self.facts, self._damage = messages, facts, Notes()
        self.records: dict[str, str] = {}
        self.channels: dict[int, tuple[str, Encoding]] = {}
        self.count = 0

    @property
    def damage(self) -> list[str]:
        return list(self._damage.lines)

    @property
    def lost(self) -> int | None:
        return None if self._damage else 0

    def messages(self) -> Iterator[stream.Message]:
        numbers: dict[str, int] = {}
        for topic, t_ns, message in _until_damaged(self._messages, self._damage):
            number = numbers.setdefault(topic, len(numbers))
            self.channels.setdefault(number, (topic, Encoding("json", "", "", b"")))
            self.count += 1
            yield number, t_ns, t_ns, json.dumps(message, default=_plain).encode()


def _until_damaged(items: Iterable[Any], damage: Notes) -> Iterator[Any]:
    """What comes before it can't go on; nothing at all is for the caller to hear of."""
    some = False
    try:
        for item in items:
            yield item
            some = True
    except UnreadableLog as e:
        if not some:
            raise
        damage.add(str(e))


def _topic(column: np.ndarray) -> Topic:
    return Topic(str(column.dtype), "array", len(column), int(column[0].size) if len(column) else None)


def _of_all(said: Mapping[str, str]) -> dict[str, str]:
    return {k: said[k] for k in ("robot_id", "embodiment", "robot_type") if k in said}


def _plain(value: Any) -> Any:
    """Arrays as lists, images as text, as JSON holds them."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
