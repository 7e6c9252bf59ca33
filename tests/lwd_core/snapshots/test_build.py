import io
import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load as load_safetensors
from webdataset.tariterators import group_by_keys, tar_file_expander

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.publish import DAY_S, Staging
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.snapshots.verify import verify
from lwd_core.storage.location import open_location
from storage_schemas.tables import TABLES
from tests.lwd_core.snapshots.lakes import START, add_episode, episode_id


def build(lake: Lake, root: Path, **spec) -> Snapshot:
    return build_snapshot(lake, SnapshotSpec.parse({"name": "all", **spec}), str(root), now_ns=START)


def files(snapshot: Snapshot) -> dict[str, bytes]:
    folder = Path(snapshot.path("manifest.json")).parent
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def label(lake: Lake, layer: str, rows: list[dict], kind: str = "reward") -> None:
    empty = {"log_id": "l", "site": "lab", "day": "2026-01-01", "kind": kind, "created_ns": 1}
    full = [dict.fromkeys(TABLES["labels"].names) | empty | {"layer_id": layer} | r for r in rows]
    lake.append("labels", pa.Table.from_pylist(full, TABLES["labels"].schema))


def rewards(snapshot: Snapshot) -> dict[str, list[float]]:
    data = files(snapshot)
    return {
        m.episode_id: load_safetensors(data[m.shard][m.offset : m.offset + m.bytes])["reward"].tolist()
        for m in snapshot.episodes
    }


def test_same_spec_and_versions_give_the_same_bytes_on_another_machine(fleet: Lake, tmp_path: Path):
    moved = tmp_path / "elsewhere" / "lake"
    shutil.copytree(fleet.root, moved)
    first = build(fleet, tmp_path / "a", holdout=0.3)
    second = build(Lake.open(str(moved)), tmp_path / "b", holdout=0.3)
    assert first.digest == second.digest
    assert files(first) == files(second)


def test_a_discount_by_episode_is_that_of_the_longest_task(lake: Lake, tmp_path: Path):
    """Half of a success is left at the start of the long task's median episode, 40 frames."""
    for n, (steps, task) in enumerate(
        [(30, "long"), (40, "long"), (90, "long"), (10, "short"), (60, "short")]
    ):
        add_episode(lake, n, steps, task=task)
    snapshot = build(lake, tmp_path / "s", discount={"episode": 0.5})
    assert snapshot.spec.gamma**40 == pytest.approx(0.5, abs=1e-4)
    assert snapshot.spec.discount is None
    resampled = build(lake, tmp_path / "s", discount={"episode": 0.5}, frame_rate=5)
    assert resampled.spec.gamma**20 == pytest.approx(0.5, abs=1e-4)


def test_a_second_build_changes_nothing(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 5)
    first = build(lake, tmp_path / "s")
    versions = lake.versions()
    again = build_snapshot(lake, first.spec, str(tmp_path / "s"), now_ns=START + 1)
    assert again.digest == first.digest
    assert lake.versions() == versions
    assert [p.name for p in (tmp_path / "s").iterdir()] == [first.digest]


def test_registered_with_its_members(lake: Lake, tmp_path: Path):
    ids = {add_episode(lake, i, 5) for i in range(3)}
    snapshot = build(lake, tmp_path / "s")
    (row,) = lake.read("snapshots").to_pylist()
    assert (row["digest"], row["state"], row["episodes"], row["steps"]) == (snapshot.digest, "valid", 3, 15)
    assert json.loads(row["versions"]) == dict(snapshot.manifest.versions)
    assert {m["episode_id"] for m in lake.read("snapshot_members").to_pylist()} == ids


def test_an_old_version_can_be_built_again(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 5)
    first = build(lake, tmp_path / "s")
    add_episode(lake, 2, 5)
    assert build(lake, tmp_path / "s").digest != first.digest
    again = build_snapshot(
        lake, first.spec, str(tmp_path / "t"), now_ns=START, versions=first.manifest.versions
    )
    assert files(again) == files(first)


