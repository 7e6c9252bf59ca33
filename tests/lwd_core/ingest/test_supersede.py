"""The same address with other bytes, and the same recording however it came."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lwd_core.ingest.reconcile import reconcile, unaccounted
from lwd_core.ingest.supersede import settle
from lwd_core.lake.same_recording import DUPLICATES
from lwd_core.lineage import impact
from lwd_core.policies.canary import tallies
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.select import pin, selected
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import EPISODES
from storage_schemas.vocabulary import LogState
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.kills import no_row_twice, whole
from tests.lwd_core.lake.rows import label_rows
from tests.lwd_core.lake.world import NOW, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


def states(world: World) -> dict[str, str]:
    rows = world.lake.sql("SELECT uri, state, log_id FROM logs ORDER BY created_ns, log_id").to_pylist()
    return {f"{row['uri'].rsplit('/')[-1]} {row['log_id'][:6]}": row["state"] for row in rows}


def count(world: World, table: str) -> int:
    """Rows in the files of the newest version, seen or not."""
    files = world.lake.files(table)
    return sum(len(pa.parquet.read_table(f, columns=["log_id"])) for f in files)  # type: ignore[attr-defined]


def test_other_bytes_at_an_address_supersede(world: World) -> None:
    write_log(world.landing, "log", seed=1, episodes=2)
    write_log(world.landing, "other", seed=9)
    world.ingest()
    old = {row["episode_id"] for row in world.tables()["episodes"]}
    write_log(world.landing, "log", seed=1, episodes=3)
    result = world.ingest()
    assert (result.accepted.files, result.superseded.files, result.known.files) == (1, 1, 1)
    assert sorted(states(world).values()) == ["accepted", "accepted", "superseded"]
    rows = world.tables()["logs"]
    (gone,) = [row for row in rows if row["state"] == LogState.SUPERSEDED]
    (now,) = [row for row in rows if row["uri"] == gone["uri"] and row is not gone]
    assert gone["superseded_by"] == now["log_id"]
    new = {row["episode_id"] for row in world.tables()["episodes"]}
    assert len(new) == 4
    assert len(old & new) == 1
    assert (count(world, "steps"), count(world, "segments")) == (4 * 12, 4)
    whole(world)
    versions = world.lake.versions()
    assert world.ingest().known.files == 2
    assert world.lake.versions() == versions
    assert unaccounted(world.lake, world.settings.landing) == []
    (sums,) = reconcile(world.lake).to_pylist()
    assert sums["bytes"] == sum(sums[f"{state}_bytes"] for state in LogState)


def test_bytes_that_come_back_are_taken_again(world: World) -> None:
    for seed in (1, 2, 1):
        write_log(world.landing, "log", seed=seed)
        world.ingest()
    assert sorted(states(world).values()) == ["accepted", "superseded"]
    assert [row["content"] for row in world.tables()["episodes"]] == [content_of(world, seed=1)]


def content_of(world: World, seed: int) -> str:
    other = World(world.landing.parent.parent / f"other{seed}")
    write_log(other.landing, "log", seed=seed)
    other.ingest()
    return other.tables()["episodes"][0]["content"]


def test_a_copy_elsewhere_keeps_the_episodes(world: World) -> None:
    write_log(world.landing, "a", seed=1)
    write_log(world.landing, "b", seed=1)
    world.ingest()
    episodes = world.tables()["episodes"]
    write_log(world.landing, "a", seed=2)
    world.ingest()
    found = {
        row["uri"].rsplit("/")[-1]: row for row in world.tables()["logs"] if row["state"] != "superseded"
    }
    assert {name: row["state"] for name, row in found.items()} == {"a.json": "accepted", "b.json": "accepted"}
    assert found["b.json"]["episodes"] == 1
    assert [row for row in world.tables()["episodes"] if row in episodes] == episodes
    assert len(world.tables()["episodes"]) == 2


@pytest.mark.parametrize("batch_logs", [1, 8])
def test_a_name_used_again_after_a_move_loses_nothing(world: World, batch_logs: int) -> None:
    first = write_log(world.landing, "a", seed=1)
    world.ingest()
    shutil.move(first, first.with_name("b.json"))
    write_log(world.landing, "a", seed=2)
    world.ingest(batch_logs=batch_logs)
    assert len(world.tables()["episodes"]) == 2
    assert sorted(states(world).values()) == ["accepted", "accepted", "superseded"]
    whole(world)


def test_two_logs_that_change_places(world: World) -> None:
    a, b = (write_log(world.landing, name, seed=i) for i, name in enumerate("ab"))
    world.ingest()
    episodes = world.tables()["episodes"]
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)
    world.ingest()
    assert world.tables()["episodes"] == episodes
    assert sorted(states(world).values()) == ["accepted", "accepted", "superseded", "superseded"]


def test_a_log_that_can_no_longer_be_read_takes_nothing_away(world: World) -> None:
    path = write_log(world.landing, "log", seed=1)
    world.ingest()
    path.write_bytes(b"half an upl")
    result = world.ingest()
    assert (result.quarantined.files, result.superseded.files) == (1, 0)
    assert len(world.tables()["episodes"]) == 1
    write_log(world.landing, "log", seed=2)
    world.ingest()
    assert sorted(states(world).values()) == ["accepted", "superseded", "superseded"]
    assert len(world.tables()["episodes"]) == 1


def test_lineage_says_what_was_superseded(world: World) -> None:
    write_log(world.landing, "log", seed=1)
    world.ingest()
    (old,) = world.tables()["episodes"]
    digest = world.snapshot().digest
    write_log(world.landing, "log", seed=2)
    world.ingest()
    found = impact(world.lake, old["episode_id"][:12])
    assert [(row["robot_id"], row["outcome"]) for row in found.episodes.to_pylist()] == [("r1", "superseded")]
    assert [row["digest"] for row in found.snapshots.to_pylist()] == [digest]


def test_labels_go_with_the_recording(world: World) -> None:
    write_log(world.landing, "set", seed=1, episodes=2)
    world.ingest()
    world.lake.append("labels", label_rows(world.tables()["episodes"]))
    before = len(world.tables()["labels"])
    write_log(world.landing, "set", seed=1, episodes=3)
    world.ingest()
    rows = world.lake.sql(
        "SELECT DISTINCT e.index_in_log FROM labels l JOIN episodes e USING (episode_id, log_id)"
    ).to_pylist()
    assert {row["index_in_log"] for row in rows} == {0, 1}
    assert len(world.tables()["labels"]) == before


def test_a_set_that_grows_stays_on_its_side_of_the_holdout(world: World) -> None:
    spec = SnapshotSpec.parse({"name": "s", "holdout": 0.4})
    split: dict[str, set[str]] = {}
    for episodes in (4, 7, 12):
        write_log(world.landing, "set", seed=1, episodes=episodes)
        world.ingest()
        snapshot = build_snapshot(world.lake, spec, world.settings.snapshots, now_ns=NOW)
        content = {row["episode_id"]: row["content"] for row in world.tables()["episodes"]}
        assert len(snapshot.episodes) == episodes
        for member in snapshot.episodes:
            split.setdefault(content[member.episode_id], set()).add(member.split)
    assert len(split) == 12
    assert all(len(sides) == 1 for sides in split.values())
    assert {side for sides in split.values() for side in sides} == {"train", "holdout"}


def test_one_recording_counts_once_whichever_way_it_came(world: World) -> None:
    path = write_log(world.landing, "log", seed=1, episodes=4)
    world.ingest()
    copy = path.with_name("copy.json")
    copy.write_text(json.dumps(json.loads(path.read_text()), indent=1))  # other bytes, the same recordings
    world.ingest()
    assert len(world.tables()["episodes"]) == 8
    named = world.lake.sql(DUPLICATES).to_pylist()
    first = {row["episode_id"] for row in world.lake.sql(
        "SELECT episode_id FROM episodes ORDER BY created_ns, episode_id").to_pylist()}  # fmt: skip
    assert len(named) == 4
    assert {row["duplicate_of"] for row in named} <= first - {row["episode_id"] for row in named}
    spec = SnapshotSpec.parse({"name": "s", "holdout": 0.5})
    rows = selected(world.lake, spec, pin(world.lake, spec))
    assert len(rows) == len({row["content"] for row in rows}) == 4
    snapshot = build_snapshot(world.lake, spec, world.settings.snapshots, now_ns=NOW)
    assert snapshot.manifest.counts["copies_left_out"] == 4


def test_a_verdict_counts_recordings(world: World) -> None:
    for name in ("a", "b"):
        write_log(world.landing, name, seed=1, episodes=8, length=12)
    path = world.landing / "lab/2026-01-01/r1/b.json"
    path.write_text(path.read_text() + " ")
    world.ingest()
    rows = world.lake.read("episodes")
    ran = pa.repeat(pa.scalar("p"), rows.num_rows)
    rows = rows.set_column(EPISODES.names.index("policy_id"), "policy_id", ran)
    world.lake.replace("episodes", rows, {"policy_id": ["p"], "episode_id": rows["episode_id"].to_pylist()})
    world.lake.replace("episodes", rows, {"episode_id": rows["episode_id"].to_pylist()})
    assert rows.num_rows == 16
    (tally,) = tallies(world.lake, "p").values()
    assert (tally.episodes, tally.successes) == (8, 8)


def test_a_run_cut_off_anywhere_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit of a superseding ingest is followed by a death; the next run finishes."""

    def before(root: Path) -> World:
        world = World(root)
        write_log(world.landing, "set", seed=1, episodes=2, frames=2)
        world.ingest()
        world.lake.append("labels", label_rows(world.tables()["episodes"]))
        write_log(world.landing, "set", seed=1, episodes=3, frames=2)
        write_log(world.landing, "other", seed=5)
        return world

    undisturbed = before(tmp_path / "whole")
    undisturbed.ingest()
    expected = undisturbed.tables()
    for commits in range(12):
        world = before(tmp_path / f"cut{commits}")
        done = 0
        real = type(world.lake).settle

        def dying(lake, table, plan, where, real=real, last=commits):  # type: ignore[no-untyped-def]
            nonlocal done
            if done == last:
                raise KeyboardInterrupt
            done += 1
            return real(lake, table, plan, where)

        with monkeypatch.context() as patched:
            patched.setattr(type(world.lake), "settle", dying)
            try:
                world.ingest()
                finished = True
            except KeyboardInterrupt:
                finished = False
        whole(world)
        world = World(tmp_path / f"cut{commits}")
        world.ingest()
        found = world.tables()
        for table, rows in expected.items():
            assert found[table] == rows, f"{table} after {commits} commits"
        no_row_twice(world)
        if finished:
            return
    raise AssertionError("a run of so few logs ends")


