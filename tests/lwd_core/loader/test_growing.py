import json
import threading
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.growing import GrowingLoader
from lwd_core.loader.mixed import MixedLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import TABLES
from tests.lwd_core.loader.test_transition_loader import same
from tests.lwd_core.snapshots.lakes import START, add_episode

SPEC = SnapshotSpec(name="online", chunk=3)


def grown(lake: Lake) -> tuple[GrowingLoader, list]:
    """Forty batches, during which a second and a third episode arrive."""
    add_episode(lake, 1, 8, seed=1)
    loader = GrowingLoader(lake, SPEC, 16, 5, poll_every=10)
    batches = list(islice(loader, 5))
    add_episode(lake, 2, 8, seed=2, instruction="another")
    batches += list(islice(loader, 10))
    add_episode(lake, 3, 8, seed=3, task="push")
    return loader, batches + list(islice(loader, 25))


def episodes(batch: dict) -> set[int]:
    return set(batch["state"][:, 0].int().tolist())


def test_new_episodes_appear_without_a_restart(lake: Lake):
    loader, batches = grown(lake)
    # seen at 10 and 20, and drawn from ten batches later
    assert [max(map(max, map(episodes, batches[i : i + 10]))) for i in (0, 10, 20, 30)] == [1, 1, 2, 3]
    assert [first for first, _ in loader.log] == [0, 20, 30]
    for step, batch in enumerate(batches):
        assert set(batch["version"].tolist()) == {loader.log[max(step // 10 - 1, 0)][1]["episodes"]}
    for i, episode in enumerate(batches[35]["episode"].tolist()):
        assert loader.episode_ids[episode] in lake.read("episodes")["episode_id"].to_pylist()
        assert loader.tasks[batches[35]["task"][i]] == (
            "push" if batches[35]["state"][i, 0] == 3 else "reach"
        )


def test_batches_are_drawn_while_the_next_pool_is_made(lake: Lake, monkeypatch):
    add_episode(lake, 1, 8, seed=1)
    told: list[tuple[int, int]] = []
    loader = GrowingLoader(
        lake, SPEC, 16, 5, poll_every=10, told=lambda step, _, count: told.append((step, count))
    )
    list(islice(loader, 5))
    add_episode(lake, 2, 8, seed=2)
    ready, make = threading.Event(), loader._pool
    monkeypatch.setattr(loader, "_pool", lambda versions: ready.wait(60) and make(versions))
    between = list(islice(loader, 15))  # would wait for good if it waited
    assert set.union(*map(episodes, between)) == {1}
    assert told == [(0, 1)]
    threading.Timer(0.1, ready.set).start()
    assert set.union(*map(episodes, islice(loader, 10))) == {1, 2}
    assert told == [(0, 1), (20, 2)]


def test_what_the_next_pool_fails_of_is_said_when_it_is_due(lake: Lake, monkeypatch):
    add_episode(lake, 1, 8, seed=1)
    loader = GrowingLoader(lake, SPEC, 16, 5, poll_every=10)
    list(islice(loader, 5))
    add_episode(lake, 2, 8, seed=2)

    def damaged(versions):
        raise UserError("an episode is damaged")

    monkeypatch.setattr(loader, "_pool", damaged)
    list(islice(loader, 15))
    with pytest.raises(UserError, match="damaged"):
        list(islice(loader, 1))


def test_the_log_rebuilds_every_batch(lake: Lake):
    loader, batches = grown(lake)
    add_episode(lake, 4, 8, seed=4)
    again = GrowingLoader(lake, SPEC, 16, 5, poll_every=10)
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())) | {"step": 0})
    assert same(list(islice(again, 40)), batches)
    assert again.instructions == loader.instructions
    resumed = GrowingLoader(lake, SPEC, 16, 5, poll_every=10)
    resumed.load_state_dict(loader.state_dict() | {"step": 17})
    assert same(list(islice(resumed, 23)), batches[17:])


