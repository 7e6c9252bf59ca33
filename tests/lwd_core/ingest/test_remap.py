"""A changed embodiment file applied to logs that are in: other rows, the same episodes, never half."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lwd_core.erasure.erase import erase
from lwd_core.erasure.plan import plan
from lwd_core.errors import UserError
from lwd_core.ingest.commit import ingest
from lwd_core.ingest.remap import Remapped, outdated, remap
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.outcome import RECORDED_OUTCOME
from lwd_core.labels.reward import SPARSE_REWARD
from lwd_core.lake.store import Lake
from lwd_core.loader.growing import GrowingLoader
from lwd_core.logs.embodiment import load_embodiments, parse_embodiment
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.reuse import reusable
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import LABELS
from tests.lwd_core.logs import robot_logs

NOW = 1_767_300_000_000_000_000
FIRST = """\
name: cube
control_hz: 20
state: [{topic: observations, dims: [{name: a}, {name: b}, {name: c}]}]
action: [{topic: actions, dims: [{name: u}, {name: v}]}]
"""
SECOND = FIRST.replace("[{name: a}, {name: b}, {name: c}]", "[{name: b}, {name: c}], start: 1").replace(
    "name: cube", "name: cube  # only the two that move"
)


class Home:
    """Two logs of two episodes each under one embodiment file, and another robot's log beside them."""

    def __init__(self, root: Path) -> None:
        self.settings = Settings(home=str(root))
        self.lake = Lake.open(self.settings.lake, create=True)
        self.map(FIRST)
        rng = np.random.default_rng(0)
        for name in ("one", "two"):
            folder = Path(self.settings.landing) / "lab" / "2026-01-01" / "r1"
            folder.mkdir(parents=True, exist_ok=True)
            ends = np.zeros(12)
            ends[[5, 11]] = 1
            np.savez(
                folder / f"{name}.npz",
                observations=rng.normal(size=(12, 3)).astype(np.float32),
                actions=rng.normal(size=(12, 2)).astype(np.float32),
                terminals=ends,
            )
        assert self.ingest().episodes == 4

    def map(self, text: str, name: str = "cube") -> None:
        folder = Path(self.settings.embodiments)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)

    @property
    def embodiments(self) -> dict[str, Embodiment]:
        return load_embodiments(self.settings.embodiments)

    def ingest(self, *paths: str):
        where = paths or [self.settings.landing]
        return ingest(self.lake, self.settings, where, embodiments=self.embodiments, now_ns=NOW)

    def remap(self, *named: str) -> Remapped:
        lake = Lake.open(self.settings.lake)
        logs = outdated(lake, self.embodiments, named=named)
        return remap(lake, self.settings, logs, embodiments=self.embodiments, now_ns=NOW + 1)

    def label(self, layer: str, kind: str, **said: object) -> None:
        rows = self.lake.read("episodes", columns=["episode_id", "log_id", "site", "day"]).to_pylist()
        rows = [r | {"layer_id": layer, "kind": kind, "created_ns": 1} | said for r in rows]
        self.lake.append("labels", pa.Table.from_pylist(rows, schema=LABELS.schema))

    def tables(self) -> dict[str, list[dict]]:
        names = ("logs", "episodes", "steps", "segments", "labels")
        lake = Lake.open(self.settings.lake)
        return {name: lake.sql(f"SELECT * FROM {name} ORDER BY ALL").to_pylist() for name in names}

    def stored(self, table: str) -> int:
        """Rows that are there, seen or not."""
        return sum(file.rows for file in Lake.open(self.settings.lake).log(table).entries())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_new_rows_take_the_place_of_the_old(home: Home) -> None:
    before = home.tables()
    home.map(SECOND)
    done = home.remap()
    assert (done.logs, done.episodes, done.left) == (2, 4, [])
    after = home.tables()
    assert [e["episode_id"] for e in after["episodes"]] == [e["episode_id"] for e in before["episodes"]]
    assert [s["state"] for s in after["steps"]] == [s["state"][1:] for s in before["steps"]]
    assert [s["action"] for s in after["steps"]] == [s["action"] for s in before["steps"]]
    assert {e["created_ns"] for e in after["episodes"]} == {NOW}
    assert home.stored("steps") == len(before["steps"])
    assert home.stored("segments") == len(before["segments"])
    assert home.remap() == Remapped()  # nothing is left to do


