import hashlib
import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader import cache as cache_module
from lwd_core.loader import sampler
from lwd_core.loader.cache import cache_folder
from lwd_core.loader.mixed import MixedLoader, parts
from lwd_core.loader.transition_loader import TensorBatch, TransitionLoader
from lwd_core.snapshots import shard_reader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.publish import remove_bytes
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from tests.lwd_core.snapshots.lakes import START, add_episode

MODES = {
    "records": {},
    "rows": {"cache": False},
    "streamed": {"memory_limit": 0, "pool_bytes": 2000},
    "permuted": {"balance_tasks": False},
    "streamed permuted": {"memory_limit": 0, "pool_bytes": 2000, "balance_tasks": False},
}
modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())


@pytest.fixture(scope="module")
def snapshot(fleet: Lake, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    spec = SnapshotSpec(name="all", chunk=4, shard_mb=0.003)
    return build_snapshot(fleet, spec, str(tmp_path_factory.mktemp("snapshots")), now_ns=START)


def take(loader, count: int) -> list[TensorBatch]:
    return list(islice(iter(loader), count))


def same(a: list[TensorBatch], b: list[TensorBatch]) -> bool:
    return len(a) == len(b) and all(
        x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x) for x, y in zip(a, b, strict=True)
    )


def test_batches_are_typed_and_true_to_their_episodes(snapshot: Snapshot):
    (batch,) = take(TransitionLoader(snapshot, 64, 1), 1)
    shapes = {k: (tuple(v.shape[1:]), v.dtype) for k, v in batch.items()}
    f32, i64, boolean = torch.float32, torch.int64, torch.bool
    assert shapes.items() >= {
        "state": ((3,), f32), "next_state": ((3,), f32), "action": ((4, 2), f32), "mask": ((4,), f32),
        "reward": ((), f32), "discount": ((), f32), "action_dim_mask": ((2,), f32),
        "instruction": ((), i64), "task": ((), i64), "source": ((), i64), "policy": ((), i64),
        "episode": ((), i64), "frame": ((), i64), "next_frame": ((), i64),
        "human": ((), boolean), "success": ((), boolean),
    }.items()  # fmt: skip
    for i in range(64):
        member, frame = snapshot.episodes[batch["episode"][i]], int(batch["frame"][i])
        assert batch["state"][i][1:].tolist() == [frame, frame**2]
        length = int(batch["mask"][i].sum())
        assert batch["action"][i, :length, 0].tolist() == list(range(frame + 1, frame + 1 + length))
        assert batch["next_state"][i, 1] == batch["next_frame"][i] == frame + length
        assert (batch["discount"][i] == 0) == (frame + length == member.steps)
        assert snapshot.instructions[batch["instruction"][i]] == member.instruction
        assert snapshot.tasks[batch["task"][i]] == member.task
        assert batch["success"][i] == (member.outcome == "success")
        policy = int(batch["policy"][i])
        assert (snapshot.policies[policy] if policy >= 0 else None) == member.policy_id


@modes
def test_threads_and_ranks_change_nothing(snapshot: Snapshot, mode: dict):
    expected = take(TransitionLoader(snapshot, 12, 7, **mode), 50)
    for workers in (1, 3):
        assert same(take(TransitionLoader(snapshot, 12, 7, workers=workers, **mode), 50), expected)
    for world in (2, 3):
        ranks = [
            take(TransitionLoader(snapshot, 12, 7, rank=r, world=world, **mode), 50) for r in range(world)
        ]
        joined = [{k: torch.cat([b[k] for b in step]) for k in step[0]} for step in zip(*ranks, strict=True)]
        assert same(joined, expected)
    assert not same(take(TransitionLoader(snapshot, 12, 8, **mode), 50), expected)


@modes
def test_resumes_exactly_at_a_batch(snapshot: Snapshot, mode: dict):
    expected = take(TransitionLoader(snapshot, 12, 7, **mode), 60)
    first = TransitionLoader(snapshot, 12, 7, workers=2, **mode)
    for stop in (1, 16, 37):
        loader = TransitionLoader(snapshot, 12, 7, **mode)
        loader.load_state_dict({**first.state_dict(), "step": 0})
        take(loader, stop)
        state = json.loads(json.dumps(loader.state_dict()))
        resumed = TransitionLoader(snapshot, 12, 7, **mode)
        resumed.load_state_dict(state)
        assert same(take(resumed, 60 - stop), expected[stop:])
        assert same([resumed.batch(stop)], [expected[stop]])


