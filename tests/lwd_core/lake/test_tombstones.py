"""What was erased stays erased, whatever was under way when it was."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwd_core.errors import StorageError, UserError
from lwd_core.exports import lerobot
from lwd_core.exports.export import export
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.ingest.landing import LandedLog
from lwd_core.ingest.staging import stage
from lwd_core.ingest.without_erased import spared
from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import TABLES_OF_EPISODES, LogStone, Tombstones, apart
from lwd_core.lake.upkeep import compact
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.logs.source import LogSource
from lwd_core.snapshots import build
from lwd_core.snapshots.publish import Staging
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import open_location
from storage_schemas.tables import TABLES
from tests.lwd_core.erasure.test_erase import by_log, left
from tests.lwd_core.lake.fake_logs import read_fake, write_log
from tests.lwd_core.lake.rows import episode_row, label_rows, segment_rows, step_rows
from tests.lwd_core.lake.world import NOW, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home")
    write_log(world.landing, "one", seed=1, frames=4)
    write_log(world.landing, "three", seed=3, episodes=3, frames=4)
    world.ingest()
    return world


def other(world: World) -> World:
    """Another process over the same home."""
    return World(world.settings.home)


def test_tombstones_name_nobody_and_are_read_by_others(tmp_path: Path) -> None:
    place = open_location(str(tmp_path))
    mine, theirs = Tombstones(place), Tombstones(place)
    assert theirs.buried(["e1"]) == set()
    mine.bury(["e1", "e2"], {"log": LogStone(7, None)})
    mine.bury(["e1", "e2"], {"log": LogStone(7, None)})
    mine.bury(["e3"], {"shared": LogStone(9, [(3, 5)])})
    assert theirs.buried(["e1", "e3", "e4"]) == {"e1", "e3"}
    assert theirs.logs(["log", "shared", "else"]) == {
        "log": LogStone(7, None),
        "shared": LogStone(9, [(3, 5)]),
    }
    assert (theirs.count(), theirs.sizes()) == (2, {7, 9})
    for path in tmp_path.rglob("*.json"):
        said = json.loads(path.read_text())
        assert not {"e1", "e2", "e3", "log", "shared"} & {*said["names"], *said["logs"]}


def test_a_damaged_tombstone_stops_commits(world: World) -> None:
    world.erase(world.plan(*by_log(world, "one")))
    (stone,) = Path(world.lake.path("erasures", "tombstones")).iterdir()
    stone.write_bytes(b"{")
    with pytest.raises(StorageError, match="a damaged tombstone"):
        other(world).lake.append("labels", label_rows(world.tables()["episodes"]))


def test_a_mapping_that_cuts_the_log_elsewhere_does_not_bring_it_back(tmp_path: Path) -> None:
    """The id of an episode follows from its place in the log; its messages are what was erased."""
    stones = Tombstones(open_location(str(tmp_path)))
    stones.bury(["e1"], {"log": LogStone(1, [(10, 19)])})
    rows = pa.concat_tables(
        [
            episode_row("before", "log", 5, first_message=0, last_message=9),
            episode_row("across", "log", 5, first_message=5, last_message=12),
            episode_row("after", "log", 5, first_message=20, last_message=30),
            episode_row("another", "log2", 5, first_message=10, last_message=19),
        ]
    )
    assert stones.without(rows)["episode_id"].to_pylist() == ["before", "after", "another"]


Spans = list[tuple[int, int]]
span = st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda r: (r[0], r[0] + r[1]))


@given(st.lists(span, max_size=4), st.lists(span, max_size=4))
def test_what_stays_is_taken_out_of_what_goes(erased: Spans, staying: Spans) -> None:
    def messages(spans: Spans) -> set[int]:
        return {m for a, b in spans for m in range(a, b + 1)}

    assert messages(apart(erased, staying)) == messages(erased) - messages(staying)


def rows_of(table: str, episode: str, log: str) -> pa.Table:
    match table:
        case "steps":
            return step_rows(episode, log, 5)
        case "segments":
            return segment_rows(episode, log, 5)
        case "episodes":
            return episode_row(episode, log, 5)
        case "labels":
            return label_rows(episode_row(episode, log, 5).to_pylist())
    row = {
        "digest": "d",
        "episode_id": episode,
        "log_id": log,
        "split": "train",
        "shard": "s",
        "index_in_shard": 0,
    }
    return pa.Table.from_pylist([row], TABLES[table].schema)


@pytest.mark.parametrize("table", TABLES_OF_EPISODES)
@pytest.mark.parametrize("moment", ["before it plans", "while it plans", "before it commits"])
def test_a_writer_under_way_brings_nothing_back(
    world: World, table: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the erasure runs between a writer's first look and its commit, no row of it is left."""
    (episode,) = by_log(world, "one")
    log = world.lake.sql("SELECT log_id FROM episodes WHERE episode_id = ?", [episode])["log_id"][0].as_py()
    what = world.plan(episode)
    writer = other(world).lake
    rows = pa.concat_tables([rows_of(table, episode, log), rows_of(table, "e" * 32, "f" * 64)])
    todo = [lambda: other(world).erase(what)]

    def once() -> None:
        while todo:
            todo.pop()()

    def plan(_version: int) -> pa.Table:
        if moment == "while it plans":
            once()
        return rows

    if moment == "before it plans":
        writer.log(table).version()
        once()
    elif moment == "before it commits":
        commit = writer.log(table).commit

        def late(*args: object, **other: object) -> int:
            once()
            return commit(*args, **other)  # type: ignore[arg-type]

        monkeypatch.setattr(writer.log(table), "commit", late)
    writer.settle(table, plan, {"episode_id": [episode, "e" * 32]})
    found = Lake.open(world.settings.lake)
    ids = {
        row
        for path in found.files(table)
        for row in pq.read_table(path, columns=["episode_id"])["episode_id"].to_pylist()
    }
    assert episode not in ids
    assert "e" * 32 in ids
    assert left(world, what) == []


