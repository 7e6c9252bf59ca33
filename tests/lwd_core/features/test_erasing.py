"""Erasure takes an episode's features; those of its siblings follow their frames."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import simplejpeg

from lwd_core.erasure.search import search
from lwd_core.features import files
from lwd_core.features.build import build_features
from lwd_core.features.files import read_into
from tests.lwd_core.features.tiny import tiny
from tests.lwd_core.lake import fake_logs
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.world import World


def picture(seed: int, step: int) -> bytes:
    rng = np.random.default_rng((seed, step))
    return simplejpeg.encode_jpeg(rng.integers(0, 256, (24, 32, 3), np.uint8))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A log of one episode, and one of three."""
    monkeypatch.setattr(fake_logs, "picture", picture)
    world = World(tmp_path / "home")
    write_log(world.landing, "one", seed=1, frames=4)
    write_log(world.landing, "three", seed=3, episodes=3, frames=4)
    world.ingest()
    return world


def by_log(world: World, name: str) -> list[str]:
    rows = world.lake.sql(
        "SELECT episode_id FROM episodes JOIN logs USING (log_id) WHERE uri LIKE ? ORDER BY index_in_log",
        [f"%/{name}.json"],
    )
    return rows["episode_id"].to_pylist()


def test_features_go_with_their_episode_and_siblings_keep_theirs(world: World) -> None:
    lake, extractor = world.lake, tiny()
    assert build_features(lake, extractor).frames == 16
    first, second, third = by_log(world, "three")
    where = "episode_id = ? AND frames IS NOT NULL ORDER BY step"
    (before,) = files.files(lake.place, extractor.layer.name).keys() - {
        extractor.layer.path(shard) for shard in shards(world, by_log(world, "one")[0])
    }
    whole = pq.read_table(lake.path(before))
    what = world.plan(second)
    assert before.removeprefix(lake.root) in str(search([world.settings.lake], what.sought).holding)
    world.erase(what)
    assert search([world.settings.lake], what.sought).holding == []
    assert not lake.place.exists(before)
    assert build_features(lake, extractor).frames == 0, "those that stay were not looked at again"
    for episode, begin in ((first, 0), (third, 8)):
        shown = lake.read("steps", columns=["frames"], where=where, params=[episode])["frames"].to_pylist()
        offsets = np.array([frame["offset"] for (frame,) in shown])
        out = np.empty((4, extractor.width), np.float16)
        read_into(lake.place, extractor.layer, shown[0][0]["shard"], offsets, out)
        assert np.array_equal(out, np.array(whole["features"].to_pylist(), np.float16)[begin : begin + 4])


def test_the_features_of_a_log_that_goes_whole_go_whole(world: World) -> None:
    extractor, (episode,) = tiny(), by_log(world, "one")
    build_features(world.lake, extractor)
    build_features(world.lake, tiny(seed=1))
    (shard,) = shards(world, episode)
    what = world.plan(episode)
    world.erase(what)
    assert search([world.settings.lake], what.sought).holding == []
    for layer in files.layers(world.lake.place):
        assert not world.lake.place.exists(files.path_of(layer, shard))
        assert len(files.files(world.lake.place, layer)) == 1


def test_an_erasure_cut_off_before_features_followed_is_finished(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, extractor = world.lake, tiny()
    build_features(lake, extractor)
    what = world.plan(by_log(world, "three")[1])

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "follow_frames", killed)
        with pytest.raises(KeyboardInterrupt):
            world.erase(what)
    (pending,) = world.pending()
    world.erase(pending)
    assert search([world.settings.lake], what.sought).holding == []
    assert build_features(lake, extractor).frames == 0


def shards(world: World, episode: str) -> set[str]:
    rows = world.lake.read("steps", columns=["frames"], where="episode_id = ?", params=[episode])
    return {frame["shard"] for shown in rows["frames"].to_pylist() for frame in shown or ()}