def test_shards_are_read_by_webdataset_and_safetensors(fleet: Lake, tmp_path: Path):
    snapshot = build(fleet, tmp_path / "s", shard_mb=0.003)
    assert len(snapshot.manifest.shards) > 2
    samples = {}
    for shard in snapshot.manifest.shards:
        with open(snapshot.path(shard.name), "rb") as stream:
            members = tar_file_expander([{"url": shard.name, "stream": stream}])
            samples |= {s["__key__"]: s for s in group_by_keys(members)}
    assert set(samples) == {m.episode_id for m in snapshot.episodes}
    for member in snapshot.episodes:
        tensors = load_safetensors(samples[member.episode_id]["safetensors"])
        assert tensors["state"].shape == (member.rows, 3)
        np.testing.assert_array_equal(tensors["action"][:, 0], np.arange(1, member.steps + 1))
    raw = files(snapshot)[snapshot.manifest.shards[0].name]
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert {(t.mtime, t.uid, t.uname) for t in tar} == {(0, 0, "")}


def test_split_is_by_episode_and_statistics_come_from_train_alone(fleet: Lake, tmp_path: Path):
    snapshot = build(fleet, tmp_path / "s", holdout=0.4)
    splits = Counter(m.split for m in snapshot.episodes)
    assert min(splits["train"], splits["holdout"]) > 0
    counted = sum(m.rows for m in snapshot.episodes if m.split == "train")
    assert snapshot.manifest.stats["arm"]["state"].count == counted
    members = [m for m in snapshot.episodes if m.split == "train"]
    frames = np.concatenate([np.arange(m.rows) for m in members])
    stats = snapshot.stats["state"]
    assert stats["mean"][1] == pytest.approx(frames.mean())
    assert stats["std"][1] == pytest.approx(frames.std(), rel=1e-6)
    assert (stats["min"][1], stats["max"][1]) == (0, frames.max())
    assert stats["q99"][1] == pytest.approx(np.quantile(frames, 0.99), rel=1e-6)


def test_filters_and_where(fleet: Lake, tmp_path: Path):
    snapshot = build(fleet, tmp_path / "s", tasks=["push"], where="steps > 20")
    assert {m.task for m in snapshot.episodes} == {"push"}
    assert min(m.steps for m in snapshot.episodes) > 20


def test_rewards_come_from_a_layer_or_from_the_outcome(lake: Lake, tmp_path: Path):
    won, lost = add_episode(lake, 1, 4), add_episode(lake, 2, 3, outcome="failure")
    demo = add_episode(lake, 3, 2, source="demonstration", outcome="unknown")
    play = add_episode(lake, 4, 2, source="play")
    derived = rewards(build(lake, tmp_path / "s"))
    assert derived == {won: [0, 0, 0, 1], lost: [0, 0, 0], demo: [0, 0], play: [0, 0]}
    both = [{"episode_id": won, "step": 1, "value": 0.5}, {"episode_id": lost, "step": 2, "value": -1.0}]
    label(lake, "reward.dense@2", both)
    asked = {"labels": {"reward": "reward.dense@2"}, "sources": ["rollout"]}
    assert rewards(build(lake, tmp_path / "s", **asked)) == {won: [0, 0.5, 0, 0], lost: [0, 0, -1]}
    with pytest.raises(UserError, match=r"reward.dense@2: no label for 2 of 4 episodes"):
        build(lake, tmp_path / "s", labels={"reward": "reward.dense@2"})


def test_a_failed_check_blocks_and_an_outcome_layer_overrides(lake: Lake, tmp_path: Path):
    first, second = add_episode(lake, 1, 4), add_episode(lake, 2, 3)
    label(lake, "quality.basic@1", [{"episode_id": first, "check": "jerk", "text": "fail"}], "quality")
    label(lake, "outcome.judge@1", [{"episode_id": second, "text": "failure"}], "outcome")
    layers = {"blocking": ["quality.basic@1"], "outcome": "outcome.judge@1"}
    snapshot = build(lake, tmp_path / "s", labels=layers)
    (member,) = snapshot.episodes
    assert (member.episode_id, member.outcome, member.success) == (second, "failure", False)
    assert rewards(snapshot) == {second: [0, 0, 0]}


