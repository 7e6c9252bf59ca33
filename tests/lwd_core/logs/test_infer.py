"""A draft is a file its own checker takes, and maps the log it was drafted from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft import render
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.infer import infer
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs import test_arrays, test_lerobot, test_rosbags
from tests.lwd_core.logs.robot_logs import Sink, episode_log, saved
from tests.lwd_core.logs.samples import sample


def drafted(uri: str) -> Embodiment:
    return parse_embodiment(render(infer(LogSource(uri))), "draft")


def test_a_robot_log_drafts_the_embodiment_it_was_written_by(tmp_path: Path):
    uri = saved(tmp_path, episode_log(60, camera_every=5, human=lambda i: i > 40))
    draft = drafted(uri)
    assert (draft.name, draft.control_hz, draft.match) == ("arm", 50, {"embodiment": "arm"})
    assert [(f.topic, f.field, len(f.dims)) for f in draft.state] == [("/state", "values", 3)]
    assert [f.topic for f in draft.action] == ["/action/executed"]
    assert [f.topic for f in draft.proposed] == ["/action/proposed"]
    assert [c.topic for c in draft.cameras] == ["/camera/wrist"]
    assert draft.actor.topic == "/actor"
    assert draft.episodes.boundary == "events"
    (episode,) = read_log(LogSource(uri), {"arm": draft}, Sink()).episodes
    assert episode.actions == 60
    assert episode.segments.num_rows == 2


def test_named_joints_are_drafted_by_name_and_twists_by_field(tmp_path: Path):
    uri = test_rosbags.write2(tmp_path / "rec", StoragePlugin.MCAP)
    draft = drafted(uri)
    (joints,) = draft.state
    assert joints.names_field == "name"
    assert {d.key for d in joints.dims} == {"wheel_left", "wheel_right", "caster"}
    assert "linear.x" in {d.field for d in draft.action[0].dims}
    (episode,) = read_log(LogSource(uri), {"x": draft}, Sink()).episodes
    left = [d.name for d in draft.state_dims].index("joints_wheel_left")
    got = np.array(episode.steps["state"].to_pylist())[:, left]
    np.testing.assert_array_equal(got, np.arange(test_rosbags.STEPS) * 0.5)


def lerobot(folder: Path) -> Path:
    return test_lerobot.write(folder / "set", "v3.0")


def robomimic(folder: Path) -> Path:
    test_arrays.write_robomimic(folder / "a.hdf5")
    return folder / "a.hdf5"


def ogbench(folder: Path) -> Path:
    np.savez(folder / "a.npz", **test_arrays.flat(10))
    return folder / "a.npz"


@pytest.mark.parametrize(
    ("write", "hz", "actions"), [(lerobot, 10, 28), (robomimic, 20, 27), (ogbench, 20, 10)]
)
def test_data_sets_draft_what_reads_them(tmp_path: Path, write: Any, hz: float, actions: int):
    uri = str(write(tmp_path))
    draft = drafted(uri)
    assert draft.control_hz == hz
    content = read_log(LogSource(uri), {"x": draft}, Sink())
    assert sum(e.actions for e in content.episodes) == actions
    assert content.salvaged is None


def test_a_log_of_no_format_says_so(tmp_path: Path):
    with pytest.raises(UnreadableLog, match="no known log format"):
        infer(LogSource(saved(tmp_path, b"hello")))


def test_published_logs_draft_something_that_loads():
    for parts in [
        ("bag/rosbagjs/example.bag",),
        ("bag/invariants/rot_up.bag",),
        ("lerobot/g1_inspire_v21",),
        ("lerobot/groot_gr1_sim_v20",),
        ("lerobot/reachy2_apple_storage_v30",),
        ("mcap/rerun/simple-protobuf.mcap",),
        ("mcap/rerun/simple_protobuf_vec3.mcap",),
        ("mcap/rerun/rosbag2_2025_09_10-13_03_56_0.mcap",),
        ("npz/ogbench_cube_single_play_10ep.npz",),
    ]:
        assert drafted(str(sample(*parts))).state_dims
