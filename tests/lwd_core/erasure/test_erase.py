"""Erasure: nothing of the episode is left, everything else is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lwd_core.erasure.erase import erase
from lwd_core.erasure.plan import Plan
from lwd_core.erasure.raw_logs import Fate
from lwd_core.erasure.search import search
from lwd_core.errors import UserError
from lwd_core.lake.frames import read_frame
from lwd_core.lake.upkeep import compact
from lwd_core.snapshots.snapshot import Snapshot
from tests.lwd_core.lake.fake_logs import picture, write_log
from tests.lwd_core.lake.rows import label_rows, policy_row, step_rows
from tests.lwd_core.lake.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two logs of one episode and one of three, with frames; labels, snapshots, a policy; compacted once."""
    world = World(tmp_path / "home")
    write_log(world.landing, "one", seed=1, frames=4)
    world.ingest()
    write_log(world.landing, "two", seed=2, frames=4)
    write_log(world.landing, "three", seed=3, episodes=3, frames=4)
    world.ingest()
    world.lake.append("labels", label_rows(world.tables()["episodes"]))
    compact(world.lake)
    return world


def by_log(world: World, name: str) -> list[str]:
    rows = world.lake.sql(
        "SELECT episode_id FROM episodes JOIN logs USING (log_id) WHERE uri LIKE ? ORDER BY index_in_log",
        [f"%/{name}.json"],
    )
    return rows["episode_id"].to_pylist()


def without(tables: dict[str, list[dict]], gone: set[str]) -> dict[str, list[dict]]:
    kept = {k: [r for r in rows if r.get("episode_id") not in gone] for k, rows in tables.items()}
    return {k: kept[k] for k in ("episodes", "segments", "labels")}


def left(world: World, what: Plan) -> list[str]:
    """Files that still hold it."""
    places = [world.settings.lake, world.settings.snapshots]
    return search(places, what.sought, raw=[world.settings.landing]).holding


def test_an_episode_is_gone_and_the_rest_stays(world: World) -> None:
    (episode,) = by_log(world, "one")
    before = world.tables()
    other = world.snapshot("other", where="index_in_log > 0")
    what = world.plan(episode)
    assert what.needles
    assert len(what.numbers) >= 6
    assert left(world, what), "the search finds what is there"
    world.erase(what)
    assert left(world, what) == []
    after = world.tables()
    assert without(after, {episode}) == without(before, {episode})
    assert episode not in {row["episode_id"] for row in after["steps"]}
    assert not list(world.landing.rglob("one.json"))
    assert Snapshot.open(world.settings.snapshots, other.digest)


def test_a_repeated_upload_does_not_bring_it_back(world: World) -> None:
    (episode,) = by_log(world, "one")
    world.erase(world.plan(episode))
    write_log(world.landing, "again", seed=1, frames=4)
    assert world.ingest().duplicate.files == 1
    assert episode not in {row["episode_id"] for row in world.tables()["episodes"]}


def test_siblings_keep_their_frames(world: World) -> None:
    first, second, third = by_log(world, "three")
    snapshot = world.snapshot(cameras=["wrist"])
    what = world.plan(second)
    assert set(what.siblings) == {first, third}
    assert what.snapshots == (snapshot.digest,)
    done = world.erase(what)
    assert left(world, what) == []
    rows = world.lake.read("steps", columns=["episode_id", "step", "frames"], where="frames IS NOT NULL")
    shown = {(r["episode_id"], r["step"]): r["frames"][0] for r in rows.to_pylist()}
    for episode, seed in ((first, 300), (third, 302)):
        for step in range(4):
            assert read_frame(world.lake.place, shown[episode, step]) == picture(seed, step)
    successor = done.successors[snapshot.digest]
    assert successor
    assert len(Snapshot.open(world.settings.snapshots, successor).episodes) == 4
    with pytest.raises(UserError):
        Snapshot.open(world.settings.snapshots, snapshot.digest)


def test_the_whole_log_can_go(world: World) -> None:
    three = by_log(world, "three")
    what = world.plan(three[0], whole_log=True)
    assert what.episodes == tuple(sorted(three))
    world.erase(what)
    assert left(world, what) == []
    assert len(world.tables()["episodes"]) == 2


def test_snapshots_are_withdrawn_and_policies_listed(world: World) -> None:
    (episode,) = by_log(world, "one")
    snapshot = world.snapshot()
    world.lake.append("policies", policy_row("p1", [snapshot.digest]))
    world.lake.append("policies", policy_row("p2", ["elsewhere"], parent="p1"))
    world.lake.append("policies", policy_row("p3", ["elsewhere"]))
    what = world.plan(episode)
    assert (what.snapshots, what.policies) == ((snapshot.digest,), ("p1", "p2"))
    successor = world.erase(what).successors[snapshot.digest]
    row = world.lake.read("snapshots", where="digest = ?", params=[snapshot.digest]).to_pylist()[0]
    assert (row["state"], row["successor"]) == ("withdrawn", successor)
    assert left(world, what) == []


