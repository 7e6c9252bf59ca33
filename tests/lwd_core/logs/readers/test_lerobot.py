"""LeRobot sets of every version, as real ones are: with metadata that is wrong about the data."""

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log, reader_of
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs.robot_logs import Sink
from tests.lwd_core.logs.samples import sample

LENGTHS = (12, 7, 9)
FPS = 10
TASKS = ("fold towel", "open drawer")
ARM = """\
name: so101
control_hz: {hz}
match: {{robot_type: so101}}
state: [{{topic: observation.state, dims: [{{name: a}}, {{name: b}}, {{name: c}}]}}]
action: [{{topic: action, dims: [{{name: u}}, {{name: v}}]}}]
source: demonstration
"""


def embodiment(more: str = "", hz: float = FPS) -> Embodiment:
    return parse_embodiment(ARM.format(hz=hz) + more)


def values(episode: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(episode)
    n = LENGTHS[episode]
    return rng.normal(size=(n, 3)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)


def table(episode: int, first: int, extra: dict[str, Any] | None = None) -> pa.Table:
    state, action = values(episode)
    n = len(state)
    return pa.table(
        {
            "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(state.ravel()), 3),
            "action": pa.array(action.tolist(), pa.list_(pa.float32())),
            "timestamp": pa.array((np.arange(n) / FPS).astype(np.float32)),
            "frame_index": np.arange(n),
            "episode_index": np.full(n, episode),
            "index": np.arange(first, first + n),
            "task_index": np.full(n, episode % 2),
            **{k: v(n) for k, v in (extra or {}).items()},
        }
    )


def info(version: str, **more: Any) -> dict[str, Any]:
    return {
        "codebase_version": version,
        "fps": FPS,
        "robot_type": "so101",
        "total_episodes": 99,
        "total_frames": 12345,
        "features": {
            "observation.state": {"dtype": "float32", "shape": [3], "names": ["a", "b", "c"]},
            "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["u", "v"]}},
            "observation.images.front": {"dtype": "video", "shape": [48, 64, 3], "names": None},
        },
        **more,
    }


def write(root: Path, version: str, extra: dict[str, Any] | None = None, says: str | None = None) -> Path:
    """A set of three episodes with the files of ``version``; info.json ``says`` what it likes."""
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info(says or version)))
    tables = [table(k, sum(LENGTHS[:k]), extra) for k in range(3)]
    if version == "v3.0":
        (root / "data/chunk-000").mkdir(parents=True)
        pq.write_table(pa.concat_tables(tables[:2]), root / "data/chunk-000/file-000.parquet")
        pq.write_table(tables[2], root / "data/chunk-000/file-001.parquet")
        tasks = pa.table({"task_index": [0, 1], "task": list(TASKS)})
        pq.write_table(tasks, root / "meta/tasks.parquet")
        (root / "meta/episodes/chunk-000").mkdir(parents=True)
        episodes = {
            "episode_index": [0, 1, 2],
            "length": list(LENGTHS),
            "tasks": [[TASKS[k % 2]] for k in range(3)],
            "data/chunk_index": [0, 0, 0],
            "data/file_index": [0, 0, 1],
            "outcome": ["success", None, "failure"],
            "robot_id": ["r7"] * 3,
            "consent": ["yes"] * 3,
        }
        pq.write_table(pa.table(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
    else:
        (root / "data/chunk-000").mkdir(parents=True)
        for k, one in enumerate(tables):
            pq.write_table(one, root / f"data/chunk-000/episode_{k:06d}.parquet")
        lines = [json.dumps({"task_index": i, "task": t}) for i, t in enumerate(TASKS)]
        (root / "meta/tasks.jsonl").write_text("\n".join(lines))
        lines = [json.dumps({"episode_index": k, "length": n}) for k, n in enumerate(LENGTHS)]
        (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    return root


def read(root: Path, arm: Embodiment | None = None, sink: Sink | None = None) -> LogContent:
    arm = arm or embodiment()
    return read_log(LogSource(str(root)), {arm.name: arm}, sink or Sink())


@pytest.mark.parametrize(("version", "says"), [("v2.0", "v2.0"), ("v2.1", "v3.0"), ("v3.0", "v3.0")])
def test_every_version_gives_the_values_as_they_are(tmp_path: Path, version: str, says: str):
    root = write(tmp_path / "set", version, says=says)
    content = read(root)
    assert content.format == "lerobot"
    assert (content.messages, content.salvaged) == (sum(LENGTHS), None)
    assert [e.actions for e in content.episodes] == list(LENGTHS)
    for k, episode in enumerate(content.episodes):
        state, action = values(k)
        np.testing.assert_array_equal(np.array(episode.steps["state"].to_pylist(), np.float32), state)
        np.testing.assert_array_equal(np.array(episode.steps["action"].to_pylist(), np.float32), action)
        assert episode.steps["t_ns"].to_pylist() == [i * 10**8 for i in range(LENGTHS[k])]
        assert episode.instruction == TASKS[k % 2]
        assert episode.task == TASKS[k % 2].replace(" ", "-")
        assert set(episode.steps["actor"].to_pylist()) == {"human"}
        assert not any(episode.steps["gap"].to_pylist())
    assert episode.first_message == LENGTHS[0] + LENGTHS[1]
    assert any("no video file" in note for note in content.notes)
    assert any("has the files of v2" in note for note in content.notes) == (says != version)


def test_facts_in_the_episodes_table_are_kept(tmp_path: Path):
    content = read(write(tmp_path / "set", "v3.0"))
    assert [e.outcome for e in content.episodes] == ["success", "unknown", "failure"]
    assert [e.end for e in content.episodes] == ["terminated", "truncated", "truncated"]
    assert content.episodes[0].robot_id == "r7"
    assert content.episodes[0].attributes == {"episode_index": "0", "consent": "yes"}


@pytest.mark.parametrize(
    ("alias", "column"),
    [
        ("intervention", lambda n: pa.array([2 <= i < 5 for i in range(n)])),
        ("is_intervention", lambda n: pa.array([float(2 <= i < 5) for i in range(n)], pa.float32())),
        ("complementary_info.is_intervention", lambda n: pa.array([[float(2 <= i < 5)] for i in range(n)])),
        ("intervene_flag", lambda n: pa.array([int(2 <= i < 5) for i in range(n)])),
        ("action_modes", lambda n: pa.array([1 if 2 <= i < 5 else -10 if i == 1 else 0 for i in range(n)])),
        ("action_source", lambda n: pa.array(["human" if 2 <= i < 5 else "policy" for i in range(n)])),
    ],
)
def test_interventions_are_found_under_every_name_in_use(tmp_path: Path, alias: str, column: Any):
    content = read(write(tmp_path / "set", "v2.1", {alias: column}))
    for episode in content.episodes:
        assert episode.segments["first_step"].to_pylist() == [0, 2, 5]
        assert episode.segments["kind"].to_pylist() == ["autonomous", "intervention", "autonomous"]
        assert episode.source == "rollout"


def test_an_outcome_rule_reads_a_reward_column(tmp_path: Path):
    reward = {"next.reward": lambda n: pa.array([float(i == n - 1 and n != 7) for i in range(n)])}
    rule = embodiment("outcome: {topic: next.reward, success_at: 1.0}\n")
    content = read(write(tmp_path / "set", "v2.1", reward), rule)
    assert [e.outcome for e in content.episodes] == ["success", "failure", "success"]


def test_images_come_as_their_bytes_and_never_from_outside_the_set(tmp_path: Path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")

    def column(n: int) -> pa.Array:
        inside = [{"bytes": b"\xff\xd8%d" % i, "path": None} for i in range(n - 2)]
        outside = [{"bytes": None, "path": "../secret.jpg"}, {"bytes": None, "path": "images/a.jpg"}]
        return pa.array(inside + outside)

    root = write(tmp_path / "set", "v3.0", {"observation.images.wrist": column})
    (root / "images").mkdir()
    (root / "images/a.jpg").write_bytes(b"\xff\xd8own")
    sink = Sink()
    arm = embodiment("cameras: [{name: wrist, topic: observation.images.wrist}]\n")
    (first, *_) = read(root, arm, sink).episodes
    frames = [data for _, _, data in sink.frames[: LENGTHS[0] - 1]]
    assert frames == [b"\xff\xd8%d" % i for i in range(LENGTHS[0] - 2)] + [b"\xff\xd8own"]
    shown = first.steps["frames"].to_pylist()
    assert [len(s) for s in shown] == [1] * (LENGTHS[0] - 2) + [0, 1]
    assert b"secret" not in [data for _, _, data in sink.frames]


def test_videos_give_frames_to_cameras_the_embodiment_names(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    folder = root / "videos/chunk-000/observation.images.front"
    folder.mkdir(parents=True)
    with av.open(str(folder / "episode_000001.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(LENGTHS[1] - 1):  # one frame short
            picture = np.full((48, 64, 3), i * 20, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    sink = Sink()
    arm = embodiment("cameras: [{name: front, topic: observation.images.front}]\n")
    content = read(root, arm, sink)
    assert len(sink.frames) == LENGTHS[1] - 1
    assert [t for _, t, _ in sink.frames] == [i * 10**8 for i in range(LENGTHS[1] - 1)]
    assert all(data.startswith(b"\xff\xd8") for _, _, data in sink.frames)
    assert content.salvaged is None
    assert any("2 of 3 videos missing" in n for n in content.notes)
    assert any("1 of 7 frames missing" in n for n in content.notes)
    assert [len(s) for s in content.episodes[1].steps["frames"].to_pylist()] == [1] * 6 + [0]
    assert read(root).episodes[1].steps["frames"][0].as_py() is None


def test_left_over_rows_are_not_read(tmp_path: Path):
    root = write(tmp_path / "set", "v3.0")
    shutil.copy(root / "data/chunk-000/file-000.parquet", root / "data/chunk-000/file-002.parquet")
    content = read(root)
    assert len(content.episodes) == 3
    assert (
        "episode 0, episode 1: rows in data/chunk-000/file-002.parquet are left over from an edit, not read"
        in content.notes
    )


def test_a_damaged_file_costs_its_episodes_only(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    file = root / "data/chunk-000/episode_000001.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    content = read(root)
    assert [e.attributes["episode_index"] for e in content.episodes] == ["0", "2"]
    assert "episode_000001.parquet cannot be read" in (content.salvaged or "")
    assert "1 of 3 episodes have no rows" in (content.salvaged or "")


def test_what_cannot_be_read_names_the_remedy(tmp_path: Path):
    root = write(tmp_path / "set", "v2.1")
    with pytest.raises(UnreadableLog, match="control_hz: 10"):
        read(root, embodiment(hz=50))
    (root / "meta/info.json").write_text(json.dumps(info("v3.1", storage_format="lance")))
    with pytest.raises(UnreadableLog, match="lance"):
        read(root)
    (root / "meta/info.json").write_text("{")
    with pytest.raises(UnreadableLog, match=r"info\.json"):
        read(root)


def test_published_sets():
    for name, episodes, rows, hz, width in [
        ("g1_inspire_v21", 100, 35965, 30, 26),
        ("groot_gr1_sim_v20", 5, 2096, 20, 44),
        ("reachy2_apple_storage_v30", 3, 899, 30, 19),
    ]:
        source = LogSource(str(sample("lerobot", name)))
        dims = ", ".join(f"{{name: d{i}}}" for i in range(width))
        arm = parse_embodiment(
            f"name: x\ncontrol_hz: {hz}\nstate: [{{topic: observation.state, dims: [{dims}]}}]\n"
            f"action: [{{topic: action, dims: [{dims}]}}]\n"
        )
        content = read_log(source, {"x": arm}, Sink())
        assert (len(content.episodes), content.messages, content.salvaged) == (episodes, rows, None)
        assert all(set(e.steps["valid"].to_pylist()) == {True} for e in content.episodes)
        assert reader_of(source).survey(source).topics["action"].width == width
