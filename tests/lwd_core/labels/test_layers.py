"""A function's layer: listed, dropped, learned from; and with its episode erased, remapped, come anew."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.errors import UserError
from lwd_core.labels import check, label
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.layers import Dropped, Layer, drop_layer, layers
from lwd_core.labels.registry import find
from lwd_core.lake.delta import TableLog
from lwd_core.lake.store import Lake
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.columns import Table
from storage_schemas.tables import LABELS
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.rows import label_rows
from tests.lwd_core.lake.world import World
from tests.lwd_core.snapshots.lakes import add_episode
from tests.packages import Install


@label("parts", version=1, kind="phase")
def parts(episode):
    return [(0, 1, "reach"), (2, len(episode), "lift")]


@check("long", version=1)
def long(episode):
    return len(episode) > 3


@label("effort", version=1, kind="reward")
def effort(episode):
    return -np.square(episode["action"]).sum(axis=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    for i in range(3):
        add_episode(lake, i, 3 + i)
    return lake


def test_layers_are_listed_and_dropped_and_history_keeps_them(lake: Lake) -> None:
    run_labellers(lake, [parts, long], now_ns=1, where="steps > 3")
    assert layers(lake) == [Layer("long@1", "quality", 2, 2, 1), Layer("parts@1", "phase", 2, 4, 1)]
    before = lake.version("labels")
    assert drop_layer(lake, "parts@1") == Dropped("parts@1", 2, 4)
    assert [layer.layer_id for layer in layers(lake)] == ["long@1"]
    old = lake.read("labels", where="layer_id = 'parts@1'", versions={"labels": before or 0})
    assert old.num_rows == 4
    with pytest.raises(UserError, match="layer parts@1: there is none of that id; there are long@1"):
        drop_layer(lake, "parts@1")


def test_an_own_reward_and_an_own_check_reach_a_batch(lake: Lake, tmp_path: Path, install: Install) -> None:
    install("labels")
    (reward,), (calm,) = find("kitchen.effort"), find("kitchen.calm")
    run_labellers(lake, [reward, calm, effort, long], now_ns=1)
    spec = SnapshotSpec.parse(
        {"name": "s", "chunk": 1, "labels": {"reward": "effort@1", "blocking": ["long@1"]}}
    )
    snapshot = build_snapshot(lake, spec, str(tmp_path / "s"), now_ns=1)
    assert sorted(member.steps for member in snapshot.episodes) == [4, 5]
    batch = next(iter(TransitionLoader(snapshot, 32, seed=0)))
    np.testing.assert_allclose(batch["reward"], -(batch["action"][:, 0] ** 2).sum(axis=-1))
    asked = spec.model_copy(update={"labels": spec.labels.model_copy(update={"reward": "kitchen.effort@1"})})
    snapshot = build_snapshot(lake, asked, str(tmp_path / "s"), now_ns=1)
    batch = next(iter(TransitionLoader(snapshot, 32, seed=0)))
    last = batch["discount"] == 0
    cost = 0.001 * (batch["action"][:, 0] ** 2).sum(axis=-1)
    np.testing.assert_allclose(batch["reward"], last.float() - cost, rtol=1e-5)
    assert last.any()


def test_segments_go_into_a_lake_of_before_there_were_any(tmp_path: Path, monkeypatch) -> None:
    old = Table(
        LABELS.name,
        LABELS.version,
        LABELS.meaning,
        LABELS.columns[: LABELS.names.index("last_step")],
        LABELS.key,
        LABELS.partition,
    )
    create = TableLog.create

    def as_before(self, name, schema, partition):
        create(self, name, old.schema if name == "labels" else schema, partition)

    monkeypatch.setattr(TableLog, "create", as_before)
    lake = Lake.open(str(tmp_path / "old"), create=True)
    monkeypatch.setattr(TableLog, "create", create)
    assert "last_step" not in lake.log("labels").stored().names
    add_episode(lake, 1, 4)
    lake.append("labels", label_rows(lake.read("episodes").to_pylist()).select(old.names))
    run_labellers(lake, [parts], now_ns=1)
    rows = lake.sql("SELECT layer_id, step, last_step, text FROM labels ORDER BY layer_id, step").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("parts@1", 0, 1, "reach"), ("parts@1", 2, 4, "lift"), ("reward.sparse@1", 3, None, None),
    ]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two logs, labelled: their segments are parts@1."""
    world = World(tmp_path / "home")
    write_log(world.landing, "one", seed=1)
    write_log(world.landing, "two", seed=2, episodes=2)
    world.ingest()
    run_labellers(world.lake, [parts], now_ns=1)
    return world


def test_an_erased_episode_takes_its_labels_along_and_gets_no_new_ones(world: World) -> None:
    (gone,) = world.lake.sql(
        "SELECT episode_id FROM episodes JOIN logs USING (log_id) WHERE uri LIKE '%one.json'"
    )["episode_id"].to_pylist()
    assert len(world.tables()["labels"]) == 6
    world.erase(world.plan(gone))
    assert {row["episode_id"] for row in world.tables()["labels"]}.isdisjoint({gone})
    assert len(world.tables()["labels"]) == 4
    (again,) = run_labellers(world.lake, [parts], now_ns=2)
    assert (again.total, again.failed) == (0, {})


def test_an_episode_that_is_erased_while_it_is_labelled_is_passed_over(world: World) -> None:
    drop_layer(world.lake, "parts@1")
    first = world.lake.read("episodes", columns=["episode_id"]).column(0)[0].as_py()
    erased = []

    @label("slow", version=1)
    def slow(episode):
        if not erased:
            erased.append(first)
            other = World(world.settings.home)
            other.erase(other.plan(first))
        return float(episode["state"].sum())

    (run,) = run_labellers(world.lake, [slow], now_ns=2)
    assert run.failed == {}
    rows = world.tables()["labels"]
    assert len(rows) == 2
    assert first not in {row["episode_id"] for row in rows}
    assert sum(file.rows for file in world.lake.log("labels").entries()) == 2  # none out of sight either


def test_a_remapped_episode_is_labelled_anew(world: World) -> None:
    assert world.remap().layers == {"parts@1"}
    assert world.tables()["labels"] == []
    (again,) = run_labellers(world.lake, [parts], now_ns=2)
    assert again.episodes == 3


def test_segments_go_with_a_recording_that_came_anew(world: World) -> None:
    write_log(world.landing, "two", seed=2, episodes=3)
    world.ingest()
    rows = world.lake.sql("SELECT step, last_step, source_digest FROM labels ORDER BY ALL").to_pylist()
    assert [(r["step"], r["last_step"]) for r in rows] == [(0, 1)] * 3 + [(2, 12)] * 3
    assert {r["source_digest"] for r in rows} == {parts.source_digest}
    (again,) = run_labellers(world.lake, [parts], now_ns=2)
    assert again.episodes == 1
