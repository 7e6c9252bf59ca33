"""The layouts of HDF5 sets in use, each drafted and read as their makers write them."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import simplejpeg

from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.draft.draft import render
from lwd_core.logs.draft.infer import infer
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs.robot_logs import Sink

N = 20


def drafted(path: Path, name: str | None = None) -> tuple[str, Embodiment]:
    text = render(infer(LogSource(str(path)), name))
    return text, parse_embodiment(text, "draft")


def read(path: Path, sink: Sink | None = None) -> LogContent:
    draft = drafted(path)[1]
    return read_log(LogSource(str(path)), {draft.name: draft}, sink or Sink())


def wave(seed: int, width: int, n: int = N) -> np.ndarray:
    return np.sin(np.arange(n)[:, None] / 5 + np.arange(width) + seed).astype(np.float32)


def states(content: LogContent, episode: int) -> np.ndarray:
    return np.array(content.episodes[episode].steps["state"].to_pylist(), np.float32)


def aloha(path: Path, seed: int, compressed: bool) -> np.ndarray:
    pictures = np.zeros((N, 24, 32, 3), np.uint8) + 10 * np.arange(N, dtype=np.uint8)[:, None, None, None]
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = False
        file["action"] = wave(seed, 14)
        file["observations/qpos"], file["observations/qvel"] = wave(seed + 1, 14), wave(seed + 2, 14)
        if not compressed:
            file["observations/images/cam_high"] = pictures
            return pictures
        jpegs = [simplejpeg.encode_jpeg(p, quality=95) for p in pictures]
        longest = max(map(len, jpegs))
        padded = np.zeros((N, longest), np.uint8)
        for row, jpeg in zip(padded, jpegs, strict=True):
            row[: len(jpeg)] = np.frombuffer(jpeg, np.uint8)
        file["observations/images/cam_high"] = padded
        file["compress_len"] = np.array([[len(j) for j in jpegs]])
    return pictures


@pytest.mark.parametrize("compressed", [False, True])
def test_aloha_is_an_episode_a_file_and_drafts_agree(tmp_path: Path, compressed: bool):
    drafts = []
    for number in range(2):
        path = tmp_path / f"episode_{number}.hdf5"
        pictures = aloha(path, number, compressed)
        drafts.append(drafted(path)[1])
        sink = Sink()
        content = read(path, sink)
        assert [e.actions for e in content.episodes] == [N]
        np.testing.assert_array_equal(states(content, 0)[:, :14], wave(number + 1, 14))
        shades = [simplejpeg.decode_jpeg(data).mean() for _, _, data in sink.frames]
        np.testing.assert_allclose(shades, pictures.mean(axis=(1, 2, 3)), atol=1)
    assert drafts[0] == drafts[1] or [f.topic for f in drafts[0].state] == [f.topic for f in drafts[1].state]
    assert (drafts[0].name, drafts[1].name) == ("episode", "episode")
    assert [c.name for c in drafts[0].cameras] == ["cam_high"]
    assert drafts[0].control_hz == 50


def test_minari_ends_by_its_flags_and_keeps_the_last_observation(tmp_path: Path):
    path = tmp_path / "main_data.hdf5"
    with h5py.File(path, "w") as file:
        for e in (2, 10, 0):
            group = file.create_group(f"episode_{e}")
            group.attrs["seed"] = e
            rows = N + (e != 2)  # one recorder forgot the last observation
            group["observations/arm/pos"], group["observations/arm/vel"] = (
                wave(e, 3, rows),
                wave(e + 1, 3, rows),
            )
            group["observations/goal/pos"] = wave(e + 2, 2, rows)
            group["actions"], group["rewards"] = wave(e, 2), np.zeros(N)
            group["infos/success"] = np.append(np.zeros(rows - 1, bool), e == 10)
            last = np.arange(N) == N - 1
            group["terminations"], group["truncations"] = last & (e == 0), last & (e > 0)
    content = read(path)
    assert [e.attributes["seed"] for e in content.episodes] == ["0", "2", "10"]
    assert [e.outcome for e in content.episodes] == ["failure", "failure", "success"]
    assert [e.end for e in content.episodes] == ["terminated", "truncated", "terminated"]
    assert [e.steps.num_rows for e in content.episodes] == [N + 1, N, N + 1]
    np.testing.assert_array_equal(states(content, 0)[:, :3], wave(0, 3, N + 1))
    names = [d.name for d in drafted(path)[1].state_dims]
    assert names == [f"{n}_{i}" for n, w in (("arm_pos", 3), ("vel", 3), ("goal_pos", 2)) for i in range(w)]


def test_maniskill_trajectories(tmp_path: Path):
    path = tmp_path / "trajectory.h5"
    with h5py.File(path, "w") as file:
        for e in range(2):
            group = file.create_group(f"traj_{e}")
            group["obs"], group["actions"] = wave(e, 4, N + 1), wave(e, 2)
            last = np.arange(N) == N - 1
            group["success"], group["terminated"], group["truncated"] = last & (e == 0), last & (e == 0), last
    content = read(path)
    assert [(e.outcome, e.end) for e in content.episodes] == [
        ("success", "terminated"),
        ("failure", "truncated"),
    ]
    np.testing.assert_array_equal(states(content, 1), wave(1, 4, N + 1))


def robomimic(path: Path, env: dict[str, Any], attrs: list[dict[str, Any]], **more: str) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(env)
        for name, value in more.items():
            data.attrs[name] = value
        for i, said in enumerate(attrs):
            demo = data.create_group(f"demo_{i}")
            demo["actions"], demo["obs/joint_pos"], demo["states"] = wave(i, 4), wave(i + 1, 4), wave(i, 40)
            past = np.concatenate([np.zeros((1, 4), np.float32), wave(i, 4)[:-1]])
            demo["obs/actions"] = past
            for name, value in said.items():
                demo.attrs[name] = value
    return path


@pytest.mark.parametrize("yes", [True, 1, 1.0, np.bool_(True), "True", b"success"])
@pytest.mark.parametrize("no", [False, 0, "failed"])
def test_what_a_demonstration_says_of_success_counts(tmp_path: Path, yes: Any, no: Any):
    env = {"env_name": "Stack", "sim_args": {"dt": 0.01, "decimation": 5}}
    path = robomimic(tmp_path / "a.hdf5", env, [{"success": yes}, {"success": no}, {"success": "?"}])
    content = read(path)
    assert [e.outcome for e in content.episodes] == ["success", "failure", "unknown"]
    assert [e.end for e in content.episodes] == ["terminated", "truncated", "truncated"]
    text, draft = drafted(path)
    assert draft.control_hz == 20
    assert [f.topic for f in draft.state] == ["obs/joint_pos"]
    assert "obs/actions: called like the action" in text
    assert "states: taken for what only a simulator knows" in text


@pytest.mark.parametrize("listed", [False, True])
def test_libero_says_its_task_in_words(tmp_path: Path, listed: bool):
    env = {"env_name": "Libero_Tabletop", "env_kwargs": {"robots": ["Panda"], "control_freq": 20}}
    for number, words in enumerate(("open the top drawer", "put the bowl away")):
        info = json.dumps({"language_instruction": list(words) if listed else words})
        path = robomimic(tmp_path / f"{number}.hdf5", env, [{}, {}], problem_info=info)
        content = read(path)
        assert {e.instruction for e in content.episodes} == {words}
        assert {e.task for e in content.episodes} == {words.replace(" ", "-")}


def test_an_episode_may_have_words_of_its_own(tmp_path: Path):
    attrs = [{"ep_meta": json.dumps({"lang": "close the door"})}, {"language_instruction": "open it"}]
    content = read(robomimic(tmp_path / "a.hdf5", {"env_name": "Kitchen"}, attrs))
    assert [e.instruction for e in content.episodes] == ["close the door", "open it"]


def test_a_sparse_reward_is_proposed_as_success_and_a_dense_one_is_not(tmp_path: Path):
    for name, reward in {
        "sparse": (np.arange(N) >= N - 2).astype(float),
        "dense": np.linspace(0, 1, N),
        "counted": np.arange(N) % 2,
    }.items():
        path = robomimic(tmp_path / f"{name}.hdf5", {"env_name": "Lift"}, [{}])
        with h5py.File(path, "a") as file:
            file["data/demo_0/rewards"] = reward
        text, draft = drafted(path)
        assert draft.outcome.topic == ("rewards" if name == "sparse" else None)
        assert ("says nothing of success" in text) == (name != "sparse")


def test_two_arrays_of_one_last_name_are_told_apart(tmp_path: Path):
    path = robomimic(tmp_path / "a.hdf5", {"env_name": "Stack"}, [{}])
    matrix = np.tile(np.eye(4, dtype=np.float32), (N, 1, 1))
    with h5py.File(path, "a") as file:
        for name in ("eef_pose/hand", "target_eef_pose/hand", "object_pose/cube"):
            file[f"data/demo_0/obs/datagen_info/{name}"] = matrix
    text, draft = drafted(path)
    names = {d.name for d in draft.state_dims}
    assert {"cube_0", "eef_pose_hand_0", "target_eef_pose_hand_15"} <= names
    assert len(names) == len(draft.state_dims) == 4 + 3 * 16
    assert "what a data generator knows" in text
    assert len(read(path).episodes) == 1


def test_links_within_the_file_are_followed(tmp_path: Path):
    path = robomimic(tmp_path / "a.hdf5", {"env_name": "Stack"}, [{}, {}])
    robomimic(tmp_path / "other.hdf5", {"env_name": "Stack"}, [{}])
    with h5py.File(path, "a") as file:
        file["shared"] = wave(7, 4)
        del file["data/demo_1/obs/joint_pos"]
        file["data/demo_1/obs/joint_pos"] = h5py.SoftLink("/shared")
        file["data/demo_0/obs/loop"] = h5py.SoftLink("/data/demo_0/obs/loop")
        file["away"] = h5py.ExternalLink("other.hdf5", "/data")
        file["data/demo_2"] = h5py.SoftLink("/away/demo_0")
    content = read(path)
    assert len(content.episodes) == 2
    np.testing.assert_array_equal(states(content, 1), wave(7, 4))


def test_a_file_of_no_layout_says_what_it_holds(tmp_path: Path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["voltages"] = np.zeros(3)
    with pytest.raises(UnreadableLog, match=r"no known layout .*; it holds voltages"):
        infer(LogSource(str(tmp_path / "a.hdf5")))


def flat(path: Path, timeouts: list[int] | None, following: bool = False) -> Path:
    """Three trajectories of 20 rows, far from each other."""
    state = np.concatenate([wave(0, 3) + 50 * i for i in range(3)])
    with h5py.File(path, "w") as file:
        file["observations"], file["actions"] = state, np.zeros((60, 2), np.float32)
        file["rewards"], file["terminals"] = np.zeros(60, np.float32), np.zeros(60, bool)
        if timeouts is not None:
            file["timeouts"] = np.isin(np.arange(60), timeouts)
        if following:
            after = np.concatenate([state[1:], state[-1:]])
            after[[19, 39]] = state[[19, 39]] + 0.1
            file["next_observations"] = after
    return path


@pytest.mark.parametrize("following", [False, True])
@pytest.mark.parametrize(
    ("timeouts", "steps", "gaps", "told"),
    [
        (None, [60], [20, 40], "no timeouts: .*; the state jumps at rows 20, 40"),
        ([22, 42, 59], [23, 20, 17], [20, 40], r"jumps within episodes at rows 20, 40 \(ends come late\)"),
        ([19, 39, 59], [20, 20, 20], [], None),
    ],
)
def test_trajectories_that_run_into_each_other_break_where_the_state_jumps(
    tmp_path: Path, timeouts: list[int], steps: list[int], gaps: list[int], told: str | None, following: bool
):
    import re

    content = read(flat(tmp_path / "a.hdf5", timeouts, following))
    assert [e.actions for e in content.episodes] == steps
    found = np.concatenate([np.array(e.steps["gap"])[: e.actions] for e in content.episodes])
    assert np.flatnonzero(found).tolist() == gaps
    assert bool(content.notes) == (told is not None)
    assert told is None or re.search(told, content.notes[0])


def test_a_demonstration_without_rows_is_named(tmp_path: Path):
    path = robomimic(tmp_path / "x.hdf5", {"env_name": "Lift"}, [{}, {}, {}])
    with h5py.File(path, "r+") as file:
        for name in ("actions", "obs/joint_pos", "obs/actions", "states"):
            del file[f"data/demo_1/{name}"]
            file[f"data/demo_1/{name}"] = wave(0, 4, 0)
    content = read(path)
    assert [e.attributes["demo"] for e in content.episodes] == ["0", "2"]
    assert "demo_1: no rows, left out" in content.notes


@pytest.mark.parametrize("name", ["success", "task_success", "is_successful", "outcome", "result"])
def test_an_episode_that_says_nothing_among_such_that_do_is_open(tmp_path: Path, name: str):
    path = robomimic(tmp_path / "a.hdf5", {"env_name": "Stack"}, [{}, {name: "success"}, {name: "failure"}])
    assert [e.outcome for e in read(path).episodes] == ["unknown", "success", "failure"]
    assert "says nothing of success" not in "\n".join(infer(LogSource(str(path))).open)


def test_success_may_be_an_array_of_one_value(tmp_path: Path):
    path = robomimic(tmp_path / "a.hdf5", {"env_name": "Stack"}, [{}, {"success": np.array([True])}])
    with h5py.File(path, "a") as file:
        file["data/demo_0/success"] = False
    assert [e.outcome for e in read(path).episodes] == ["failure", "success"]


def test_a_task_file_names_the_task_where_no_words_do(tmp_path: Path):
    bddl = "libero/KITCHEN_SCENE1_open_the_drawer.bddl"
    path = robomimic(tmp_path / "a.hdf5", {"env_name": "Libero"}, [{}], bddl_file_name=bddl)
    (episode,) = read(path).episodes
    assert episode.instruction == "open the drawer"


def test_a_folder_of_logs_is_drafted_from_its_first(tmp_path: Path):
    for number in range(2):
        aloha(tmp_path / f"episode_{number}.hdf5", number, False)
    text, draft = drafted(tmp_path, "bot")
    assert "drafted from episode_0.hdf5" in text
    for number in range(2):
        source = LogSource(str(tmp_path / f"episode_{number}.hdf5"))
        assert len(read_log(source, {"bot": draft}, Sink()).episodes) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableLog, match="the folder holds no log"):
        infer(LogSource(str(tmp_path / "empty")))