def test_a_commit_on_a_version_that_was_erased_loses_the_race(world: World) -> None:
    """Not even if the numbers of its version are long past: nothing it writes is lost in silence."""
    writer, episodes = other(world).lake, world.tables()["episodes"]
    writer.version("labels")
    for _ in range(3):
        world.lake.append("labels", label_rows(episodes))
    world.erase(world.plan(*by_log(world, "one")))
    before = len(world.tables()["labels"])
    seen: list[int] = []

    def plan(version: int) -> pa.Table:
        seen.append(version)
        if len(seen) == 1:
            other(world).erase(world.plan(*by_log(world, "three")[:1]))
        return label_rows(episodes)

    writer.settle("labels", plan, {})
    assert len(seen) == 2
    rows = other(world).tables()["labels"]
    assert len(rows) == before * 2 // 3 + 2, "two episodes are left, with a label more each"


def test_an_ingest_under_way_brings_nothing_back(world: World) -> None:
    """It has read the log before the erasure began, rows and frames, and lands after it."""
    slow = World(str(Path(world.settings.home).parent / "slow"))
    erased: list[str] = []

    def reader(source: LogSource, embodiments: Mapping, frames: object) -> object:
        content = read_fake(source, embodiments, frames)  # type: ignore[arg-type]
        if not erased:
            fast = other(slow)
            fast.ingest()
            erased.extend([*by_log(fast, "one"), by_log(fast, "three")[1]])
            plans.append(fast.plan(*erased))
            fast.erase(plans[0])
        return content

    plans: list = []
    for name, seed, episodes in (("one", 1, 1), ("three", 3, 3)):
        write_log(slow.landing, name, seed=seed, episodes=episodes, frames=4)
    where = [slow.settings.landing]
    ingest(slow.lake, slow.settings, where, embodiments={}, now_ns=NOW, reader=reader)  # type: ignore[arg-type]
    tables = slow.tables()
    assert len(tables["episodes"]) == 2
    for name in ("episodes", "steps", "segments"):
        assert not set(erased) & {row["episode_id"] for row in tables[name]}
    kept = {str(path) for path in slow.landing.rglob("three.json")}
    assert [path for path in left(slow, plans[0]) if path not in kept] == []


def test_a_log_read_again_is_spared_its_erased_episodes(world: World) -> None:
    first, second, third = by_log(world, "three")
    what = world.plan(second)
    world.erase(what)
    (path,) = world.landing.rglob("three.json")
    received = LandedLog(str(path), path.stat().st_size, "lab", "2026-01-01", "r1")
    staged = stage(world.lake.place, received, LogSource(str(path)).sha256(), {}, read_fake, NOW)
    kept = spared(world.lake, staged)
    assert kept.episodes["episode_id"].to_pylist() == [first, third]
    assert set(kept.steps["episode_id"].to_pylist()) == {first, third}
    (row,) = kept.logs.to_pylist()
    assert (row["episodes"], row["reason"]) == (2, "1 episodes erased earlier are left out")
    assert [found for found in left(world, what) if found != str(path)] == []


def beside_publishing(monkeypatch: pytest.MonkeyPatch, moment: str, action: Callable[[], object]) -> None:
    """Once, before or after the next snapshot is published."""
    publish, todo = Staging.publish, [action]

    def late(self: Staging, manifest: object) -> None:
        if moment == "after it is published":
            publish(self, manifest)  # type: ignore[arg-type]
        while todo:
            todo.pop()()
        if moment == "before it is published":
            publish(self, manifest)  # type: ignore[arg-type]

    monkeypatch.setattr(Staging, "publish", late)