def test_lineage_says_what_read_a_row(home: Home) -> None:
    first = home.embodiments["cube"].digest
    home.map(SECOND)
    second = home.embodiments["cube"].digest
    home.remap()
    for episode in home.tables()["episodes"]:
        assert episode["embodiment_digest"] == second
        assert episode["reader_version"].startswith("npz@")
        said = json.loads(episode["attributes"])
        assert json.loads(said["remapped_from"]) == [f"{first} {episode['reader_version']}"]
    assert {log["embodiment_digest"] for log in home.tables()["logs"]} == {second}
    for digest in (first, second):
        kept = parse_embodiment(Path(home.lake.path("embodiments", f"{digest}.json")).read_text())
        assert kept.digest == digest


def test_what_people_said_stays_and_what_was_computed_goes(home: Home) -> None:
    home.label("verdict.ana@1", "outcome", text="failure")
    run_labellers(home.lake, [SPARSE_REWARD, RECORDED_OUTCOME], now_ns=NOW)
    home.map(SECOND)
    assert home.remap().layers == {"reward.sparse@1", "outcome.recorded@1"}
    labels = home.tables()["labels"]
    assert [(row["layer_id"], row["text"]) for row in labels] == [("verdict.ana@1", "failure")] * 4


def test_a_snapshot_refuses_two_meanings_under_one_name(home: Home) -> None:
    home.map(SECOND)
    assert home.remap("one.npz").logs == 1
    spec = SnapshotSpec.parse({"name": "s"})
    with pytest.raises(
        UserError, match=r"embodiment cube: .* 2 .*`lwd logs remap --embodiment cube`"
    ) as error:
        build_snapshot(home.lake, spec, home.settings.snapshots, now_ns=NOW)
    assert "\n" not in str(error.value)
    home.remap()
    assert build_snapshot(home.lake, spec, home.settings.snapshots, now_ns=NOW).manifest.state_width == 2


def test_comments_and_descriptions_mean_nothing(home: Home) -> None:
    home.map("# ours\n" + FIRST + "description: a cube\nmatch: {}\nepisodes: {boundary: log}\n")
    assert outdated(home.lake, home.embodiments) == []


def test_a_log_that_is_gone_changed_or_fails_stays_as_it_was(home: Home) -> None:
    before = home.tables()
    one, two = sorted(log["uri"] for log in before["logs"])
    gone, changed = (Path(home.settings.landing, uri) for uri in (one, two))
    gone.unlink()
    changed.write_bytes(changed.read_bytes() + b"x")
    home.map(SECOND)
    done = home.remap()
    assert dict(done.left) == {
        one: "the raw log is not there any more",
        two: "it has other bytes than those that were taken in",
    }
    assert home.tables() == before
    home.map(FIRST.replace("actions", "commands"))
    assert {why for _, why in home.remap().left} >= {"the raw log is not there any more"}
    assert home.tables() == before


def test_a_log_that_was_erased_whole_is_not_asked_for(home: Home) -> None:
    rows = home.lake.sql("SELECT episode_id FROM episodes JOIN logs USING (log_id) WHERE uri LIKE '%one.npz'")
    what = plan(home.lake, home.settings.landing, rows["episode_id"].to_pylist())
    erase(home.lake, what, reissue=lambda *_: {}, now_ns=NOW, pages=home.settings.reports)
    home.map(SECOND)
    done = home.remap()
    assert (done.logs, done.left) == (1, [])


def test_a_mapping_that_does_not_fit_is_named(home: Home) -> None:
    before = home.tables()
    home.map(FIRST.replace("actions", "commands"))
    done = home.remap()
    assert [why.split(";")[0] for _, why in done.left] == [
        "no embodiment fits its topics (actions: float32, observations: float32, terminals: float64)"
    ] * 2
    assert home.tables() == before


