"""The rows of a LeRobot set are believed: their order, their place, their time, what they say of the end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg

from lwd_core.logs.content import EpisodeData, LogContent
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment, OutcomeRule
from tests.lwd_core.logs.readers.test_lerobot import FPS, LENGTHS, embodiment, read, table, values, write
from tests.lwd_core.logs.robot_logs import Sink

DATA = "data/chunk-000"


def change(root: Path, edit: Callable[[pa.Table], pa.Table]) -> Path:
    """Every data file of a set, edited."""
    for file in sorted((root / "data").rglob("*.parquet")):
        pq.write_table(edit(pq.read_table(file)), file)
    return root


def with_column(name: str, make: Callable[[int], Any]) -> Callable[[pa.Table], pa.Table]:
    def edit(rows: pa.Table) -> pa.Table:
        column = pa.array(make(rows.num_rows))
        at = rows.column_names.index(name) if name in rows.column_names else None
        return rows.append_column(name, column) if at is None else rows.set_column(at, name, column)

    return edit


def states(episode: EpisodeData) -> np.ndarray:
    return np.array(episode.steps["state"].to_pylist(), np.float32)


def whole(content: LogContent) -> None:
    """Every episode has all its values, in order."""
    found = {int(e.attributes["episode_index"]): e for e in content.episodes}
    assert sorted(found) == [0, 1, 2]
    for number, episode in found.items():
        np.testing.assert_array_equal(states(episode), values(number)[0])


def test_rows_in_any_order_are_put_in_the_order_of_their_frames(tmp_path: Path):
    rng = np.random.default_rng(0)
    root = change(write(tmp_path / "set", "v3.0"), lambda t: t.take(pa.array(rng.permutation(t.num_rows))))
    content = read(root)
    whole(content)
    assert any("rows ordered by frame_index" in n for n in content.notes)


def test_frame_numbers_that_number_nothing_leave_the_order_of_the_file(tmp_path: Path):
    root = change(write(tmp_path / "set", "v2.1"), with_column("frame_index", lambda n: np.zeros(n, int)))
    content = read(root)
    whole(content)
    assert any("the order of the file counts" in n for n in content.notes)


def test_missing_frames_are_a_gap_and_twins_that_differ_are_masked(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    file = root / DATA / "episode_000000.parquet"
    rows = pq.read_table(file)
    state = np.array(rows["observation.state"].to_pylist(), np.float32)[[2]] + 1
    other = rows.slice(2, 1).set_column(
        0, "observation.state", pa.FixedSizeListArray.from_arrays(pa.array(state.ravel()), 3)
    )
    # frame 2 comes twice with other values, frame 4 twice alike, frames 7 and 8 not at all
    parts = [rows.slice(0, 5), other.cast(rows.schema), rows.slice(4, 3), rows.slice(9)]
    pq.write_table(pa.concat_tables(parts), file)
    content = read(root)
    steps = content.episodes[0].steps
    assert steps.num_rows == 10
    assert np.flatnonzero(~np.array(steps["valid"])).tolist() == [2]
    assert np.flatnonzero(np.array(steps["gap"])).tolist() == [7]
    assert any("2 rows come twice, 1 of them with other values" in n for n in content.notes)
    assert any("2 frames missing" in n for n in content.notes)


def test_rows_are_read_from_where_they_are(tmp_path: Path):
    root = write(tmp_path / "set", "v3.0")
    meta = root / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(with_column("data/file_index", lambda n: [5, 6, 7])(pq.read_table(meta)), meta)
    content = read(root)
    whole(content)
    assert content.salvaged is None
    assert any("another file than metadata says" in n for n in content.notes)


def test_a_merge_that_did_not_renumber_episodes_loses_none(tmp_path: Path):
    root = write(tmp_path / "set", "v3.0")
    file = root / DATA / "file-001.parquet"  # episode 2, by place and length
    pq.write_table(with_column("episode_index", lambda n: np.zeros(n, int))(pq.read_table(file)), file)
    content = read(root)
    whole(content)
    assert any("episode 2: its rows are marked as episode 0" in n for n in content.notes)


def test_a_v2_file_is_the_episode_its_name_says(tmp_path: Path):
    root = change(write(tmp_path / "set", "v2.1"), with_column("episode_index", lambda n: np.zeros(n, int)))
    content = read(root)
    whole(content)
    assert any("the file's name" in n for n in content.notes)


def test_an_episode_cut_by_two_files_is_one(tmp_path: Path):
    root = write(tmp_path / "set", "v3.0")
    rows = pq.read_table(root / DATA / "file-000.parquet")
    pq.write_table(rows.slice(0, 15), root / DATA / "file-000.parquet")
    last = pq.read_table(root / DATA / "file-001.parquet")
    pq.write_table(pa.concat_tables([rows.slice(15), last]), root / DATA / "file-001.parquet")
    content = read(root)
    whole(content)
    assert any("rows lie in 2 files" in n for n in content.notes)


@pytest.mark.parametrize("name", ["a_first.parquet", "episode_000009.parquet", "file-009.parquet"])
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_foreign_file_is_named_and_costs_itself_only(tmp_path: Path, version: str, name: str):
    root = write(tmp_path / "set", version)
    pq.write_table(pa.table({"arm1_pos": [[1, 2, 3]] * 5, "stamp": [0.0] * 5}), root / DATA / name)
    drafted = parse_embodiment(render(infer(LogSource(str(root)))))
    content = read_log(LogSource(str(root)), {"so101": drafted}, Sink())
    whole(content)
    assert name in (content.salvaged or "")


def test_rows_of_another_width_cost_their_episode_only(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    file = root / DATA / "episode_000001.parquet"
    narrow = pa.array([[0.0]] * LENGTHS[1], pa.list_(pa.float32()))
    pq.write_table(pq.read_table(file).set_column(1, "action", narrow), file)
    content = read(root)
    assert [e.attributes["episode_index"] for e in content.episodes] == ["0", "2"]
    assert (content.salvaged or "").startswith("episode 1: column action is 1 wide")
    assert content.messages_lost == LENGTHS[1]


@pytest.mark.parametrize("odd", [(1, 3), (0, 2)])
def test_a_row_without_numbers_masks_itself(tmp_path: Path, odd: tuple[int, int]):
    narrow, missing = odd

    def holes(rows: pa.Table) -> pa.Table:
        action = rows["action"].to_pylist()
        action[narrow], action[missing] = action[narrow][:1], None
        return rows.set_column(1, "action", pa.array(action, pa.list_(pa.float32())))

    content = read(change(write(tmp_path / "set", "v2.1"), holes))
    for episode in content.episodes:
        assert np.flatnonzero(~np.array(episode.steps["valid"])).tolist() == sorted(odd)


UNIX = 1_760_000_000
STALL = np.where(np.arange(12) >= 5, 0.35, 0.0)  # seconds


@pytest.mark.parametrize(
    ("stamps", "told", "start"),
    [
        (lambda s: s, None, 0),
        (lambda s: s * 1e3, "timestamps are ms", 0),
        (lambda s: (s * 1e6).round().astype(np.int64), "timestamps are µs", 0),
        (lambda s: (s * 1e9).round().astype(np.int64), "timestamps are ns", 0),
        (lambda s: UNIX + s, "Unix time in s", UNIX),
        (lambda s: ((UNIX + s) * 1e3).round().astype(np.int64), "Unix time in ms", UNIX),
        (lambda s: ((UNIX + s) * 1e6).round().astype(np.int64), "Unix time in µs", UNIX),
        (lambda s: UNIX * 10**9 + (s * 1e9).round().astype(np.int64), "Unix time in ns", UNIX),
        (
            lambda s: (UNIX * 10**9 + (s * 1e9).round().astype(np.int64)).astype("datetime64[ns]"),
            "Unix time in ns",
            UNIX,
        ),
    ],
)
def test_stamps_are_read_in_whatever_unit_and_a_stall_stays(
    tmp_path: Path, stamps: Any, told: str | None, start: int
):
    seconds = np.arange(12) / FPS + STALL
    edit = with_column("timestamp", lambda n: stamps(seconds[:n]))
    content = read(change(write(tmp_path / "set", "v2.1"), edit))
    steps = content.episodes[0].steps
    t = np.array(steps["t_ns"])
    assert abs(int(t[0]) - start * 10**9) < 1000
    np.testing.assert_allclose(np.diff(t), np.diff(seconds) * 1e9, atol=1000)
    assert np.flatnonzero(np.array(steps["gap"])).tolist() == [5]
    assert told is None or any(told in n for n in content.notes)


def test_a_clock_that_steps_back_breaks_the_recording_there(tmp_path: Path):
    seconds = np.arange(12) / FPS - np.where(np.arange(12) >= 6, 3.0, 0.0) + 10
    content = read(change(write(tmp_path / "set", "v2.1"), with_column("timestamp", lambda n: seconds[:n])))
    steps = content.episodes[0].steps
    assert (np.diff(np.array(steps["t_ns"].to_pylist(), np.int64)) > 0).all()
    assert np.flatnonzero(np.array(steps["gap"])).tolist() == [6]
    assert any("steps back at row 6" in n for n in content.notes)


@pytest.mark.parametrize(
    ("flags", "success", "end"),
    [
        ({"next.done": True, "next.terminated": True, "next.truncated": False}, False, "terminated"),
        ({"next.done": True, "next.terminated": False, "next.truncated": True}, False, "truncated"),
        ({"next.done": True, "next.truncated": False}, False, "terminated"),
        ({"next.done": True, "next.truncated": True}, False, "truncated"),
        ({"next.done": True}, False, "terminated"),
        ({"next.done": False}, False, "truncated"),
        ({"next.terminated": True}, None, "terminated"),
        ({}, True, "terminated"),
        ({"next.done": True, "next.truncated": True}, True, "terminated"),
        ({}, False, "truncated"),
    ],
)
def test_the_end_is_what_the_last_row_says(
    tmp_path: Path, flags: dict[str, bool], success: bool | None, end: str
):
    said = flags | ({} if success is None else {"next.success": success})
    root = write(tmp_path / "set", "v2.1")
    for name, value in said.items():
        change(root, with_column(name, lambda n, v=value: np.append(np.zeros(n - 1, bool), v)))
    for episode in read(root).episodes:
        assert episode.end == end
        assert episode.outcome == {None: "unknown", True: "success", False: "failure"}[success]


@pytest.mark.parametrize("done", [True, False, None])
def test_a_demonstration_nobody_judges_is_a_success_and_its_end(tmp_path: Path, done: bool | None):
    root = write(tmp_path / "set", "v2.1")
    if done is not None:
        change(root, with_column("next.done", lambda n: np.append(np.zeros(n - 1, bool), done)))

    def told(robot: Embodiment) -> set[tuple[str, str, str]]:
        return {(e.outcome, e.outcome_from, e.end) for e in read(root, robot).episodes}

    robot = replace(embodiment(), source="demonstration")
    assert told(robot) == {("success", "nobody", "terminated")}
    unknown = {("unknown", "nobody", "truncated")}
    assert told(replace(robot, outcome=OutcomeRule(default="unknown"))) == unknown
    assert told(replace(robot, source="rollout")) == unknown


def test_a_count_of_merged_sets_is_no_actor(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1", {"source": lambda n: pa.array([n % 2] * n)})
    content = read(root, replace(embodiment(), source="rollout"))
    assert {a for e in content.episodes for a in e.steps["actor"].to_pylist()} == {"policy"}
    assert any("column source is not taken for who acted" in n for n in content.notes)
    assert "count of sets" in render(infer(LogSource(str(root))))
    acted = write(tmp_path / "acted", "v2.1", {"source": lambda n: pa.array([int(i > 3) for i in range(n)])})
    draft = parse_embodiment(render(infer(LogSource(str(acted)))))
    assert draft.actor.topic == "source"


def test_numbers_that_are_no_flags_are_no_actor(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1", {"intervention": lambda n: pa.array(np.arange(n) + 1)})
    assert all(e.segments.num_rows == 1 for e in read(root).episodes)


def test_a_task_that_changes_within_an_episode_is_kept_and_said(tmp_path: Path):
    root = change(
        write(tmp_path / "set", "v2.1"), with_column("task_index", lambda n: (np.arange(n) > 3).astype(int))
    )
    content = read(root)
    first = content.episodes[0]
    assert first.instruction == "open drawer"
    assert json.loads(first.attributes["instructions"]) == [[0, "fold towel"], [4, "open drawer"]]
    assert any("fold towel → open drawer" in n for n in content.notes)


def test_a_robot_type_of_null_is_nothing_to_match_by(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps({**info, "robot_type": None}))
    assert parse_embodiment(render(infer(LogSource(str(root)), "bot"))).match == {}


def test_columns_of_one_last_name_are_told_apart(tmp_path: Path):
    def parted(rows: pa.Table) -> pa.Table:
        state = rows["observation.state"]
        for name in ("observation.left.position", "observation.right.position", "observation.left_position"):
            rows = rows.append_column(name, state)
        return rows.drop_columns(["observation.state"])

    root = change(write(tmp_path / "set", "v2.1"), parted)
    draft = parse_embodiment(render(infer(LogSource(str(root)))))
    names = [d.name for d in draft.state_dims]
    assert len(set(names)) == len(names) == 9
    assert {"right_position_0", "right_position_2"} <= set(names)
    assert len(read(root, draft).episodes) == 3


def test_a_past_action_is_not_drafted_as_state(tmp_path: Path):
    past = {"observation.last_action": lambda n: pa.array([[float(i)] * 2 for i in range(n)])}
    text = render(infer(LogSource(str(write(tmp_path / "set", "v2.1", past)))))
    assert [f.topic for f in parse_embodiment(text).state] == ["observation.state"]
    assert "observation.last_action: called like the action" in text


def test_frames_come_from_where_an_episode_begins_in_a_shared_video(tmp_path: Path):
    root = write(tmp_path / "set", "v3.0")
    key = "observation.images.front"
    folder = root / "videos" / key / "chunk-000"
    folder.mkdir(parents=True)
    with av.open(str(folder / "file-000.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": "2", "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(sum(LENGTHS)):
            picture = np.full((48, 64, 3), 8 * i, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    meta = root / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(meta)
    for name, made in {
        "chunk_index": [0, 0, None],
        "file_index": [0, 0, None],
        "from_timestamp": [0.0, LENGTHS[0] / FPS, None],
    }.items():
        rows = rows.append_column(f"videos/{key}/{name}", pa.array(made))
    pq.write_table(rows, meta)
    draft = parse_embodiment(render(infer(LogSource(str(root)))))
    assert [(c.name, c.topic) for c in draft.cameras] == [("front", key)]
    sink = Sink()
    content = read(root, draft, sink)
    shades = [int(simplejpeg.decode_jpeg(data).mean()) for _, _, data in sink.frames]
    np.testing.assert_allclose(shades, 8 * np.arange(LENGTHS[0] + LENGTHS[1]), atol=6)
    assert f"episode 2: no video of {key}" in content.notes


def test_episodes_under_one_number_are_told_apart_by_length(tmp_path: Path):
    root = write(tmp_path / "set", "v3.0")
    file = root / DATA / "file-000.parquet"
    pq.write_table(pa.concat_tables([table(k, 0) for k in range(3)]), file)
    (root / DATA / "file-001.parquet").unlink()
    change(root, with_column("episode_index", lambda n: np.zeros(n, int)))
    content = read(root)
    whole(content)
    assert any("marked as episode 0, told apart by length" in n for n in content.notes)


def test_takes_under_one_number_are_cut_where_frames_start_again(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    file = root / DATA / "episode_000000.parquet"
    pq.write_table(pa.concat_tables([table(0, 0), table(2, 0), table(1, 0)]), file)
    change(root, with_column("episode_index", lambda n: np.zeros(n, int)))
    steps = read(root).episodes[0].steps
    assert steps.num_rows == sum(LENGTHS)
    assert np.flatnonzero(np.array(steps["gap"])).tolist() == [12, 21]


def test_stamps_may_count_frames(tmp_path: Path):
    root = change(write(tmp_path / "set", "v2.1"), with_column("timestamp", lambda n: np.arange(n) + 7.0))
    content = read(root)
    assert content.episodes[0].steps["t_ns"].to_pylist() == [i * 10**8 for i in range(LENGTHS[0])]
    assert any("count frames" in n for n in content.notes)


def test_success_in_the_episodes_table_is_an_outcome(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    lines = [
        json.dumps({"episode_index": k, "length": n, "success": said})
        for k, (n, said) in enumerate(zip(LENGTHS, (True, False, None), strict=True))
    ]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    assert [e.outcome for e in read(root).episodes] == ["success", "failure", "unknown"]


@pytest.mark.parametrize("past", [True, False])
def test_a_column_of_past_actions_is_told_by_its_values(tmp_path: Path, past: bool):
    root = write(tmp_path / "set", "v2.1")

    def column(rows: pa.Table) -> pa.Table:
        action = rows["action"].to_pylist()
        held = [[0.0, 0.0], *action[:-1]] if past else action
        return rows.append_column("observation.hold", pa.array(held, pa.list_(pa.float32())))

    text = render(infer(LogSource(str(change(root, column)))))
    topics = [f.topic for f in parse_embodiment(text).state]
    assert topics == ["observation.state"] + ([] if past else ["observation.hold"])
    assert "the action of the row before" in text if past else "the action of that row" in text