@pytest.mark.parametrize("moment", ["before it is published", "after it is published"])
@pytest.mark.parametrize("cameras", [[], ["wrist"]])
def test_a_snapshot_under_way_is_built_again_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str, cameras: list[str]
) -> None:
    (episode,) = by_log(world, "one")
    what = world.plan(episode)
    builder = other(world)
    beside_publishing(monkeypatch, moment, lambda: other(world).erase(what))
    snapshot = builder.snapshot(cameras=cameras)
    assert {member.episode_id for member in snapshot.episodes} == set(by_log(world, "three"))
    assert left(world, what) == []
    rows = world.lake.read("snapshots").to_pylist()
    assert [(row["digest"], row["state"]) for row in rows] == [(snapshot.digest, "valid")]
    folders = [path.name for path in Path(world.settings.snapshots).iterdir()]
    assert [name for name in folders if len(name) == 64] == [snapshot.digest]


@pytest.mark.parametrize("moment", ["before it is published", "after it is published"])
def test_a_snapshot_under_way_follows_frames_that_move(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The erased episode is not in it; its siblings' frames lie in a new shard meanwhile."""
    _, second, _ = by_log(world, "three")
    what = world.plan(second)
    beside_publishing(monkeypatch, moment, lambda: other(world).erase(what))
    snapshot = other(world).snapshot(cameras=["wrist"], where=f"episode_id <> '{second}'")
    for shard in snapshot.manifest.frame_shards:
        assert world.lake.place.exists(shard.uri)


def test_a_snapshot_whose_ground_was_erased_while_it_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = [lambda: other(world).erase(world.plan(*by_log(world, "one")))]
    selected = build.selected

    def late(*args: object) -> object:
        episodes = selected(*args)  # type: ignore[arg-type]
        while todo:
            todo.pop()()
        return episodes

    monkeypatch.setattr(build, "selected", late)
    assert len(other(world).snapshot().episodes) == 3


def test_a_pinned_snapshot_says_that_its_versions_are_gone(world: World) -> None:
    versions, spec = world.lake.versions(), SnapshotSpec.parse({"name": "s"})
    world.erase(world.plan(*by_log(world, "one")))
    with pytest.raises(UserError):
        build.build_snapshot(world.lake, spec, world.settings.snapshots, now_ns=NOW, versions=versions)


def test_an_export_under_way_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (episode,) = by_log(world, "one")
    folder = tmp_path / "embodiments"
    Workcells().install(str(folder))
    finish = lerobot._Writer.finish

    def late(self: object) -> None:
        finish(self)  # type: ignore[arg-type]
        other(world).erase(world.plan(episode))

    monkeypatch.setattr(lerobot._Writer, "finish", late)
    with pytest.raises(UserError, match="erased meanwhile"):
        export(
            "lerobot", world.lake, tmp_path / "out", embodiments=load_embodiments(str(folder)), videos=False
        )
    assert not (tmp_path / "out").exists()


def test_a_compaction_under_way_brings_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(world.landing, "two", seed=2)
    world.ingest()
    what = world.plan(*by_log(world, "one"))
    worker, todo = other(world).lake, [lambda: other(world).erase(what)]
    commit = worker.log("steps").commit

    def late(*args: object, **other: object) -> int:
        while todo:
            todo.pop()()
        return commit(*args, **other)  # type: ignore[arg-type]

    monkeypatch.setattr(worker.log("steps"), "commit", late)
    compact(worker)
    assert left(world, what) == []
    assert len(other(world).tables()["steps"]) == 4 * 12


def test_work_that_shows_episodes_is_done_again(world: World) -> None:
    todo = [lambda: other(world).erase(world.plan(*by_log(world, "one")))]

    def work() -> int:
        shown = world.lake.read("episodes").num_rows
        while todo:
            todo.pop()()
        return shown

    assert world.lake.tombstones.steady(work) == 3


def test_an_erased_recording_does_not_come_back_with_a_set_that_grew(tmp_path: Path) -> None:
    """Under the old name or the new one, as a copy or in a log of other bytes: it is the same recording."""
    world = World(tmp_path / "home")
    path = write_log(world.landing, "set", seed=1, episodes=2)
    world.ingest()
    old = world.lake.sql("SELECT episode_id FROM episodes ORDER BY index_in_log")["episode_id"].to_pylist()
    world.snapshot("before")
    write_log(world.landing, "set", seed=1, episodes=3)
    world.ingest()
    new = world.lake.sql("SELECT episode_id FROM episodes ORDER BY index_in_log")["episode_id"].to_pylist()
    what = world.plan(new[0])
    assert set(what.episodes) == {old[0], new[0]}
    world.erase(what)
    write_log(world.landing, "set", seed=1, episodes=4)
    path.with_name("copy.json").write_text(path.read_text() + " ")
    world.ingest()
    rows = world.lake.sql("SELECT log_id, index_in_log FROM episodes ORDER BY ALL").to_pylist()
    assert sorted(row["index_in_log"] for row in rows) == [1, 1, 2, 2, 3, 3]
    reasons = [row["reason"] for row in world.tables()["logs"] if row["state"] == "accepted"]
    assert all("1 episodes erased earlier are left out" in reason for reason in reasons)