def test_other_boundaries_give_other_episodes(home: Home) -> None:
    """What was one episode more goes, with its rows; those that stay keep their ids."""
    from lwd_core.logs.read import read_log

    before = home.tables()

    def one_episode(source, embodiments, frames):
        content = read_log(source, embodiments, frames)
        object.__setattr__(content, "episodes", content.episodes[:1])
        return content

    logs = outdated(home.lake, home.embodiments, named=["one.npz"])
    remap(home.lake, home.settings, logs, embodiments=home.embodiments, now_ns=NOW, reader=one_episode)
    after = home.tables()
    assert len(after["episodes"]) == 3
    assert {e["episode_id"] for e in after["episodes"]} < {e["episode_id"] for e in before["episodes"]}
    assert {s["episode_id"] for s in after["steps"]} == {e["episode_id"] for e in after["episodes"]}


def test_there_and_back_is_as_before(home: Home) -> None:
    before = home.tables()
    home.map(SECOND)
    home.remap()
    home.map(FIRST)
    home.remap()
    after = home.tables()
    for table in ("steps", "segments", "logs"):
        assert after[table] == before[table]


def test_names_of_no_log_and_of_no_embodiment(home: Home) -> None:
    with pytest.raises(UserError, match="three.npz: no log of the lake is called so"):
        home.remap("three.npz")
    with pytest.raises(UserError, match="embodiment ball: no such file; there are cube"):
        outdated(home.lake, home.embodiments, embodiment="ball")
    assert len(outdated(home.lake, home.embodiments, named=["one.npz"])) == 1


class Killed(BaseException):
    pass


def commits(monkeypatch: pytest.MonkeyPatch, survive: int, *, after: bool) -> Iterator[int]:
    """Let so many commits land, then die; before or after the next one landed."""
    settle, left = Lake.settle, [survive]

    def counting(self, *args):
        if left[0] == 0 and not after:
            raise Killed
        landed = settle(self, *args)
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return landed

    monkeypatch.setattr(Lake, "settle", counting)
    yield survive


@pytest.mark.parametrize("survive", range(8))
def test_killed_anywhere_the_next_ends_the_same(
    home: Home, monkeypatch: pytest.MonkeyPatch, survive: int
) -> None:
    home.label("verdict.ana@1", "outcome", text="failure")
    run_labellers(home.lake, [SPARSE_REWARD], now_ns=NOW)
    old = home.tables()
    home.map(SECOND)
    with monkeypatch.context() as patched:
        next(commits(patched, survive, after=survive % 2 == 0))
        try:
            home.remap()
        except Killed:
            seen = home.tables()
            widths = {len(s["state"]) for s in seen["steps"]}
            digests = {e["embodiment_digest"] for e in seen["episodes"]}
            assert len(widths) == len(digests) == 1  # the old reading whole, or the new one
            assert len(seen["steps"]) == len(old["steps"])
    home.remap()
    after = home.tables()
    assert {len(s["state"]) for s in after["steps"]} == {2}
    assert [e["episode_id"] for e in after["episodes"]] == [e["episode_id"] for e in old["episodes"]]
    assert [row["layer_id"] for row in after["labels"]] == ["verdict.ana@1"] * 4
    assert home.stored("steps") == len(old["steps"])
    (past,) = {json.loads(e["attributes"])["remapped_from"] for e in after["episodes"]}
    assert len(json.loads(past)) == 1


# cameras