def test_pages_that_may_show_it_go(world: World) -> None:
    """A figure or a film shows an episode in a form that no search of bytes finds."""
    (episode,) = by_log(world, "one")
    reports = Path(world.settings.reports)
    (reports / "lineage").mkdir(parents=True)
    pages = [reports / "fleet.html", reports / "lineage" / "p1.html"]
    for page in pages:
        page.write_text(f"<p>{episode}</p>")
    (reports / "report.json").write_text("{}")
    world.plan(episode)
    assert all(page.exists() for page in pages), "a plan deletes nothing"
    world.erase(world.plan(episode))
    assert [p.name for p in reports.rglob("*") if p.is_file()] == ["report.json"]


def test_a_plan_changes_nothing_and_an_unknown_episode_is_named(world: World) -> None:
    versions = world.lake.versions()
    world.plan(*by_log(world, "one"))
    assert world.lake.versions() == versions
    with pytest.raises(UserError, match="not in the lake"):
        world.plan("nobody")


def test_an_interrupted_erasure_is_finished(world: World) -> None:
    first, *_ = by_log(world, "three")
    snapshot = world.snapshot(cameras=["wrist"])
    what = world.plan(first)

    def cut_off(*_: object) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erase(world.lake, what, reissue=cut_off, now_ns=1, pages=world.settings.reports)
    assert world.pending() == [replace(what, raw=world.pending()[0].raw)]
    world.erase(world.pending()[0])
    assert world.pending() == []
    assert left(world, what) == []
    row = world.lake.read("snapshots", where="digest = ?", params=[snapshot.digest]).to_pylist()[0]
    assert row["state"] == "withdrawn"


def test_originals_elsewhere_are_left(world: World, tmp_path: Path) -> None:
    mine = write_log(tmp_path / "mine", "drive", seed=5)
    world.ingest(mine)
    what = world.plan(*by_log(world, "drive"))
    assert [(log.path, log.fate) for log in what.raw] == [(str(mine), Fate.ELSEWHERE)]
    world.erase(what)
    assert mine.exists()
    assert by_log(world, "drive") == []


def test_originals_elsewhere_go_if_named_and_still_the_same(world: World, tmp_path: Path) -> None:
    kept, given = (
        write_log(tmp_path / "mine", name, seed=seed) for name, seed in (("kept", 5), ("given", 6))
    )
    world.ingest(kept, given)
    episodes = by_log(world, "kept") + by_log(world, "given")
    what = world.plan(*episodes, also_delete=[str(given)])
    world.erase(what)
    assert (kept.exists(), given.exists()) == (True, False)
    with pytest.raises(UserError, match="no raw log of these episodes"):
        world.plan(*episodes, also_delete=[str(tmp_path)])


def test_a_link_in_the_landing_zone_leads_to_what_is_not_ours(world: World, tmp_path: Path) -> None:
    mine = write_log(tmp_path / "mine", "drive", seed=5)
    link = world.landing / "lab" / "2026-01-02"
    link.symlink_to(mine.parent.parent, target_is_directory=True)
    path = link / "r1" / "drive.json"
    world.ingest(path)
    (raw,) = world.plan(*by_log(world, "drive")).raw
    assert (raw.path, raw.fate) == (str(path), Fate.ELSEWHERE)


def test_a_name_used_twice_does_not_lose_the_second_log(world: World) -> None:
    """A robot counts from 1 again after a reboot and sends another drive under the same name."""
    (first,) = by_log(world, "one")
    again = write_log(world.landing, "one", seed=7)
    world.ingest()
    what = world.plan(first)
    assert [log.fate for log in what.raw] == [Fate.REPLACED]
    world.erase(what)
    assert again.exists()
    assert world.lake.sql("SELECT 1 FROM episodes WHERE episode_id = ?", [first]).num_rows == 0


def test_a_log_that_changed_after_the_plan_is_left_and_said(world: World) -> None:
    what = world.plan(*by_log(world, "one"))
    path = write_log(world.landing, "one", seed=7)
    done = world.erase(what)
    assert path.exists()
    assert [log.path for log in done.changed] == [str(path)]


def test_a_log_of_several_is_kept_for_its_other_episodes(world: World) -> None:
    first, second, third = by_log(world, "three")
    what = world.plan(first)
    assert [log.fate for log in what.raw] == [Fate.SHARED]
    world.erase(what)
    (path,) = world.landing.rglob("three.json")
    assert by_log(world, "three") == [second, third]
    reason = world.lake.sql("SELECT reason FROM logs WHERE uri LIKE '%three.json'")["reason"][0].as_py()
    assert reason.startswith("episodes of it erased, last at ")
    world.erase(world.plan(second))
    assert path.exists()
    assert world.plan(third, also_delete=[]).raw[0].fate == Fate.DELETED, (
        "the last of them takes the log along"
    )
    world.erase(world.plan(third))
    assert not path.exists()


def test_a_kept_log_goes_if_it_is_named(world: World) -> None:
    first, *others = by_log(world, "three")
    (path,) = world.landing.rglob("three.json")
    world.erase(world.plan(first, also_delete=[str(path)]))
    assert not path.exists()
    assert by_log(world, "three") == others


