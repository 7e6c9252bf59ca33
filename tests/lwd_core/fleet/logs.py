"""Read a robot's log with the reference library, knowing nothing of the platform's readers."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory


class Log:
    """Everything in one log: messages by topic in order, metadata, counts of chunks."""

    def __init__(self, path: Path | str) -> None:
        self.messages: dict[str, list[Any]] = defaultdict(list)
        self.times: dict[str, list[int]] = defaultdict(list)
        with open(path, "rb") as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
            self.profile = reader.get_header().profile
            self.metadata = {m.name: m.metadata for m in reader.iter_metadata()}
            summary = reader.get_summary()
            assert summary is not None
            self.compression = {c.compression for c in summary.chunk_indexes}
            for _, channel, raw, message in reader.iter_decoded_messages():
                self.messages[channel.topic].append(message)
                self.times[channel.topic].append(raw.log_time)

    @property
    def counts(self) -> Counter[str]:
        return Counter({topic: len(found) for topic, found in self.messages.items()})

    @property
    def events(self) -> list[str]:
        return [event.kind for event in self.messages["/event"]]

    def attributes(self, kind: str) -> dict[str, str]:
        return next(dict(e.attributes) for e in self.messages["/event"] if e.kind == kind)
