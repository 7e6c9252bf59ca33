"""Erasure: nothing of the episode is left, everything else is."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.lake.erase import erase, needles, pending
from lwd_core.lake.frames import read_frame
from lwd_core.lake.search import search
from lwd_core.lake.upkeep import compact
from lwd_core.snapshots.snapshot import Snapshot
from tests.lwd_core.lake.fake_logs import picture, write_log
from tests.lwd_core.lake.rows import label_rows, policy_row
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


def roots(world: World) -> list[str]:
    return [world.settings.landing, world.settings.lake, world.settings.snapshots]


def test_an_episode_is_gone_and_the_rest_stays(world: World) -> None:
    (episode,) = by_log(world, "one")
    before = world.tables()
    other = world.snapshot("other", where="index_in_log > 0")
    what = world.plan(episode)
    assert len(what.needles) >= 3
    assert search(roots(world), needles(what)), "the search finds what is there"
    world.erase(what)
    assert search(roots(world), needles(what)) == []
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
    assert search(roots(world), needles(what)) == []
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
    assert search(roots(world), needles(what)) == []
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
    assert search(roots(world), needles(what)) == []


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
    assert pending(world.lake) == [what]
    world.erase(pending(world.lake)[0])
    assert pending(world.lake) == []
    assert search(roots(world), needles(what)) == []
    row = world.lake.read("snapshots", where="digest = ?", params=[snapshot.digest]).to_pylist()[0]
    assert row["state"] == "withdrawn"