@pytest.mark.parametrize("balance_tasks", [True, False])
@pytest.mark.parametrize("where", [None, lambda m: m.outcome == "success"])
def test_cache_and_memory_do_not_change_the_samples(snapshot: Snapshot, balance_tasks: bool, where):
    asked = {"balance_tasks": balance_tasks, "where": where}
    records = TransitionLoader(snapshot, 12, 7, **asked)
    rows = TransitionLoader(snapshot, 12, 7, cache=False, **asked)
    assert same(take(records, 20), take(rows, 20))
    assert list(cache_folder(snapshot.place, snapshot.digest).glob("*.npy"))


def test_the_cache_holds_whole_cache_lines_task_after_task(snapshot: Snapshot):
    take(TransitionLoader(snapshot, 12, 7), 1)
    (file,) = cache_folder(snapshot.place, snapshot.digest).glob("*.npy")
    records = np.load(file, mmap_mode="r")
    assert records.itemsize % 64 == 0
    assert records.offset == 4096
    tasks = [snapshot.tasks.index(snapshot.episodes[i].task) for i in records["episode"]]
    assert tasks == sorted(tasks)
    assert len(set(tasks)) == 2


def test_batches_taken_stay_as_they_are(snapshot: Snapshot):
    batches = take(TransitionLoader(snapshot, 12, 7), 40)
    kept = [{name: tensor.clone() for name, tensor in batch.items()} for batch in batches]
    batches[0]["state"].zero_()
    assert same(batches[1:], kept[1:])
    assert same(take(TransitionLoader(snapshot, 12, 7), 1), kept[:1])


def test_a_broken_cache_is_made_again(snapshot: Snapshot):
    expected = take(TransitionLoader(snapshot, 12, 7), 3)
    for file in cache_folder(snapshot.place, snapshot.digest).glob("*.npy"):
        file.write_bytes(file.read_bytes()[:100])
    assert same(take(TransitionLoader(snapshot, 12, 7), 3), expected)
    for file in cache_folder(snapshot.place, snapshot.digest).glob("*.npy"):
        np.save(file, np.zeros((9, 9), np.float32))
    assert same(take(TransitionLoader(snapshot, 12, 7), 3), expected)


def test_other_settings_refuse_the_state(snapshot: Snapshot):
    state = TransitionLoader(snapshot, 12, 7).state_dict()
    with pytest.raises(UserError, match="batch_size was 12, is 24"):
        TransitionLoader(snapshot, 24, 7).load_state_dict(state)
    del state["sequence"]
    with pytest.raises(UserError, match="sequence was None, is 2; another version of LWD drew those samples"):
        TransitionLoader(snapshot, 12, 7).load_state_dict(state)


