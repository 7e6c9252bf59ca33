import io
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.records import ChunkIndex

from lwd_core.logs.content import SEGMENTS_READ, STEPS_READ, LogContent, UnreadableLog
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from tests.lwd_core.logs.robot_logs import (
    ARM,
    PERIOD,
    START,
    Log,
    Sink,
    episode_log,
    picture,
    saved,
    vectors,
    write_episode,
)


def read(tmp_path: Path, data: bytes, sink: Sink | None = None) -> LogContent:
    return read_log(LogSource(saved(tmp_path, data)), {"arm": ARM}, sink or Sink())


def chunks_of(data: bytes) -> list[ChunkIndex]:
    summary = make_reader(io.BytesIO(data)).get_summary()
    assert summary is not None
    return summary.chunk_indexes


def matrix(column: object, rows: int) -> np.ndarray:
    return np.array(column.to_pylist()[:rows])  # type: ignore[attr-defined]


def test_synchronous_ticks_come_back_exactly(tmp_path: Path):
    content = read(tmp_path, episode_log(40))
    assert (content.salvaged, content.messages_lost, content.notes) == (None, 0, ())
    assert content.messages == 40 * 4 + 1 + 3
    (episode,) = content.episodes
    steps = episode.steps
    state, executed, proposed = vectors(40)
    assert steps.schema == STEPS_READ
    assert episode.segments.schema == SEGMENTS_READ
    assert steps.num_rows == 41
    assert episode.actions == 40
    np.testing.assert_array_equal(matrix(steps["state"], 41), state)
    np.testing.assert_array_equal(matrix(steps["action"], 40), executed)
    np.testing.assert_array_equal(matrix(steps["proposed"], 40), proposed)
    assert steps["action"][40].as_py() == []
    assert steps["proposed"][40].as_py() is None
    assert steps["t_ns"].to_pylist() == [START + i * PERIOD for i in range(41)]
    assert steps["publish_ns"][3].as_py() == START + 3 * PERIOD - 500
    assert steps["header_ns"][3].as_py() == START + 3 * PERIOD - 1000
    assert set(steps["valid"].to_pylist()) == {True}
    assert set(steps["gap"].to_pylist()) == {False}
    assert set(steps["state_age_ns"].to_pylist()) == {0}


def test_facts_of_the_episode(tmp_path: Path):
    (episode,) = read(tmp_path, episode_log(40, outcome="failure", end="truncated")).episodes
    assert (episode.robot_id, episode.site, episode.policy_id) == ("r1", "lab", "p1")
    assert (episode.task, episode.instruction, episode.source) == ("stack", "please stack", "rollout")
    assert (episode.outcome, episode.outcome_from, episode.end) == ("failure", "robot", "truncated")
    assert episode.attributes == {"seed": "0", "software": "7"}


def test_interventions_become_segments(tmp_path: Path):
    (episode,) = read(tmp_path, episode_log(40, human=lambda i: 10 <= i < 25)).episodes
    rows = episode.segments.to_pylist()
    assert [(r["kind"], r["first_step"], r["last_step"]) for r in rows] == [
        ("autonomous", 0, 9),
        ("intervention", 10, 24),
        ("autonomous", 25, 39),
    ]
    assert [(r["who"], r["reason"]) for r in rows] == [("p1", None), ("ann", "no_progress"), ("p1", None)]
    assert episode.steps["actor"].to_pylist()[9:11] == ["policy", "human"]


def test_frames_keep_their_bytes_and_are_shown_until_the_next_or_stale(tmp_path: Path):
    sink = Sink()
    (episode,) = read(tmp_path, episode_log(40, camera_every=20), sink).episodes
    assert [(c, t) for c, t, _ in sink.frames] == [("wrist", START), ("wrist", START + 20 * PERIOD)]
    assert sink.frames[1][2] == picture(20)
    shown = episode.steps["frames"].to_pylist()
    place = {"shard": "shard-0.tar", "offset": 0, "size": len(picture(0))}
    assert shown[0] == [{"camera": "wrist", **place, "t_ns": START}]
    assert shown[10] == shown[0]
    assert shown[11] == []  # 220 ms old, 200 ms stated
    assert shown[20][0]["offset"] == len(picture(0))


def test_many_episodes_in_one_log(tmp_path: Path):
    log = Log({"embodiment": "arm"})
    for k in range(3):
        write_episode(log, 10 + k, start=START + k * 10**9, seed=k, task=f"t{k}")
    episodes = read(tmp_path, log.finish()).episodes
    assert [e.task for e in episodes] == ["t0", "t1", "t2"]
    assert [e.index_in_log for e in episodes] == [0, 1, 2]
    assert [e.actions for e in episodes] == [10, 11, 12]
    assert [e.steps.num_rows for e in episodes] == [11, 12, 13]
    assert episodes[0].last_message < episodes[1].first_message


def test_without_a_final_state_there_is_no_last_row(tmp_path: Path):
    (episode,) = read(tmp_path, episode_log(12, final_state=False)).episodes
    assert episode.steps.num_rows == 12
    assert episode.steps["action"][11].as_py() != []


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_log_gives_what_it_holds(tmp_path: Path, share: float):
    whole = episode_log(400)
    chunks = chunks_of(whole)
    cut = int(len(chunks) * share)
    content = read(tmp_path, whole[: chunks[cut].chunk_start_offset + 100])
    (episode,) = content.episodes
    assert "truncated" in (content.salvaged or "")
    assert content.messages_lost is None
    assert episode.end == "truncated"
    assert episode.outcome == "unknown"
    state, executed, _ = vectors(400)
    t = episode.actions
    assert abs(t - 400 * cut / len(chunks)) < 20
    np.testing.assert_array_equal(matrix(episode.steps["action"], t), executed[:t])
    np.testing.assert_array_equal(matrix(episode.steps["state"], t), state[:t])


def test_a_flipped_bit_costs_one_chunk_and_no_wrong_row(tmp_path: Path):
    whole = bytearray(episode_log(400))
    chunk = chunks_of(bytes(whole))[5]
    whole[chunk.chunk_start_offset + chunk.chunk_length // 2] ^= 4
    content = read(tmp_path, bytes(whole))
    assert "chunk at byte" in (content.salvaged or "")
    assert content.messages_lost
    (episode,) = content.episodes
    state, _, _ = vectors(400)
    known = {START + i * PERIOD: row for i, row in enumerate(state)}
    valid = 0
    for row in episode.steps.to_pylist():
        np.testing.assert_array_equal(row["state"], known[row["t_ns"]])
        valid += row["valid"]
    assert 300 < valid <= episode.steps.num_rows < 401
    assert sum(episode.steps["gap"].to_pylist()) == 1


def test_a_log_that_is_something_else_says_so(tmp_path: Path):
    for data, words in [
        (b"", "empty"),
        (b"hello", "no known log format"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"\x89MCAP0\r\n", "no embodiment"),
        (b"\x89MCAP0\r\n" + bytes(1000), "no embodiment"),
    ]:
        with pytest.raises(UnreadableLog, match=words):
            read(tmp_path, data)


def test_a_log_of_an_unknown_embodiment_names_it(tmp_path: Path):
    with pytest.raises(UnreadableLog, match="'leg'") as caught:
        read(tmp_path, episode_log(5, facts={"embodiment": "leg"}))
    assert caught.value.format == "mcap"


def test_documents_in_metadata_are_no_attributes(tmp_path: Path):
    (episode,) = read(tmp_path, episode_log(5, facts={"serialized_metadata": "x" * 5000})).episodes
    assert "serialized_metadata" not in episode.attributes
