"""A draft is a file its own checker takes, and maps the log it was drafted from."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from rosbags.rosbag2 import StoragePlugin

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs import test_arrays
from tests.lwd_core.logs.readers import test_lerobot, test_rosbags
from tests.lwd_core.logs.robot_logs import PERIOD, START, Log, Sink, episode_log, saved
from tests.lwd_core.logs.ros_logs import array, bag, flag, joints, number, picture, trajectory, word
from tests.lwd_core.logs.samples import sample

JPEG = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))


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


def test_a_trajectory_is_an_action_in_the_order_of_the_state(tmp_path: Path):
    said = []
    for k in range(60):
        t = START + k * PERIOD
        said.append(("/joint_states", t, joints(t, ["a1", "a2"], [k, -k])))
        said.append(("/arm_controller/joint_trajectory", t, trajectory(t, ["a2", "a1"], [-k - 1, k + 1])))
    uri = str(bag(tmp_path / "rec", said))
    draft = drafted(uri)
    assert [(f.field, f.names_field) for f in draft.action] == [("points[0].positions", "joint_names")]
    assert [d.key for d in draft.action_dims] == ["a1", "a2"]
    (episode,) = read_log(LogSource(uri), {"x": draft}, Sink()).episodes
    np.testing.assert_array_equal(episode.steps["action"].to_pylist()[7], [8, -8])


def test_more_than_a_topics_first_messages_is_looked_at(tmp_path: Path):
    said = []
    for k in range(400):  # a driver that begins empty, and one that joins later
        t = START + k * PERIOD
        names = ["a1", "a2"] if k >= 5 else []
        said.append(("/joint_states", t, joints(t, names, [k] * len(names))))
        if k >= 200:
            said.append(("/joint_states", t + 1, joints(t, ["finger"], [k])))
        said.append(("/arm/command", t, array([k, k])))
    draft = infer(LogSource(str(bag(tmp_path / "rec", said))))
    assert [[d.key for d in f.dims] for f in draft.state] == [["a1", "a2"], ["finger"]]
    assert [f.topic for f in draft.action] == ["/arm/command"]
    assert any("5 of" in q and "name nothing" in q for q in draft.open)


def test_two_arms_and_their_cameras_are_named_apart(tmp_path: Path):
    said = []
    for k in range(40):
        t = START + k * PERIOD
        for side in ("left", "right"):
            said.append((f"/{side}/joint_states", t, joints(t, ["j1", "j2"], [k, k])))
            said.append((f"/{side}/cmd", t, array([k])))
            said.append((f"/{side}/color/image_raw/compressed", t, picture(t, JPEG)))
    draft = drafted(str(bag(tmp_path / "rec", said)))
    assert [d.name for d in draft.state_dims] == ["left_j1", "left_j2", "right_j1", "right_j2"]
    assert [d.name for d in draft.action_dims] == ["left_0", "right_0"]
    assert [c.name for c in draft.cameras] == ["left", "right"]


def test_leaders_act_where_followers_are_led(tmp_path: Path):
    said = []
    for k in range(40):
        t = START + k * PERIOD
        said += [(f"/{arm}/joint_states", t, joints(t, ["j1"], [k])) for arm in ("leader", "follower")]
    draft = drafted(str(bag(tmp_path / "rec", said)))
    assert [f.topic for f in draft.state] == ["/follower/joint_states"]
    assert [f.topic for f in draft.action] == ["/leader/joint_states"]


def test_episodes_and_outcome_are_drafted_where_topics_tell_them(tmp_path: Path):
    def recorded(name: str, more: Any) -> Embodiment:
        said = []
        for k in range(100):
            t = START + k * PERIOD
            said.append(("/joint_states", t, joints(t, ["j1"], [k])))
            said.append(("/cmd", t, array([k])))
            said += more(k, t)
        return drafted(str(bag(tmp_path / name, said)))

    words = {
        0: "episode_start",
        40: "episode_success",
        41: "episode_stop",
        60: "episode_start",
        98: "episode_stop",
    }
    by_word = recorded("a", lambda k, t: [("/markers", t, word(words[k]))] if k in words else [])
    assert by_word.episodes.boundary == "events"
    assert by_word.events is not None
    assert (by_word.events.kind, by_word.events.attributes) == ("data", None)
    assert by_word.events.end == ("episode_stop",)
    assert by_word.events.success == ("episode_success",)
    content = read_log(LogSource(str(tmp_path / "a")), {"x": by_word}, Sink())
    assert [(e.actions, e.outcome) for e in content.episodes] == [(42, "success"), (39, "unknown")]

    by_flag = recorded(
        "b", lambda k, t: [("/recording", t, flag(20 <= k < 50)), ("/success", t, flag(k == 49))]
    )
    assert (by_flag.episodes.boundary, by_flag.episodes.topic) == ("flag", "/recording")
    assert (by_flag.outcome.topic, by_flag.outcome.field) == ("/success", "data")

    sparse = recorded("c", lambda k, t: [("/reward", t, number(float(k == 99)))])
    assert (sparse.outcome.topic, sparse.outcome.success_at) == ("/reward", 1.0)
    (episode,) = read_log(LogSource(str(tmp_path / "c")), {"x": sparse}, Sink()).episodes
    assert episode.outcome == "success"

    pause = recorded("d", lambda k, t: [])
    assert pause.episodes.boundary == "log"


def test_silences_between_rollouts_part_them(tmp_path: Path):
    said = []
    for k in range(150):
        t = START + k * PERIOD + k // 50 * 4_000_000_000
        said += [("/joint_states", t, joints(t, ["j1"], [k])), ("/cmd", t, array([k]))]
    uri = str(bag(tmp_path / "rec", said))
    draft = drafted(uri)
    assert (draft.episodes.boundary, draft.episodes.gap_s) == ("gap", pytest.approx(2.0, abs=0.1))
    assert len(read_log(LogSource(uri), {"x": draft}, Sink()).episodes) == 3


def test_a_folder_of_logs_is_drafted_from_its_first_and_parts_of_one_together(tmp_path: Path):
    folder = tmp_path / "day"
    folder.mkdir()
    for take in range(3):  # recorded by hand, an hour apart
        said = []
        for k in range(50):
            t = START + take * 3600 * 10**9 + k * PERIOD
            said += [("/joint_states", t, joints(t, ["j1"], [k])), ("/cmd", t, array([k]))]
        (file,) = bag(tmp_path / f"take{take}", said).glob("*.mcap")
        file.rename(folder / f"take_{take}.mcap")
    questions = infer(LogSource(str(folder))).open
    assert "drafted from take_0.mcap, the first log of the folder" in questions
    assert not [question for question in questions if "clock" in question]
    parts = test_rosbags.split(tmp_path / "parts")
    parts.rename(folder / "a")
    draft = infer(LogSource(str(folder)))
    assert "drafted from a, the first log of the folder" in draft.open
    links = tmp_path / "links"
    links.mkdir()
    (links / "run.mcap").symlink_to(folder / "take_0.mcap")
    with pytest.raises(UnreadableLog, match=r"run\.mcap is a link out of it; put the file itself there"):
        infer(LogSource(str(links)))


@pytest.mark.parametrize(
    "clock_set",
    [{60: -2.0, 140: -1.0}, {100: 1e7}, {100: -3600.0}, {50: -0.3, 100: 40.0, 120: -39.0}],
)
def test_pairing_is_drafted_from_a_part_in_which_the_clock_was_not_set(
    tmp_path: Path, clock_set: dict[int, float]
):
    said, ahead = [], 0
    for k in range(200):
        ahead += int(clock_set.get(k, 0.0) * 1e9)
        t = START + k * PERIOD + ahead
        said.append(("/joint_states", t, joints(t, ["cycle"], [k])))
        said.append(("/cmd", t + PERIOD // 4, array([k])))
    uri = str(bag(tmp_path / "rec", said))
    questions = infer(LogSource(uri)).open
    assert sum("clock set" in question for question in questions) == sum(
        by < 0 or by > 3600 for by in clock_set.values()
    )
    assert not [question for question in questions if "silences" in question]
    draft = drafted(uri)
    assert draft.action[0].pairing == "follows"
    assert draft.action[0].delay_ms == pytest.approx(PERIOD / 4e6)
    content = read_log(LogSource(uri), {"x": draft}, Sink())
    rows = [row for e in content.episodes for row in e.steps.to_pylist() if row["valid"] and row["action"]]
    assert len(rows) > 190
    assert all(row["state"] == row["action"] for row in rows)


def test_of_commands_that_bear_their_states_stamps_no_delay_is_asked(tmp_path: Path):
    late = np.random.default_rng(0).uniform(0.05, 0.95, 200)
    said = []
    for k in range(200):
        t = START + k * PERIOD
        said.append(("/joint_states", t, joints(t, ["cycle"], [k])))
        said.append(("/joint_commands", t + int(late[k] * PERIOD), joints(t, ["cycle"], [k])))
    uri = str(bag(tmp_path / "rec", sorted(said, key=lambda m: m[1])))
    assert not [question for question in infer(LogSource(uri)).open if "which command" in question]
    (episode,) = read_log(LogSource(uri), {"x": drafted(uri)}, Sink()).episodes
    rows = [row for row in episode.steps.to_pylist() if row["valid"] and row["action"]]
    assert len(rows) > 190
    assert all(row["state"] == row["action"] for row in rows)


def test_what_was_not_found_is_said(tmp_path: Path):
    said = []
    for k in range(60):
        t = START + k * PERIOD
        said.append(("/joint_states", t, joints(t, ["j1", "j2"], [k, np.nan])))
        said.append(("/reward", t, number(k / 7)))
    draft = infer(LogSource(str(bag(tmp_path / "rec", said))))
    text = "\n".join(draft.open)
    assert "NO ACTION was found" in text
    assert "/joint_states: j2 is never a finite number, left out" in text
    assert "/joint_states: also holds velocity; not mapped" not in text  # it is what the dims are
    assert "from which value on a success" in text
    assert [d.key for f in draft.state for d in f.dims] == ["j1"]


def as_json(folder: Path, said: Callable[[int], list[tuple[str, Any]]]) -> str:
    log = Log({})
    for k in range(60):
        for topic, message in said(k):
            channel = log.channel(topic, "S", "jsonschema", "json", b"{}")
            log.raw(channel, json.dumps(message).encode(), START + k * PERIOD)
    return saved(folder, log.finish())


def test_numbers_that_come_in_turn_are_vectors_of_their_own(tmp_path: Path):
    uri = as_json(tmp_path, lambda k: [("/state", {"a": k} if k % 2 else {"b": k}), ("/cmd", {"u": k})])
    draft = drafted(uri)
    assert [[d.field for d in f.dims] for f in draft.state] == [["b"], ["a"]]
    (episode,) = read_log(LogSource(uri), {"x": draft}, Sink()).episodes
    valid = np.array(episode.steps["valid"].to_pylist())
    assert valid.mean() > 0.9
    state = np.array(episode.steps["state"].to_pylist())[valid]
    k = (episode.steps["t_ns"].to_numpy()[valid] - START) // PERIOD
    np.testing.assert_array_equal(state, np.stack([k // 2 * 2, (k - 1) // 2 * 2 + 1], axis=1))


def test_null_among_numbers_is_no_number(tmp_path: Path):
    uri = as_json(tmp_path, lambda k: [("/state", {"q": [k, None if k < 5 else 1]}), ("/cmd", {"u": k})])
    content = read_log(LogSource(uri), {"x": drafted(uri)}, Sink())
    (episode,) = content.episodes
    assert episode.steps["valid"].to_pylist()[:6] == [False] * 5 + [True]
    assert content.salvaged is None


def test_one_topic_may_hold_state_action_and_verdict(tmp_path: Path):
    def said(k: int) -> list[tuple[str, Any]]:
        return [
            ("/step", {"obs": {"q": [k, 0, 1]}, "action": [k, 2], "reward": float(k == 59), "done": k == 59})
        ]

    uri = as_json(tmp_path, said)
    draft = drafted(uri)
    assert ([f.field for f in draft.state], [f.field for f in draft.action]) == (["obs.q"], ["action"])
    (episode,) = read_log(LogSource(uri), {"x": draft}, Sink()).episodes
    assert (episode.actions, episode.outcome) == (60, "success")


def test_names_that_no_path_leads_to_are_said(tmp_path: Path):
    uri = as_json(tmp_path, lambda k: [("/state", {"joint.a": k, "joint b": k, "c": k})])
    assert "/state: no path leads to 'joint.a', 'joint b'; left out" in infer(LogSource(uri)).open


def test_a_log_that_names_another_embodiment_is_read_by_the_draft_made_of_it(tmp_path: Path):
    uri = saved(tmp_path, episode_log(20))
    draft = parse_embodiment(render(infer(LogSource(uri), "bot")))
    assert (draft.name, draft.match) == ("bot", {"embodiment": "arm"})
    assert len(read_log(LogSource(uri), {"bot": draft}, Sink()).episodes) == 1


def test_types_without_a_definition_are_named_with_the_remedy(tmp_path: Path):
    said = [("/lowstate", START + k * PERIOD, joints(START, ["a"], [k])) for k in range(20)]
    folder = bag(tmp_path / "rec", said, StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(next(folder.glob("*.db3")))) as database, database:
        database.execute("UPDATE topics SET type = 'vendor_msgs/msg/LowState'")
        database.execute("DROP TABLE message_definitions")
    with pytest.raises(UnreadableLog) as refused:
        infer(LogSource(str(folder)))
    assert "/lowstate" in str(refused.value)
    assert "vendor_msgs/msg/LowState: the log holds no definition of it" in str(refused.value)
    assert "`ros2 bag convert`" in str(refused.value)


@pytest.mark.parametrize("nothing", ["None", "null", "", "unknown"])
def test_facts_that_say_nothing_match_nothing(tmp_path: Path, nothing: str):
    draft = infer(LogSource(saved(tmp_path, episode_log(10, facts={"embodiment": nothing}))))
    assert draft.match == {}
    assert draft.name == "log"


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
        ("bag/rosbagjs/example-lz4.bag",),
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