def test_a_state_between_a_look_and_its_batches_goes_on_the_same(lake: Lake):
    add_episode(lake, 1, 8, seed=1)
    loader = GrowingLoader(lake, SPEC, 16, 5, poll_every=10)
    list(islice(loader, 5))
    add_episode(lake, 2, 8, seed=2)
    list(islice(loader, 10))
    state = json.loads(json.dumps(loader.state_dict()))
    assert [first for first, _ in loader.log] == [0]
    rest = list(islice(loader, 10))
    resumed = GrowingLoader(lake, SPEC, 16, 5, poll_every=10)
    resumed.load_state_dict(state)
    assert same(list(islice(resumed, 10)), rest)
    assert set.union(*map(episodes, rest)) == {1, 2}


def test_when_a_person_drove_last_is_known_of_every_episode(lake: Lake):
    ids = {add_episode(lake, 1, 4): -1}
    loader = GrowingLoader(lake, SPEC, 16, 5, poll_every=1)
    list(islice(loader, 1))
    ids[add_episode(lake, 2, 4, actors=["policy"] * 3 + ["human"])] = 3
    ids[add_episode(lake, 3, 4, actors=["human"] * 3 + ["policy"])] = 2
    list(islice(loader, 2))
    assert dict(zip(loader.episode_ids, loader.last_by_person, strict=True)) == ids
    again = GrowingLoader(lake, SPEC, 16, 5, poll_every=1)
    again.load_state_dict(loader.state_dict())
    assert (again.episode_ids, again.last_by_person) == (loader.episode_ids, loader.last_by_person)


def test_ranks_share_the_batch(lake: Lake):
    add_episode(lake, 1, 8)
    whole = list(islice(GrowingLoader(lake, SPEC, 16, 5), 3))
    halves = [list(islice(GrowingLoader(lake, SPEC, 16, 5, rank=r, world=2), 3)) for r in (0, 1)]
    assert same([{k: torch.cat((a[k], b[k])) for k in a} for a, b in zip(*halves, strict=True)], whole)


def test_an_episode_waits_for_its_label(lake: Lake):
    first = add_episode(lake, 1, 8, seed=1)
    row = dict.fromkeys(TABLES["labels"].names) | {
        "layer_id": "reward.judge@1", "kind": "reward", "log_id": "l", "site": "lab", "day": "2026-01-01",
        "created_ns": 1, "value": 1.0, "step": 7, "episode_id": first,
    }  # fmt: skip
    lake.append("labels", pa.Table.from_pylist([row], TABLES["labels"].schema))
    add_episode(lake, 2, 8, seed=2)
    spec = SnapshotSpec.parse({"name": "online", "labels": {"reward": "reward.judge@1"}})
    batches = list(islice(GrowingLoader(lake, spec, 16, 5), 4))
    assert set.union(*map(episodes, batches)) == {1}


def test_mixed_with_an_offline_snapshot(lake: Lake, tmp_path: Path):
    add_episode(lake, 1, 8, seed=1)
    offline = build_snapshot(lake, SPEC, str(tmp_path / "s"), now_ns=START)
    add_episode(lake, 2, 8, seed=2, instruction="another", source="online")
    spec = SnapshotSpec.parse({"name": "online", "chunk": 3, "sources": ["online"]})
    mixed = MixedLoader(TransitionLoader(offline, 8, 1), GrowingLoader(lake, spec, 8, 2), 0.5)
    (batch,) = islice(mixed, 1)
    assert batch["state"][:, 0].tolist() == [1.0] * 8 + [2.0] * 8
    assert batch["version"].tolist() == [-1] * 8 + [lake.version("episodes")] * 8
    assert [mixed.instructions[i] for i in batch["instruction"]] == ["reach the cup"] * 8 + ["another"] * 8


def test_nothing_to_draw_from_is_said(lake: Lake):
    with pytest.raises(UserError, match="no episode"):
        next(iter(GrowingLoader(lake, SPEC, 16, 5)))