URI, ID = st.sampled_from("UVW"), st.sampled_from("abcd")
STATES = ("accepted", "salvaged", "quarantined")


@settings(max_examples=300)
@given(st.lists(st.tuples(ID, URI), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_each_address_holds_one_log_and_each_content_has_one_owner(
    events: list[tuple[str, str]], rng: random.Random
) -> None:
    """Whatever comes wherever: rows are kept, the newest of an address lives, each content has one owner."""
    rows: list[dict] = []
    owned: set[str] = set()
    bad = {"d"}
    for log_id, uri in events:
        here = [row for row in rows if row["uri"] == uri and row["state"] != "superseded"]
        if any(row["log_id"] == log_id for row in here):
            continue  # known
        state = "quarantined" if log_id in bad else "duplicate" if log_id in owned else "accepted"
        new = {"log_id": log_id, "uri": uri, "state": state, "bytes": 1, "superseded_by": None, "format": "x",
               "reason": None, "messages": 1, "messages_lost": 0, "episodes": 1,
               "embodiment": "e"}  # fmt: skip
        settled = settle(rows, [new])
        assert {(r["log_id"], r["uri"]) for r in rows} <= {(r["log_id"], r["uri"]) for r in settled.rows}
        rows = settled.rows
        owned = (owned | ({log_id} - bad)) - settled.leaving
        owners = [row["log_id"] for row in rows if row["state"] in ("accepted", "salvaged")]
        assert sorted(owners) == sorted(owned)
        live = [row for row in rows if row["uri"] == uri and row["state"] != "superseded"]
        assert [row["log_id"] for row in live if row["state"] != "quarantined"].count(log_id) == (
            log_id not in bad
        )
        assert len([row for row in live if row["state"] != "quarantined"]) <= 1
