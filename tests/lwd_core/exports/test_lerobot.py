import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg

from lwd_core.errors import UserError
from lwd_core.exports.lerobot import export_lerobot
from lwd_core.exports.lerobot_stats import vector_stats
from lwd_core.exports.lerobot_video import CameraVideo
from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Camera, Dim, Embodiment, Feature
from storage_schemas.tables import STEPS
from tests.lwd_core.labels.conftest import episode_rows

ARM = Embodiment(
    name="arm",
    control_hz=10.0,
    state=(Feature("/state", tuple(Dim(f"q{i}", "rad") for i in range(3))),),
    action=(Feature("/action", tuple(Dim(f"a{i}", low=-1.0, high=1.0) for i in range(2))),),
    cameras=(Camera("front", "/camera/front"),),
)
LENGTHS = (40, 50, 60)


def jpeg(episode, frame):
    """A frame whose grey says which it is."""
    grey = 40 + 50 * episode + 2 * (frame % 30)
    return simplejpeg.encode_jpeg(np.full((48, 64, 3), grey, np.uint8), quality=95)


@pytest.fixture
def lake(tmp_path):
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    rng = np.random.default_rng(0)
    rows = []
    for i, length in enumerate(LENGTHS):
        with FrameShards(lake.place, f"l{i:04d}", "north", "2026-01-01") as shards:
            for t in range(length + 1):
                t_ns = 10**18 + t * 10**8
                # every second step brings a new frame, and the first step none
                frames = []
                if t % 2 == 1:
                    shard, offset, size = shards.put("front", t_ns, jpeg(i, t))
                    frames = [
                        {"camera": "front", "shard": shard, "offset": offset, "size": size, "t_ns": t_ns}
                    ]
                rows.append(
                    {
                        "episode_id": f"e{i:04d}",
                        "log_id": f"l{i:04d}",
                        "site": "north",
                        "day": "2026-01-01",
                        "step": t,
                        "t_ns": t_ns,
                        "state": rng.normal(size=3),
                        "action": rng.uniform(-1, 1, 2) if t < length else [],
                        "proposed": rng.uniform(-1, 1, 2) if t < length and i == 1 else None,
                        "actor": "human" if 10 <= t < 20 else "policy",
                        "valid": t != 5,
                        "gap": False,
                        "frames": frames,
                    }
                )
    lake.append("steps", pa.Table.from_pylist(rows, schema=STEPS.schema))
    episodes = [row | {"steps": LENGTHS[i]} for i, row in enumerate(episode_rows(3).to_pylist())]
    lake.append("episodes", pa.Table.from_pylist(episodes, schema=episode_rows(1).schema))
    return lake


@pytest.fixture
def exported(lake, tmp_path):
    return export_lerobot(lake, tmp_path / "set", embodiments={"arm": ARM})


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
        export_lerobot(lake, tmp_path / "set", embodiments={"arm": ARM})
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
        export_lerobot(lake, tmp_path / "set", embodiments=embodiments, where=where)


def test_an_existing_folder_is_left_alone(lake, tmp_path):
    with pytest.raises(UserError, match="exists already"):
        export_lerobot(lake, tmp_path, embodiments={"arm": ARM})


def test_a_video_file_ends_before_float32_time_does(tmp_path):
    video = CameraVideo(tmp_path, fps=1, max_bytes=2**30)
    frames = [jpeg(0, 0)] * 400
    spans = [video.add_episode(frames, 400) for _ in range(3)]
    video.close()
    assert [(s.file_index, s.from_timestamp) for s in spans] == [(0, 0.0), (0, 400.0), (1, 0.0)]