def test_embodiments_of_other_widths_stand_side_by_side(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 6)
    add_episode(lake, 2, 6, widths=(5, 4), embodiment="biped")
    snapshot = build(lake, tmp_path / "s")
    assert (snapshot.manifest.state_width, snapshot.manifest.action_width) == (5, 4)
    assert snapshot.stats_of("arm")["action"]["mean"].shape == (2,)
    assert snapshot.stats_of("biped")["action"]["mean"].shape == (4,)


def test_half_the_frame_rate(lake: Lake, tmp_path: Path):
    identity = add_episode(lake, 1, 5, actors=["policy", "human", "policy", "policy", "policy"])
    snapshot = build(lake, tmp_path / "s", frame_rate=5)
    (member,) = snapshot.episodes
    data = files(snapshot)[member.shard]
    tensors = load_safetensors(data[member.offset : member.offset + member.bytes])
    assert tensors["state"][:, 1].tolist() == [0, 2, 4, 5]
    assert tensors["human"].tolist() == [True, False, False]
    assert rewards(snapshot) == {identity: [0, 0, 1]}
    with pytest.raises(UserError, match="divides"):
        build(lake, tmp_path / "s", frame_rate=3)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"tasks": ["fly"]}, "no episode of the lake fits"),
        ({"where": "colour = 'red'"}, "where: .*colour"),
        ({"chunk": 0}, "chunk"),
        ({"shape": 1}, "shape"),
    ],
)
def test_a_wrong_spec_is_one_line(fleet: Lake, tmp_path: Path, spec: dict, said: str):
    with pytest.raises(UserError, match=said) as error:
        build(fleet, tmp_path / "s", **spec)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "s").glob("*"))


def test_damage_is_named_at_open(fleet: Lake, tmp_path: Path):
    root = tmp_path / "s"
    snapshot = build(fleet, root, shard_mb=0.003)
    assert verify(str(root), snapshot.digest) == []
    second, third = (Path(snapshot.path(s.name)) for s in snapshot.manifest.shards[1:3])
    whole = second.read_bytes()
    second.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    with pytest.raises(UserError, match=f"{second.name} is damaged"):
        Snapshot.open(str(root), snapshot.digest)
    third.unlink()
    with pytest.raises(UserError, match=f"{second.name} is damaged.*{third.name} is missing"):
        Snapshot.open(str(root), snapshot.digest[:12])
    assert len(verify(str(root), snapshot.digest)) == 2 or "missing" in verify(str(root), snapshot.digest)[0]
    second.write_bytes(whole[:-512])
    with pytest.raises(UserError, match=f"{second.name} has {len(whole) - 512} bytes instead of"):
        Snapshot.open(str(root), snapshot.digest)
    with pytest.raises(UserError, match="no snapshot"):
        Snapshot.open(str(root), "0" * 64)


def test_steps_that_are_not_whole_are_refused(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 5)
    steps = lake.read("steps", where="step != 2")
    lake.replace("steps", steps, {"episode_id": [episode_id(1)]})
    with pytest.raises(UserError, match="5 rows for 5 steps"):
        build(lake, tmp_path / "s")


def test_what_a_killed_build_left_goes_after_a_day(fleet: Lake, tmp_path: Path):
    fresh, old = (
        Staging(open_location(str(tmp_path / "s")), START - age * 10**9) for age in (DAY_S - 1, DAY_S + 1)
    )
    for staging in (old, fresh):
        staging.put("train-00000.tar", b"half")
    snapshot = build(fleet, tmp_path / "s")
    names = sorted(p.name for p in (tmp_path / "s").iterdir())
    assert names == sorted([snapshot.digest, fresh._token])