@pytest.mark.parametrize("mode", [MODES["permuted"], MODES["streamed permuted"]])
def test_an_epoch_visits_transitions_at_most_once(snapshot: Snapshot, mode: dict):
    total = sum(m.steps for m in snapshot.episodes)
    batches = take(TransitionLoader(snapshot, 5, 3, **mode), total // 5 - len(snapshot.manifest.shards))
    seen = [(int(e), int(f)) for b in batches for e, f in zip(b["episode"], b["frame"], strict=True)]
    assert len(set(seen)) == len(seen)


def test_tasks_come_up_equally_often_and_frames_within_them(snapshot: Snapshot):
    batches = take(TransitionLoader(snapshot, 100, 3), 100)
    tasks = torch.cat([b["task"] for b in batches])
    assert torch.bincount(tasks).tolist() == pytest.approx([5000, 5000], rel=0.05)
    episodes = torch.bincount(torch.cat([b["episode"] for b in batches]))
    for i, member in enumerate(snapshot.episodes):
        of_task = sum(m.steps for m in snapshot.episodes if m.task == member.task)
        assert episodes[i] == pytest.approx(5000 * member.steps / of_task, rel=0.25)


def test_buffers_are_drawn_by_weight(fleet: Lake, tmp_path: Path):
    spec = SnapshotSpec.parse(
        {
            "name": "mixture",
            "buffers": [
                {"name": "online", "where": "source = 'online'", "weight": 3},
                {"name": "offline", "weight": 1},
            ],
        }
    )
    snapshot = build_snapshot(fleet, spec, str(tmp_path), now_ns=START)
    batches = take(TransitionLoader(snapshot, 100, 3), 60)
    online = torch.tensor([m.buffer == "online" for m in snapshot.episodes])
    share = torch.cat([online[b["episode"]] for b in batches]).float().mean()
    assert share == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("mode", [MODES["records"], MODES["rows"], MODES["streamed"]])
def test_where_keeps_only_those_episodes(snapshot: Snapshot, mode: dict):
    loader = TransitionLoader(snapshot, 20, 3, where=lambda m: m.outcome == "success", **mode)
    assert all(b["success"].all() for b in take(loader, 20))


def test_holdout_is_a_split_of_its_own(fleet: Lake, tmp_path: Path):
    snapshot = build_snapshot(fleet, SnapshotSpec(name="h", holdout=0.4), str(tmp_path), now_ns=START)
    for split in ("train", "holdout"):
        for batch in take(TransitionLoader(snapshot, 20, 3, split=split), 5):
            assert {snapshot.episodes[i].split for i in batch["episode"]} == {split}


def test_narrow_actions_are_padded_and_said_so(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 6)
    add_episode(lake, 2, 6, widths=(5, 4), embodiment="biped")
    snapshot = build_snapshot(lake, SnapshotSpec(name="x"), str(tmp_path), now_ns=START)
    (batch,) = take(TransitionLoader(snapshot, 50, 3), 1)
    narrow = torch.tensor([m.embodiment == "arm" for m in snapshot.episodes])[batch["episode"]]
    assert batch["action_dim_mask"][narrow].unique(dim=0).tolist() == [[1, 1, 0, 0]]
    assert batch["action_dim_mask"][~narrow].unique(dim=0).tolist() == [[1, 1, 1, 1]]
    assert not batch["action"][narrow][:, :, 2:].any()


def test_a_shard_damaged_after_opening_is_named(fleet: Lake, tmp_path: Path):
    snapshot = build_snapshot(fleet, SnapshotSpec(name="d", shard_mb=0.003), str(tmp_path), now_ns=START)
    shard = Path(snapshot.path(snapshot.manifest.shards[2].name))
    data = bytearray(shard.read_bytes())
    data[1500] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match="train-000002.tar is damaged"):
        take(TransitionLoader(snapshot, 4, 0), 1)


def test_a_shard_is_hashed_once_until_it_is_written_to(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch):
    hashed = []
    honest = hashlib.sha256
    monkeypatch.setattr(shard_reader, "_digests", {})
    monkeypatch.setattr(shard_reader.hashlib, "sha256", lambda data: hashed.append(len(data)) or honest(data))
    shards = snapshot.manifest.shards
    streamed = TransitionLoader(snapshot, 4, 0, memory_limit=0, pool_bytes=2000, split="train")
    take(streamed, sum(s.steps for s in shards))
    sizes = [s.bytes for s in shards if s.split == "train"]
    assert sorted(hashed) == sorted(sizes)
    os.utime(snapshot.path(shards[0].name))
    shard_reader.shard_bytes(snapshot, shards[0])
    assert len(hashed) == len(sizes) + 1


def test_mixture_keeps_the_ratio_and_one_list_of_instructions(fleet: Lake, tmp_path: Path):
    def part(where: str) -> Snapshot:
        return build_snapshot(fleet, SnapshotSpec(name="p", where=where), str(tmp_path), now_ns=START)

    offline, online = part("task = 'push'"), part("source = 'online'")
    sizes = parts(10, 0.3)
    mixed = MixedLoader(
        TransitionLoader(offline, sizes[0], 1), TransitionLoader(online, sizes[1], 2), ratio=0.3
    )
    batches = take(mixed, 30)
    for batch in batches:
        assert batch["part"].tolist() == [0] * 3 + [1] * 7
        assert {mixed.tasks[t] for t in batch["task"][:3]} == {"push"}
        for i in range(3, 10):
            member = online.episodes[batch["episode"][i]]
            assert mixed.instructions[batch["instruction"][i]] == member.instruction
            assert mixed.policies[batch["policy"][i]] == member.policy_id
    resumed = MixedLoader(
        TransitionLoader(offline, sizes[0], 1), TransitionLoader(online, sizes[1], 2), ratio=0.3
    )
    resumed.load_state_dict({k: {**v, "step": 20} for k, v in mixed.state_dict().items()})
    assert same(take(resumed, 10), batches[20:])
    with pytest.raises(UserError, match="ratio|offline"):
        MixedLoader(TransitionLoader(offline, 5, 1), TransitionLoader(online, 5, 2), ratio=0.3)


