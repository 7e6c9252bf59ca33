import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwd_core.errors import UserError
from lwd_core.exports import lerobot_columns as columns
from lwd_core.exports.export import export
from lwd_core.exports.lerobot_stats import vector_stats
from lwd_core.exports.lerobot_video import CameraVideo
from tests.lwd_core.lake.rows import step_rows
from tests.lwd_core.recorded import ARM, LENGTHS, jpeg, recorded_lake


@pytest.fixture
def lake(tmp_path):
    return recorded_lake(tmp_path / "lake")


@pytest.fixture
def exported(lake, tmp_path):
    return export("lerobot", lake, tmp_path / "set", embodiments={"arm": ARM})


def data(folder):
    return pq.read_table(folder / "data/chunk-000/file-000.parquet")


def test_every_value_of_the_lake_is_in_the_set(lake, exported):
    table = data(exported.folder)
    steps = lake.read("steps", where="len(action) > 0 ORDER BY episode_id, step")
    assert table.num_rows == exported.frames == sum(LENGTHS)
    for feature, column in (("observation.state", "state"), ("action", "action")):
        assert table.column(feature).to_pylist() == steps.column(column).to_pylist()
    assert table.column("observation.capture_time_ns").to_pylist() == steps.column("t_ns").to_pylist()
    assert table.column("valid").to_pylist() == steps.column("valid").to_pylist()
    humans = [actor == "human" for actor in steps.column("actor").to_pylist()]
    assert table.column("intervention").to_pylist() == humans
    expected = [
        p or a for p, a in zip(*(steps.column(c).to_pylist() for c in ("proposed", "action")), strict=True)
    ]
    assert table.column("proposed_action").to_pylist() == expected


def test_bookkeeping_is_what_the_reader_relies_on(exported):
    table = data(exported.folder)
    assert table.column("index").to_pylist() == list(range(sum(LENGTHS)))
    assert table.column("episode_index").to_pylist() == [i for i, n in enumerate(LENGTHS) for _ in range(n)]
    frame = table.column("frame_index").to_numpy()
    np.testing.assert_array_equal(table.column("timestamp").to_numpy(), (frame / 10).astype(np.float32))
    assert table.column("next.reward").to_numpy().nonzero()[0].tolist() == [LENGTHS[0] - 1]
    assert pq.ParquetFile(exported.folder / "data/chunk-000/file-000.parquet").num_row_groups == len(LENGTHS)
    info = json.loads((exported.folder / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 10, sum(LENGTHS))
    assert set(info["features"]) - set(table.column_names) == {"observation.images.front"}
    tasks = pq.read_table(exported.folder / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks.to_pylist() == [{"task_index": 0, "task": "reach the cup"}]


def test_lake_facts_and_spans_stand_with_the_episodes(exported):
    rows = pq.read_table(exported.folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["lwd/outcome"] for row in rows] == ["success", "failure", "unknown"]
    assert [row["length"] for row in rows] == list(LENGTHS)
    assert [row["dataset_from_index"] for row in rows] == [0, 40, 90]
    key = "videos/observation.images.front"
    assert [row[f"{key}/from_timestamp"] for row in rows] == [0.0, 4.0, 9.0]
    assert [row[f"{key}/to_timestamp"] for row in rows] == [4.0, 9.0, 15.0]


def test_every_frame_stands_at_its_time_and_episodes_begin_with_keyframes(exported):
    path = exported.folder / "videos/observation.images.front/chunk-000/file-000.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 10)
        frames = list(container.decode(stream))
    assert [round(float(f.time) * 10, 6) for f in frames] == list(range(sum(LENGTHS)))
    starts = np.cumsum([0, *LENGTHS[:-1]])
    assert all(frames[start].key_frame for start in starts)
    for i, (start, length) in enumerate(zip(starts, LENGTHS, strict=True)):
        for t in range(length):
            newest = max(1, t if t % 2 == 1 else t - 1)
            grey = 40 + 50 * i + 2 * (newest % 30)
            assert abs(frames[start + t].to_ndarray(format="rgb24").mean() - grey) < 2, (i, t)


def test_statistics_are_exact(exported):
    stats = json.loads((exported.folder / "meta/stats.json").read_text())
    action = np.array(data(exported.folder).column("action").to_pylist(), np.float64)
    assert stats["action"] == vector_stats(action)
    np.testing.assert_allclose(stats["action"]["q10"], np.quantile(action, 0.1, axis=0))
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)


def test_an_independent_reader_finds_nothing_wrong(exported):
    run = subprocess.run(
        [Path(sys.executable).with_name("lerobot-doctor"), "check", exported.folder, "--json"],
        capture_output=True,
        text=True,
    )
    report = json.loads(run.stdout)
    failed = [check for check in report["checks"] if check["severity"] == "FAIL"]
    assert report["checks"]
    assert failed == []


def test_a_failed_export_leaves_nothing(lake, tmp_path, monkeypatch):
    monkeypatch.setattr(CameraVideo, "add_episode", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        export("lerobot", lake, tmp_path / "set", embodiments={"arm": ARM})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lake"]


@pytest.mark.parametrize(
    ("where", "embodiments", "message"),
    [
        ("task = 'none'", {"arm": ARM}, "no episode where"),
        ("true", {}, "embodiment arm: no such embodiment file"),
    ],
)
def test_wrong_input_is_said(lake, tmp_path, where, embodiments, message):
    with pytest.raises(UserError, match=message):
        export("lerobot", lake, tmp_path / "set", embodiments=embodiments, where=where)


def test_an_existing_folder_is_left_alone(lake, tmp_path):
    with pytest.raises(UserError, match="exists already"):
        export("lerobot", lake, tmp_path, embodiments={"arm": ARM})


@pytest.mark.parametrize("name", ["file/set", "x" * 300, "a\0b"])
def test_a_folder_that_cannot_be_is_said(lake, tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder can be written there"):
        export("lerobot", lake, tmp_path / name, embodiments={"arm": ARM})


def test_a_video_file_ends_before_float32_time_does(tmp_path):
    video = CameraVideo(tmp_path, fps=1, max_bytes=2**30)
    frames = [jpeg(0, 0)] * 400
    spans = [video.add_episode(frames, 400) for _ in range(3)]
    video.close()
    assert [(s.file_index, s.from_timestamp) for s in spans] == [(0, 0.0), (0, 400.0), (1, 0.0)]


def test_what_is_not_a_number_is_exported_as_a_masked_zero():
    steps = step_rows("e", "l", 3)
    state = steps["state"].to_pylist()
    state[1][0] = float("nan")
    steps = steps.set_column(
        steps.column_names.index("state"), "state", pa.array(state, pa.list_(pa.float32()))
    )
    steps = steps.append_column("proposed", pa.nulls(3, pa.list_(pa.float32())))
    episode = {"outcome": "success", "end": "terminated"}
    found = columns.values(episode, steps, 80, episode_index=0, first_index=0, task_index=0)
    assert found["observation.state"][1, 0] == 0
    np.testing.assert_array_equal(found["observation.state"][1, 1:], np.array(state[1][1:], np.float32))