def test_copies_in_the_landing_zone_go_too(world: World) -> None:
    """Under other names, taken in or not: they are found by their digest."""
    write_log(world.landing, "sent-again", seed=1, frames=4, day="2026-01-03")
    world.ingest()
    write_log(world.landing, "not-yet-taken-in", seed=1, frames=4, robot="r2")
    what = world.plan(*by_log(world, "one"))
    assert len(what.of(Fate.DELETED)) == 3
    world.erase(what)
    assert sorted(path.name for path in world.landing.rglob("*.json")) == ["three.json", "two.json"]


def test_it_can_be_erased_again_when_its_log_came_back(world: World) -> None:
    (episode,) = by_log(world, "one")
    world.erase(world.plan(episode))
    back = write_log(world.landing, "one", seed=1, frames=4)
    what = world.plan(episode)
    assert (what.unknown, what.before) == ((episode,), (episode,))
    assert [(log.path, log.fate) for log in what.raw] == [(str(back), Fate.DELETED)]
    world.erase(what)
    assert not back.exists()
    assert world.plan(episode).raw == ()


def test_an_episode_the_lake_never_had_is_looked_for_too(world: World) -> None:
    nobody = "0" * 32
    note = Path(world.settings.snapshots) / "note.txt"
    note.parent.mkdir()
    note.write_text(nobody)
    what = world.plan(nobody)
    assert (what.unknown, what.before, what.raw) == ((nobody,), (), ())
    world.erase(what)
    assert left(world, what) == [str(note)]
    assert len(world.tables()["episodes"]) == 5


def test_rows_left_behind_out_of_sight_go(world: World) -> None:
    """An ingest was cut off between steps and episodes; what else is in the log isn't known, so it stays."""
    episode, log = "a" * 32, "b" * 64
    world.lake.append("steps", step_rows(episode, log, 5))
    what = world.plan(episode)
    assert what.ranges == {log: []}
    world.erase(what)
    files = [pq.read_table(path, columns=["episode_id"]) for path in world.lake.files("steps")]
    assert episode not in pa.concat_tables(files)["episode_id"].to_pylist()
    assert left(world, what) == []


def test_a_plan_of_an_older_release_is_finished(world: World) -> None:
    (episode,) = by_log(world, "one")
    what = world.plan(episode)
    old = {
        name: getattr(what, name)
        for name in ("episodes", "siblings", "steps", "shards", "snapshots", "policies", "needles")
    }
    old |= {"logs": list(what.ranges), "raw": [[log.path, log.bytes] for log in what.raw]}
    with world.lake.place.write("erasures", f"{what.token}.pending.json") as stream:
        stream.write(json.dumps(old).encode())
    (found,) = world.pending()
    assert (found.episodes, found.raw, found.ranges) == (what.episodes, what.raw, what.ranges)
    world.erase(found)
    assert left(world, what) == []


def test_a_damaged_snapshot_does_not_stop_it(world: World) -> None:
    snapshot = world.snapshot()
    Path(snapshot.path(snapshot.manifest.shards[0].name)).write_bytes(b"")
    what = world.plan(*by_log(world, "one"))
    assert world.erase(what).successors == {snapshot.digest: None}
    assert left(world, what) == []


def test_erased_again_a_log_that_stayed_can_still_be_named(world: World) -> None:
    first, second, _ = by_log(world, "three")
    (path,) = world.landing.rglob("three.json")
    world.erase(world.plan(first))
    world.erase(world.plan(*by_log(world, "two")))
    assert [(log.path, log.fate) for log in world.plan(first).raw] == [(str(path), Fate.SHARED)]
    world.erase(world.plan(first, also_delete=[str(path)]))
    assert not path.exists()
    assert world.lake.sql("SELECT 1 FROM episodes WHERE episode_id = ?", [second]).num_rows == 1


def test_a_copy_of_a_home_leaves_the_original_alone(world: World, tmp_path: Path) -> None:
    """Also where an erasure was interrupted before the copy was made, and a path had been named."""
    (episode,) = by_log(world, "one")
    what = world.plan(episode, also_delete=[str(next(world.landing.rglob("one.json")))])

    def cut_off(*_: object) -> dict[str, str | None]:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lwd_core.erasure.erase.delete", cut_off)
        with pytest.raises(KeyboardInterrupt):
            world.erase(what)
    shutil.copytree(world.settings.home, tmp_path / "copy")
    copy = World(tmp_path / "copy")
    (unfinished,) = copy.pending()
    copy.erase(unfinished)
    copy.erase(copy.plan(*by_log(copy, "two")))
    assert {path.name for path in world.landing.rglob("*.json")} == {"one.json", "two.json", "three.json"}


@pytest.mark.parametrize("kind", ["pending", "sought"])
def test_a_damaged_note_is_a_line(world: World, kind: str) -> None:
    with world.lake.place.write("erasures", f"a.{kind}.json") as stream:
        stream.write(b"{")
    with pytest.raises(UserError, match="a damaged note of an erasure"):
        world.pending() or world.plan(*by_log(world, "one"))
