"""Every layout MCAP allows gives the same messages."""

import io
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import CompressionType, IndexType, Writer

from lwd_core.logs.readers.mcap import McapReader
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import saved
from tests.lwd_core.logs.samples import sample

VARIANTS = Path("mcap/conformance/verified")
COMPRESSIONS = (CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD)


def read(uri: str) -> tuple[list[tuple[int, int, int, bytes]], dict[int, Any], dict[str, str]]:
    with McapReader().stream(LogSource(uri)) as stream:
        messages = [(*m[:3], bytes(m[3])) for m in stream.messages()]
        assert stream.damage == []
        assert stream.lost == 0
        assert stream.count == len(messages)
        return messages, dict(stream.channels), dict(stream.facts)


def expected(path: Path) -> tuple[list[Any], dict[int, Any], dict[str, str]]:
    messages, channels, schemas, facts = [], {}, {}, {}
    for record in json.loads(path.read_text())["records"]:
        f = dict(record["fields"])
        if record["type"] == "Message":
            data = bytes(int(b) for b in f["data"])
            messages.append((int(f["channel_id"]), int(f["log_time"]), int(f["publish_time"]), data))
        elif record["type"] == "Schema":
            schemas[int(f["id"])] = (f["encoding"], f["name"], bytes(int(b) for b in f["data"]))
        elif record["type"] == "Channel":
            channels[int(f["id"])] = (f["topic"], f["message_encoding"], int(f["schema_id"]))
        elif record["type"] == "Metadata":
            facts |= f["metadata"]
    described = {n: (topic, (e, *schemas[s])) for n, (topic, e, s) in channels.items()}
    return messages, described, facts


def test_every_published_variant_reads_as_its_json_says():
    folder = sample(str(VARIANTS))
    files = sorted(folder.rglob("*.mcap"))
    assert len(files) == 106
    for file in files:
        messages, channels, facts = read(str(file))
        want_messages, want_channels, want_facts = expected(file.with_suffix(".json"))
        assert messages == want_messages, file.name
        seen = {n: (t, (e.message, e.schema, e.name, e.text)) for n, (t, e) in channels.items()}
        assert seen == want_channels, file.name
        assert facts == want_facts, file.name
        survey = McapReader().survey(LogSource(str(file)))
        assert set(survey.topics) == {t for t, _ in want_channels.values()}, file.name


@pytest.mark.parametrize(("chunked", "compression"), list(product((True, False), COMPRESSIONS)))
def test_every_layout_of_a_file_reads_alike(tmp_path: Path, chunked: bool, compression: CompressionType):
    whole = None
    for repeated, indexed, counted, crcs in product((True, False), repeat=4):
        buffer = io.BytesIO()
        writer = Writer(
            buffer,
            chunk_size=256,
            compression=compression,
            use_chunking=chunked,
            index_types=IndexType.ALL if indexed else IndexType.NONE,
            repeat_channels=repeated,
            repeat_schemas=repeated,
            use_statistics=counted,
            use_summary_offsets=indexed,
            enable_crcs=crcs,
            enable_data_crcs=crcs,
        )
        writer.start()
        writer.add_metadata("about", {"robot_id": "r1"})
        schema = writer.register_schema("Example", "jsonschema", b"{}")
        channels = [writer.register_channel(f"/{k}", "json", schema) for k in "ab"]
        for i in range(50):
            writer.add_message(channels[i % 2], i, b'{"i": %d}' % i, i + 1)
        writer.finish()
        uri = saved(tmp_path, buffer.getvalue())
        messages, described, facts = read(uri)
        assert len(messages) == 50
        assert messages[7] == (channels[1], 7, 8, b'{"i": 7}')
        assert facts == {"robot_id": "r1"}
        whole = whole or (messages, described)
        assert (messages, described) == whole
        survey = McapReader().survey(LogSource(uri))
        assert set(survey.topics) == {"/a", "/b"}
        assert survey.facts == {"robot_id": "r1"}
