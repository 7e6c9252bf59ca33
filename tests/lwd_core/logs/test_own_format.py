"""Readers made of one function: the same rows as by the platform's own way in."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lwd_core.logs import faults, read
from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.formats import FORMATS
from lwd_core.logs.own_format import ArrayReader, MessageReader
from lwd_core.logs.source import LogSource
from lwd_core.logs.tabular import TabularEpisode
from tests.lwd_core.logs.robot_logs import PERIOD, START, Sink
from tests.packages import Install

TEXT = """\
name: arm
control_hz: 50
state:
  - {topic: state, field: FIELD, dims: [{name: a}, {name: b}]}
action:
  - {topic: action, field: FIELD, dims: [{name: u}]}
cameras:
  - {name: wrist, topic: wrist, required: false}
"""
ROWS, TOPICS = (parse_embodiment(TEXT.replace("FIELD", field)) for field in ('""', "values"))


def episodes(source: LogSource) -> Iterator[TabularEpisode]:
    for n in (4, 3):
        columns = {"state": np.arange(2.0 * n).reshape(n, 2), "action": np.full((n, 1), n)}
        images = {"wrist": lambda n=n: [b"\xff\xd8" + bytes([n])] + [None] * (n - 1)}
        yield TabularEpisode(
            columns, frames=images, facts={"task": f"t{n}", "outcome": "success", "lot": "7"}
        )


def messages(source: LogSource) -> Iterator:
    for i in range(20):
        t = START + i * PERIOD
        yield "state", t, {"values": [float(i), -float(i)]}
        if i % 5 == 0:
            yield "wrist", t, {"data": b"\xff\xd8" + bytes([i])}
        yield "action", t + 1_000_000, {"values": np.array([0.5 * i])}


@pytest.fixture
def source(tmp_path) -> LogSource:
    (tmp_path / "a.own").write_bytes(b"OWN")
    return LogSource(str(tmp_path / "a.own"))


ARRAYS = ArrayReader("own", lambda source, head: head == b"OWN", episodes)
MESSAGES = MessageReader(
    "own", lambda source, head: head == b"OWN", messages, lambda source: {"task": "move"}
)


def test_arrays_are_episodes_at_the_embodiments_rate(source: LogSource) -> None:
    sink = Sink()
    content = ARRAYS.read(source, ROWS, sink)
    first, second = content.episodes
    assert (content.format, content.messages, content.salvaged) == ("own", 7, None)
    assert (first.task, first.outcome, first.attributes["lot"], first.actions) == ("t4", "success", "7", 4)
    assert (second.first_message, second.last_message) == (4, 6)
    assert first.steps["t_ns"].to_pylist()[:4] == [0, PERIOD, 2 * PERIOD, 3 * PERIOD]
    assert second.steps["state"].to_pylist()[:2] == [[0, 1], [2, 3]]
    assert [data for _, _, data in sink.frames] == [b"\xff\xd8\x04", b"\xff\xd8\x03"]


def test_messages_are_aligned_as_those_of_a_container(source: LogSource) -> None:
    sink = Sink()
    content = MESSAGES.read(source, TOPICS, sink)
    (episode,) = content.episodes
    assert (content.messages, episode.task, content.messages_lost) == (44, "move", 0)
    assert episode.steps["state"].to_pylist()[3] == [3, -3]
    assert episode.steps["action"].to_pylist()[3] == [1.5]
    assert len(sink.frames) == 4


@pytest.mark.parametrize("reader", [ARRAYS, MESSAGES])
def test_a_draft_is_made_of_either(reader, source: LogSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwd_core.logs.draft.infer.reader_of", lambda source: reader)
    draft = infer(source, "mine")
    assert [len(f.dims) for f in draft.state] == [2]
    assert [f.topic for f in draft.action] == ["action"]


@pytest.mark.parametrize("whole", [0, 1])
def test_what_came_before_the_damage_is_salvaged(source: LogSource, whole: int) -> None:
    def damaged(source: LogSource) -> Iterator[TabularEpisode]:
        yield from list(episodes(source))[:whole]
        raise UnreadableLog("cut off")

    reader = ArrayReader("own", lambda *_: True, damaged)
    if not whole:
        with pytest.raises(UnreadableLog, match="cut off"):
            reader.read(source, ROWS, Sink())
        return
    content = reader.read(source, ROWS, Sink())
    assert (len(content.episodes), content.salvaged, content.messages_lost) == (1, "cut off", None)


def test_what_tells_a_format_apart_and_what_reads_it_have_one_name() -> None:
    assert list(FORMATS) == list(read.READERS.own)
    assert [reader.format for _, reader in read.READERS.all()][: len(FORMATS)] == list(FORMATS)


def test_a_reader_that_fails_leaves_the_log_to_the_next(install: Install, tmp_path: Path) -> None:
    install("acme", "raise SystemExit", readers={"acme": "acme:READER"})
    mine = "from lwd_core.extend import ArrayReader as A\nREADER = A('mine', lambda s, h: h[0] == 109, iter)"
    install("mine", mine, readers={"mine": "mine:READER"})
    for name in ("mine.log", "other.log"):
        (tmp_path / name).write_text(name)
    assert read.reader_of(LogSource(str(tmp_path / "mine.log"))).format == "mine"
    with pytest.raises(faults.ReaderFault, match=r"acme 1\.2"):
        read.reader_of(LogSource(str(tmp_path / "other.log")))
