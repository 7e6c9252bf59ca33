from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors

from lwd_core.lake.frames import FrameShards, rewritten
from lwd_core.lake.store import Lake
from lwd_core.snapshots import publish
from lwd_core.snapshots import reissue as module
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.reissue import affected, reissue
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import STEPS
from tests.lwd_core.lake.fake_logs import picture
from tests.lwd_core.snapshots.lakes import START, add_episode


@pytest.fixture
def lake(tmp_path):
    return Lake.open(str(tmp_path / "lake"), create=True)


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "snapshots")


def build(lake, root, **spec):
    return build_snapshot(lake, SnapshotSpec.parse({"name": "s", **spec}), root, now_ns=START)


def rows(lake):
    return {row["digest"]: row for row in lake.read("snapshots").to_pylist()}


def test_the_successor_is_the_set_without_the_episode(lake, root):
    ids = [add_episode(lake, i, 5 + i, seed=i) for i in range(6)]
    old = build(lake, root)
    done = reissue(lake, root, old.digest, erased={ids[2]}, now_ns=START)
    new = Snapshot.open(root, done.successor)
    assert [m.episode_id for m in new.episodes] == [
        m.episode_id for m in old.episodes if m.episode_id != ids[2]
    ]
    # norm statistics are those of a set that never held it
    only = build(lake, root, where=f"episode_id <> '{ids[2]}'")
    assert new.manifest.stats == only.manifest.stats
    assert new.manifest.counts == only.manifest.counts
    assert rows(lake)[old.digest]["state"] == "withdrawn"
    assert rows(lake)[old.digest]["successor"] == new.digest
    assert rows(lake)[new.digest]["state"] == "valid"


def test_no_byte_of_the_episode_is_left(lake, root):
    ids = [add_episode(lake, i, 5 + i, seed=i) for i in range(3)]
    old = build(lake, root)
    member = next(m for m in old.episodes if m.episode_id == ids[1])
    content = Path(old.path(member.shard)).read_bytes()[member.offset : member.offset + member.bytes]
    reissue(lake, root, old.digest, erased={ids[1]}, now_ns=START)
    for path in Path(root).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert ids[1].encode() not in data
            assert content[200:] not in data


def test_only_snapshots_that_hold_it_are_affected(lake, root):
    ids = [add_episode(lake, i, 5, task="reach" if i else "push") for i in range(3)]
    reach = build(lake, root, tasks=("reach",))
    push = build(lake, root, tasks=("push",))
    assert affected(lake, root, {ids[0]}) == [push.digest]
    assert affected(lake, root, {ids[1]}) == [reach.digest]
    assert affected(lake, root, {"unknown"}) == []


def test_a_set_with_nothing_left_has_no_successor(lake, root):
    episode = add_episode(lake, 1, 5)
    old = build(lake, root)
    assert reissue(lake, root, old.digest, erased={episode}, now_ns=START).successor is None
    assert rows(lake)[old.digest]["state"] == "withdrawn"
    assert not Path(root, old.digest).exists()


@pytest.mark.parametrize("cut", ["register", "remove_bytes"])
def test_cut_off_anywhere_the_same_call_finishes(lake, root, monkeypatch, cut):
    ids = [add_episode(lake, i, 5) for i in range(3)]
    old = build(lake, root)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publish if cut == "register" else module, cut, killed)
        with pytest.raises(KeyboardInterrupt):
            reissue(lake, root, old.digest, erased={ids[0]}, now_ns=START)
    if cut == "remove_bytes":  # and some of it was removed already
        Path(old.path("train-000000.tar")).unlink()
    assert affected(lake, root, {ids[0]}) == [old.digest]
    done = reissue(lake, root, old.digest, erased={ids[0]}, now_ns=START)
    assert [p.name for p in Path(root).iterdir()] == [done.successor]
    assert len(Snapshot.open(root, done.successor).episodes) == 2


def test_frames_that_moved_are_followed(lake, root):
    """Two episodes of one log share a frame shard; erasing one moves the other's frames."""
    ids = [add_episode(lake, i, 4) for i in range(2)]
    pictures = {}
    steps = lake.read("steps").to_pylist()
    with FrameShards(lake.place, "log", "lab", "2026-01-01") as shards:
        for row in steps:
            data = picture(ids.index(row["episode_id"]), row["step"])
            shard, offset, size = shards.put("front", row["t_ns"], data)
            pictures[row["episode_id"], row["step"]] = data
            place = {"shard": shard, "offset": offset, "size": size, "t_ns": row["t_ns"]}
            row["frames"] = [place | {"camera": "front"}]
    lake.replace("steps", STEPS.schema.empty_table().from_pylist(steps, STEPS.schema), {"episode_id": ids})
    old = build(lake, root, cameras=("front",))
    keep = {f["offset"] for row in steps if row["episode_id"] == ids[1] for f in row["frames"]}
    (before,) = {f["shard"] for row in steps for f in row["frames"]}
    after = before.replace("0000.tar", "0000-1.tar")
    moved = {before: (after, rewritten(lake.place, before, after, keep.__contains__))}
    lake.place.remove(before)

    assert affected(lake, root, set(), moved) == [old.digest]
    done = reissue(lake, root, old.digest, erased={ids[0]}, moved=moved, now_ns=START)
    new = Snapshot.open(root, done.successor)
    assert [s.uri for s in new.manifest.frame_shards] == [after]
    (member,) = new.episodes
    data = Path(new.path(member.shard)).read_bytes()[member.offset : member.offset + member.bytes]
    tensors = load_safetensors(data)
    tar = Path(lake.path(after)).read_bytes()
    for row in range(member.rows):
        at, size = int(tensors["frame_offset"][row, 0]), int(tensors["frame_size"][row, 0])
        assert tar[at : at + size] == pictures[ids[1], row]
    assert np.all(tensors["frame_shard"] == 0)
