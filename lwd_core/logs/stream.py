"""Message containers behind one shape: channels, messages in file order, and what was damaged.

MCAP files, ROS 1 bags and rosbag2 folders differ only in how they get here.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from lwd_core.logs.content import FrameSink
from lwd_core.logs.decode import Decoder, Encoding, NoDecoder, decoder
from lwd_core.logs.metadata import episode_facts
from lwd_core.logs.recording import MessageLog, RecordingBuilder
from lwd_core.logs.survey import Survey, Topic
from storage_schemas.embodiment import Embodiment

Message = tuple[int, int, int, Any]  # channel, log ns, publish ns, payload: made too often for a class


class MessageStream(Protocol):
    """One pass over a container. Everything but `messages` is filled in on the way."""

    @property
    def channels(self) -> Mapping[int, tuple[str, Encoding]]:
        """Topic and encoding by channel number."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What the log says of itself."""
        ...

    @property
    def records(self) -> Mapping[str, str]:
        """The same by the metadata record it stands in: ``record.key``."""
        ...

    @property
    def damage(self) -> list[str]:
        """What was wrong, in words; empty for a whole log."""
        ...

    @property
    def count(self) -> int:
        """Messages seen."""
        ...

    @property
    def lost(self) -> int | None:
        """Messages known to be lost, None where that can't be known."""
        ...

    def messages(self) -> Iterator[Message]:
        """Every message that can be trusted, in file order; its channel is known when it comes.

        A payload is good until the next message is asked for.
        """
        ...


def record(stream: MessageStream, embodiment: Embodiment, frames: FrameSink, log_format: str) -> MessageLog:
    """Everything of a container that an embodiment wants."""
    recorder = RecordingBuilder(embodiment, frames)
    wanted: dict[int, tuple[str, Decoder] | None] = {}
    for number, log, publish, payload in stream.messages():
        known = wanted.get(number, ...)
        if known is ...:
            topic, encoding = stream.channels[number]
            known = (topic, decoder_of(encoding)) if topic in recorder.topics else None
            wanted[number] = known
        if known is not None:
            topic, decode = known
            recorder.add(topic, log, publish, stream.count - 1, decode, payload)
    facts, notes = episode_facts(stream.facts, stream.records, embodiment)
    return recorder.recording(
        format=log_format,
        messages=stream.count,
        facts=facts,
        remarks=notes,
        messages_lost=stream.lost,
        damage=stream.damage,
    )


def survey(stream: MessageStream) -> Survey:
    """Topics and facts by reading the whole container."""
    counts: dict[int, int] = {}
    for number, *_ in stream.messages():
        counts[number] = counts.get(number, 0) + 1
    return Survey(topics(stream.channels, counts), dict(stream.facts))


def topics(channels: Mapping[int, tuple[str, Encoding]], counts: Mapping[int, int]) -> dict[str, Topic]:
    """Channels by topic; several channels may share one."""
    found: dict[str, Topic] = {}
    for number, (topic, encoding) in channels.items():
        before = found[topic].messages if topic in found else 0
        found[topic] = Topic(encoding.name, encoding.message, before + int(counts.get(number, 0)))
    return found


def decoder_of(encoding: Encoding) -> Decoder:
    """A decoder, or one that says at every message why there is none."""
    try:
        return decoder(encoding)
    except NoDecoder as e:
        reason = str(e)

        def fail(_payload: Any) -> Any:
            raise NoDecoder(reason)

        return fail
