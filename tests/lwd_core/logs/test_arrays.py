"""npz in D4RL and OGBench layout, HDF5 in robomimic's and D4RL's."""

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lwd_core.logs.content import LogContent, UnreadableLog
from lwd_core.logs.embodiment import parse_embodiment
from lwd_core.logs.read import read_log, reader_of
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.logs.robot_logs import Sink
from tests.lwd_core.logs.samples import sample

FLAT = parse_embodiment("""\
name: cube
control_hz: 20
source: play
state: [{topic: observations, dims: [{name: a}, {name: b}, {name: c}]}]
action: [{topic: actions, dims: [{name: u}, {name: v}]}]
""")


def read(path: Path, embodiment: Embodiment = FLAT, sink: Sink | None = None) -> LogContent:
    return read_log(LogSource(str(path)), {embodiment.name: embodiment}, sink or Sink())


def flat(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    return {
        "observations": rng.normal(size=(rows, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, size=(rows, 2)).astype(np.float32),
        "terminals": np.zeros(rows),
    }


def test_ogbench_keeps_the_last_state_and_drops_its_empty_action(tmp_path: Path):
    arrays = flat(30)
    arrays["terminals"][[9, 29]] = 1
    np.savez(tmp_path / "a.npz", qpos=np.zeros((30, 4)), **arrays)
    content = read(tmp_path / "a.npz")
    assert [e.actions for e in content.episodes] == [9, 19]
    assert [e.steps.num_rows for e in content.episodes] == [10, 20]
    second = content.episodes[1].steps
    np.testing.assert_array_equal(np.array(second["state"].to_pylist()), arrays["observations"][10:])
    np.testing.assert_array_equal(np.array(second["action"].to_pylist()[:19]), arrays["actions"][10:29])
    assert second["action"][19].as_py() == []
    assert second["t_ns"][19].as_py() == 19 * 50_000_000
    assert {e.end for e in content.episodes} == {"truncated"}
    assert {e.source for e in content.episodes} == {"play"}


def test_d4rl_parts_at_terminals_and_timeouts_and_takes_next_observations(tmp_path: Path):
    arrays = flat(30)
    arrays["terminals"][9] = 1
    timeouts = np.zeros(30, dtype=bool)
    timeouts[19] = True
    following = np.roll(arrays["observations"], -1, axis=0) + 100
    np.savez_compressed(tmp_path / "a.npz", timeouts=timeouts, next_observations=following, **arrays)
    content = read(tmp_path / "a.npz")
    assert [e.actions for e in content.episodes] == [10, 10, 10]
    assert [e.end for e in content.episodes] == ["terminated", "truncated", "truncated"]
    np.testing.assert_array_equal(content.episodes[0].steps["state"][10].as_py(), following[9])


def test_a_single_task_of_ogbench_gives_attempts_that_end_at_the_goal(tmp_path: Path):
    arrays = flat(30)
    arrays["terminals"][[9, 29]] = 1
    masks = np.ones(30)
    masks[[4, 5, 29]] = 0  # reached in the first trajectory, held a while, lost; reached by the last action
    np.savez(tmp_path / "a.npz", masks=masks, rewards=-masks, **arrays)
    first, second, third = read(tmp_path / "a.npz").episodes
    assert [e.actions for e in (first, second, third)] == [4, 3, 19]
    assert [e.end for e in (first, second, third)] == ["terminated", "truncated", "terminated"]
    assert [e.outcome for e in (first, second, third)] == ["success", "failure", "success"]
    np.testing.assert_array_equal(first.steps["state"].to_pylist(), arrays["observations"][:5])
    np.testing.assert_array_equal(second.steps["state"].to_pylist(), arrays["observations"][6:10])
    # As its loader compacts it: terminals doubled, what is no action told by valids.
    valids = 1 - arrays["terminals"]
    arrays["terminals"][[8, 28]] = 1
    np.savez(tmp_path / "b.npz", masks=masks, rewards=-masks, valids=valids, **arrays)
    assert [e.actions for e in read(tmp_path / "b.npz").episodes] == [4, 3, 19]
    # And with next_observations: no extra row, so the state after the last action is no row to be judged.
    kept = valids.astype(bool)
    following = np.roll(arrays["observations"], -1, axis=0)
    rows = {k: v[kept] for k, v in {**arrays, "masks": masks, "rewards": -masks}.items()}
    np.savez(tmp_path / "c.npz", next_observations=following[kept], **rows)
    first, second, third = read(tmp_path / "c.npz").episodes
    assert [e.actions for e in (first, second, third)] == [4, 3, 19]
    assert [e.end for e in (first, second, third)] == ["terminated", "truncated", "truncated"]
    np.testing.assert_array_equal(third.steps["state"].to_pylist()[-1], arrays["observations"][29])


def test_nothing_is_unpickled(tmp_path: Path):
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    arrays = flat(10)
    np.savez(tmp_path / "a.npz", infos=np.array([Bomb()], dtype=object), **arrays)
    content = read(tmp_path / "a.npz")
    assert "array infos cannot be read" in (content.salvaged or "")
    assert len(content.episodes) == 1
    (tmp_path / "b.npz").write_bytes(pickle.dumps(arrays))
    with pytest.raises(UnreadableLog):
        read(tmp_path / "b.npz")
    assert not (tmp_path / "exploded").exists()


def test_names_in_an_archive_lead_nowhere(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **flat(10))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("../../outside.npy", b"x")
        archive.writestr("/tmp/outside.npy", b"x")
    before = sorted(tmp_path.rglob("*"))
    assert len(read(tmp_path / "a.npz").episodes) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_npz_of_something_else_says_what_is_missing(tmp_path: Path):
    np.savez(tmp_path / "a.npz", observations=np.zeros((3, 3)))
    with pytest.raises(UnreadableLog, match="without actions, terminals"):
        read(tmp_path / "a.npz")


ROBOMIMIC = parse_embodiment("""\
name: panda
control_hz: 20
match: {robot_type: Panda}
state:
  - {topic: obs/eef_pos, dims: [{name: x, unit: m}, {name: y, unit: m}, {name: z, unit: m}]}
  - {topic: obs/gripper, dims: [{name: g}]}
action: [{topic: actions, dims: [{name: u}, {name: v}]}]
cameras: [{name: front, topic: obs/front_image}]
outcome: {topic: rewards, success_at: 1.0}
source: demonstration
""")


def write_robomimic(path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    written = {}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        args = {"env_name": "Lift", "env_kwargs": {"robots": ["Panda"]}}
        data.attrs["env_args"] = json.dumps(args)
        for number in (10, 2, 0):
            demo = data.create_group(f"demo_{number}")
            n = 5 + number
            obs = rng.normal(size=(n + 1, 3))
            written[f"{number}"] = obs
            demo["obs/eef_pos"], demo["next_obs/eef_pos"] = obs[:-1], obs[1:]
            demo["obs/gripper"], demo["next_obs/gripper"] = np.zeros((n, 1)), np.ones((n, 1))
            demo["obs/front_image"] = np.zeros((n, 8, 8, 3), dtype=np.uint8)
            demo["actions"] = rng.normal(size=(n, 2))
            demo["rewards"] = np.arange(n) == (n - 1 if number else n)
            demo["action_modes"] = np.arange(n) // 3 == 1
    return written


def test_robomimic_demonstrations_in_their_order(tmp_path: Path):
    written = write_robomimic(tmp_path / "a.hdf5")
    sink = Sink()
    content = read(tmp_path / "a.hdf5", ROBOMIMIC, sink)
    assert content.format == "hdf5"
    assert [e.attributes["demo"] for e in content.episodes] == ["0", "2", "10"]
    assert [e.actions for e in content.episodes] == [5, 7, 15]
    assert [e.outcome for e in content.episodes] == ["failure", "success", "success"]
    steps = content.episodes[1].steps
    assert steps.num_rows == 8
    got = np.array(steps["state"].to_pylist())
    np.testing.assert_array_equal(got[:, :3], written["2"].astype(np.float32))
    assert got[:, 3].tolist() == [0.0] * 7 + [1.0]
    assert content.episodes[1].segments["first_step"].to_pylist() == [0, 3, 6]
    assert len(sink.frames) == 5 + 7 + 15
    assert sink.frames[0][2].startswith(b"\xff\xd8")


def test_a_broken_demonstration_costs_itself_only(tmp_path: Path):
    write_robomimic(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        del file["data/demo_2/obs/gripper"]
        file["data/demo_2/obs/gripper"] = np.zeros((3, 1))
    content = read(tmp_path / "a.hdf5", ROBOMIMIC)
    assert [e.attributes["demo"] for e in content.episodes] == ["0", "10"]
    assert "demo_2 cannot be read" in (content.salvaged or "")


def test_links_out_of_the_file_are_not_followed(tmp_path: Path):
    write_robomimic(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data"] = h5py.ExternalLink("other.hdf5", "data")
    with pytest.raises(UnreadableLog):
        read(tmp_path / "a.hdf5", ROBOMIMIC)


def test_flat_arrays_in_hdf5(tmp_path: Path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name, array in flat(20).items():
            file[name] = array
        file["timeouts"] = np.arange(20) % 10 == 9
    assert [e.actions for e in read(tmp_path / "a.hdf5").episodes] == [10, 10]


def test_published_ogbench_set():
    source = LogSource(str(sample("npz/ogbench_cube_single_play_10ep.npz")))
    topics = reader_of(source).survey(source).topics
    assert (topics["observations"].width, topics["actions"].width) == (28, 5)
    dims = [", ".join(f"{{name: d{i}}}" for i in range(n)) for n in (28, 5)]
    cube = parse_embodiment(
        f"name: x\ncontrol_hz: 20\nstate: [{{topic: observations, dims: [{dims[0]}]}}]\n"
        f"action: [{{topic: actions, dims: [{dims[1]}]}}]\n"
    )
    content = read_log(source, {"x": cube}, Sink())
    assert [e.actions for e in content.episodes] == [1000] * 10
    assert content.messages == 10_000