@pytest.mark.parametrize("mode", [{}, {"memory_limit": 0, "pool_bytes": 2000}])
def test_how_many_are_drawn_at_a_time_changes_nothing(
    snapshot: Snapshot, mode: dict, monkeypatch: pytest.MonkeyPatch
):
    # batches of one, so that a streamed pool gives whole blocks and a part of one
    expected = take(TransitionLoader(snapshot, 1, 7, **mode), 300)
    for drawn in (1, 48):
        monkeypatch.setattr(sampler, "DRAWN", drawn)
        assert same(take(TransitionLoader(snapshot, 1, 7, **mode), 300), expected)
        assert same(
            [TransitionLoader(snapshot, 1, 7, **mode).batch(n) for n in (250, 17)],
            [expected[250], expected[17]],
        )


def test_the_sequence_is_fixed_for_good(snapshot: Snapshot):
    # a change here breaks the rebuilding of batches that old checkpoints saw
    batch = TransitionLoader(snapshot, 6, 2024).batch(1000)
    found = list(zip(batch["episode"].tolist(), batch["frame"].tolist(), strict=True))
    assert found == [(11, 12), (2, 13), (8, 26), (4, 9), (11, 10), (5, 23)]


@pytest.mark.parametrize("mode", [{}, {"memory_limit": 0, "pool_bytes": 2000}])
def test_a_batch_holds_the_columns_asked_for(snapshot: Snapshot, mode: dict):
    wanted = ("next_frame", "action", "mask", "success")
    whole, part = (
        TransitionLoader(snapshot, 8, 1, **mode),
        TransitionLoader(snapshot, 8, 1, columns=wanted, **mode),
    )
    for step in range(5):
        ours, theirs = part.batch(step), whole.batch(step)
        assert list(ours) == list(wanted)
        assert all(torch.equal(ours[name], theirs[name]) for name in wanted)
    with pytest.raises(UserError, match="speed"):
        TransitionLoader(snapshot, 8, 1, columns=["state", "speed"])


def test_invalid_frames_are_masked_alike_from_cache_and_rows(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 9, invalid=[2, 6])
    add_episode(lake, 2, 12, task="push")
    snapshot = build_snapshot(lake, SnapshotSpec(name="m", chunk=4), str(tmp_path), now_ns=START)
    records = take(TransitionLoader(snapshot, 30, 7), 3)
    assert same(records, take(TransitionLoader(snapshot, 30, 7, cache=False), 3))
    assert (records[0]["mask"].diff(dim=1) > 0).any()  # a hole, which no length could tell


def test_a_set_without_transitions_is_refused(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 4, invalid=range(5))
    add_episode(lake, 2, 4, task="push")
    snapshot = build_snapshot(lake, SnapshotSpec(name="i"), str(tmp_path), now_ns=START)
    for cache in (True, False):
        with pytest.raises(UserError, match="no transition"):
            take(TransitionLoader(snapshot, 4, 0, cache=cache, where=lambda m: m.task == "reach"), 1)


def test_a_cache_of_a_snapshot_withdrawn_meanwhile_does_not_stay(fleet: Lake, tmp_path: Path, monkeypatch):
    """An erasure took the snapshot's bytes while a training wrote them down once more."""
    snapshot = build_snapshot(fleet, SnapshotSpec(name="all", chunk=4), str(tmp_path), now_ns=START)
    make = cache_module._make

    def late(*args):
        remove_bytes(snapshot.place, snapshot.manifest)
        make(*args)

    monkeypatch.setattr(cache_module, "_make", late)
    with pytest.raises(UserError, match="withdrawn meanwhile"):
        take(TransitionLoader(snapshot, 12, 7), 1)
    assert not cache_folder(snapshot.place, snapshot.digest).exists()