@pytest.fixture
def filmed(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    raw = Path(home.settings.landing) / "lab" / "2026-01-01" / "r2" / "a.mcap"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(robot_logs.episode_log(40, camera_every=4))
    home.map(ARM, "arm")
    assert home.ingest().episodes == 1
    return home


ARM = """\
name: arm
control_hz: 50
match: {embodiment: arm}
time: {ticks: /state}
state: [{topic: /state, field: values, dims: [{name: a, unit: rad}, {name: b}, {name: c}]}]
action: [{topic: /action/executed, field: values, dims: [{name: u}, {name: v}]}]
cameras: [{name: wrist, topic: /camera/wrist}]
events: {topic: /event}
episodes: {boundary: events}
"""


def shards(home: Home) -> set[str]:
    root = Path(home.lake.path("frames"))
    return {str(p.relative_to(root.parent)) for p in root.rglob("*.tar")}


def pointed(home: Home) -> set[str]:
    rows = Lake.open(home.settings.lake).sql(
        "SELECT DISTINCT f.shard FROM (SELECT unnest(frames) f FROM steps)"
    )
    return set(rows["shard"].to_pylist())


def test_frames_that_are_the_same_stay_where_they_are(filmed: Home) -> None:
    before, steps = pointed(filmed), filmed.tables()["steps"]
    assert before == shards(filmed)
    assert len(before) == 1
    filmed.map(ARM.replace("{name: a, unit: rad}", "{name: shoulder, unit: rad}"), "arm")
    assert filmed.remap().logs == 1
    assert pointed(filmed) == shards(filmed) == before
    frames = [s["frames"] for s in steps]
    assert any(frames)
    assert [s["frames"] for s in filmed.tables()["steps"]] == frames


def test_other_cameras_give_other_shards_and_the_old_ones_go(filmed: Home) -> None:
    before = pointed(filmed)
    filmed.map(ARM.replace("cameras: [{name: wrist,", "cameras: [{name: hand,"), "arm")
    assert filmed.remap().logs == 1
    assert pointed(filmed) == shards(filmed) != before
    shown = [f for s in filmed.tables()["steps"] for f in s["frames"] or ()]
    assert {f["camera"] for f in shown} == {"hand"}
    filmed.map(ARM.replace("cameras: [{name: wrist, topic: /camera/wrist}]\n", ""), "arm")
    assert filmed.remap().logs == 1
    assert pointed(filmed) == shards(filmed) == set()


def test_frames_that_a_snapshot_shows_are_not_taken_from_it(filmed: Home) -> None:
    spec = SnapshotSpec.parse({"name": "s", "embodiments": ["arm"], "cameras": ["wrist"], "chunk": 2})
    build_snapshot(filmed.lake, spec, filmed.settings.snapshots, now_ns=NOW)
    before, tables = pointed(filmed), filmed.tables()
    filmed.map(ARM.replace("cameras: [{name: wrist,", "cameras: [{name: hand,"), "arm")
    ((_, why),) = filmed.remap().left
    assert "its frames would be others, and snapshot" in why
    assert shards(filmed) == before
    assert filmed.tables() == tables
    filmed.map(ARM.replace("{name: a, unit: rad}", "{name: shoulder, unit: rad}"), "arm")
    assert filmed.remap().left == []
    assert shards(filmed) == before


def test_a_snapshot_of_before_is_not_the_one_of_now(home: Home) -> None:
    spec = SnapshotSpec.parse({"name": "s"})
    first = build_snapshot(home.lake, spec, home.settings.snapshots, now_ns=NOW)
    assert reusable(home.lake, spec) == first.digest
    home.map(SECOND)
    home.remap()
    assert reusable(home.lake, spec) is None
    again = build_snapshot(home.lake, spec, home.settings.snapshots, now_ns=NOW + 1)
    assert {m.episode_id for m in again.episodes} == {m.episode_id for m in first.episodes}
    assert (first.manifest.state_width, again.manifest.state_width) == (3, 2)
    home.map(FIRST)
    home.remap()
    third = build_snapshot(home.lake, spec, home.settings.snapshots, now_ns=NOW + 2)
    assert [m.episode_id for m in third.episodes] == [m.episode_id for m in first.episodes]


def test_a_run_that_follows_the_lake_does_not_mix_two_meanings(home: Home) -> None:
    loader = GrowingLoader(home.lake, SnapshotSpec.parse({"name": "s", "chunk": 2}), 8, 0, poll_every=1)
    assert loader.batch(0)["state"].shape == (8, 3)
    home.map(FIRST.replace("{name: a}", "{name: a, unit: rad}"))
    home.remap()
    with pytest.raises(UserError, match="its log was remapped while the lake was followed"):
        for _ in zip(range(4), loader, strict=False):
            pass
