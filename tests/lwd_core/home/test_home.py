"""A home in Python: opened by any of its names, and what is done there."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import lwd_core as lwd
from lwd_core.lake.store import Lake
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from tests.lwd_core.logs.robot_logs import episode_log
from tests.lwd_core.recorded import recorded_lake

ARM = """\
name: arm
control_hz: 50
match: {embodiment: arm}
time: {ticks: /state}
state: [{topic: /state, field: values, dims: [{name: a}, {name: b}, {name: c}]}]
action: [{topic: /action/executed, field: values, dims: [{name: u}, {name: v}]}]
events: {topic: /event}
episodes: {boundary: events}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lwd.Home:
    for name in ("LWD_HOME", "LWD_LAKE"):
        monkeypatch.delenv(name, raising=False)
    recorded_lake(tmp_path / "home" / "lake")
    return lwd.open(tmp_path / "home")


# opening


def test_a_home_its_lake_and_a_lake_alone_are_opened(home: lwd.Home, tmp_path: Path) -> None:
    root = str(tmp_path / "home")
    assert (home.root, home.settings.snapshots) == (f"{root}/lake", f"{root}/snapshots")
    assert lwd.open(f"{root}/lake").settings == home.settings
    (tmp_path / "home" / "lake").rename(tmp_path / "alone")
    alone = lwd.open(tmp_path / "alone")
    assert (alone.root, alone.settings.policies) == (f"{tmp_path}/alone", f"{tmp_path}/alone/policies")
    assert len(alone.episodes()) == 3


def test_without_a_name_it_is_that_of_the_environment(
    home: lwd.Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LWD_HOME", home.settings.home)
    monkeypatch.setenv("LWD_LAKE", home.root)
    assert lwd.open().settings == home.settings
    # a home that is named is not the one whose places the environment names
    other = lwd.open(tmp_path / "other", create=True)
    assert (other.root, other.settings.keys) == (f"{tmp_path}/other/lake", f"{tmp_path}/other/keys")


def test_the_settings_file_of_the_home_named_is_read(tmp_path: Path, home: lwd.Home) -> None:
    Path(home.settings.home, "lwd.toml").write_text(f'snapshots = "{tmp_path}/big-disk"\n')
    assert lwd.open(home.settings.home).settings.snapshots == f"{tmp_path}/big-disk"


def test_where_no_lake_is_the_error_says_what_was_meant(home: lwd.Home, tmp_path: Path) -> None:
    with pytest.raises(lwd.UserError, match=r"hom: no lake there; did you mean home\?"):
        lwd.open(tmp_path / "hom")
    with pytest.raises(lwd.UserError, match=r"no lake there; lwd.open\('/nowhere', create=True\) makes one"):
        lwd.open("/nowhere")
    assert not (tmp_path / "hom").exists()
    (tmp_path / "run.mcap").touch()
    with pytest.raises(lwd.UserError, match=r"run.mcap: a file, not a home; name the folder"):
        lwd.open(tmp_path / "run.mcap")


def test_completion_offers_what_the_api_page_has(home: lwd.Home) -> None:
    page = Path(__file__).parents[3].joinpath("docs", "api.md").read_text()
    listed = page.partition("::: lwd_core.Home\n")[2].partition("[")[2].partition("]")[0]
    offered = dir(home)
    assert {*listed.split(", "), "ingest", "snapshot", "train", "policy", "embodiments"} <= set(offered)
    assert all(hasattr(home, name) for name in offered)
    assert not {"settle", "script", "tombstones", "replace"} & set(offered)


# logs


def test_logs_go_in_once_there_is_an_embodiment(home: lwd.Home, tmp_path: Path) -> None:
    log = tmp_path / "run.mcap"
    log.write_bytes(episode_log(40, facts={"robot_id": "r1", "embodiment": "arm"}))
    with pytest.raises(lwd.UserError, match="no embodiment file there; `lwd.draft_embodiment"):
        home.ingest(log)
    assert home.add_embodiment(ARM).name == "arm"
    home.add_embodiment(ARM)  # again, it changes nothing
    with pytest.raises(lwd.UserError, match=r"arm\.yaml: is there already and says otherwise"):
        home.add_embodiment(ARM.replace("50", "25"))
    result = home.ingest(log, site="lab", day="2026-01-05")
    assert (result.accepted.files, result.episodes) == (1, 1)
    (episode,) = home.episodes("site = 'lab'")
    assert (episode.fps, len(episode), episode["state"].shape[1], episode["action"].shape[1]) == (
        50,
        40,
        3,
        2,
    )
    np.testing.assert_array_equal(episode["state.b"], episode["state"][:, 1])
    with pytest.raises(lwd.UserError, match="no such"):
        home.ingest(tmp_path / "nothing")


def test_a_log_is_read_without_a_lake_and_an_embodiment_drafted_from_it(tmp_path: Path) -> None:
    log = tmp_path / "run.mcap"
    log.write_bytes(episode_log(40, facts={"robot_id": "r1", "embodiment": "arm"}))
    (tmp_path / "embodiments").mkdir()
    (tmp_path / "embodiments" / "mine.yaml").write_text(lwd.draft_embodiment(log, "mine"))
    (episode,) = lwd.read_log(log, tmp_path / "embodiments").episodes
    assert (episode.embodiment, episode.actions) == ("mine", 40)
    for wrong in (tmp_path / "no.mcap", tmp_path / "embodiments" / "mine.yaml"):
        with pytest.raises(lwd.UserError, match=wrong.name):
            lwd.read_log(wrong, tmp_path / "embodiments")
        with pytest.raises(lwd.UserError, match=wrong.name):
            lwd.draft_embodiment(wrong)


# labels


def test_a_function_and_a_table_become_layers(home: lwd.Home) -> None:
    @lwd.check("long", version=1)
    def long(episode: lwd.Episode) -> bool:
        return len(episode) > 45

    assert [long(e) for e in home.episodes()] == [False, True, True]
    (run,) = home.label(long)
    assert (run.layer_id, run.episodes) == ("long@1", 3)
    assert home.labels("long@1")["text"].to_pylist() == ["fail", "pass", "pass"]
    rows = home.sql("SELECT episode_id, steps / 10 AS value FROM episodes")
    assert home.write_labels("tens@1", "progress", rows).rows == 3
    assert home.write_labels("tens@1", "progress", pl.DataFrame(rows)).rows == 0  # they are labelled
    assert home.write_labels("tens@2", "progress", rows.to_pandas()).rows == 3
    assert home.labels("tens@1")["value"].to_pylist() == [4.0, 5.0, 6.0]
    with pytest.raises(lwd.UserError, match=r"no check or label; put @lwd.label\(name, version=1\) over the"):
        home.label(len)  # type: ignore[arg-type]
    with pytest.raises(lwd.UserError, match=r"label layer tens@3: no such layer; did you mean tens@2\?"):
        home.labels("tens@3")


@pytest.mark.parametrize(
    ("layer", "kind", "row", "said"),
    [
        ("tens", "progress", {}, "is called name@version"),
        ("reward.sparse@7", "reward", {}, "reward.sparse is the platform's own"),
        ("tens@1", "progres", {}, r"no kind 'progres'; did you mean progress\?"),
        ("tens@1", "progress", {"vale": 1}, r"no column 'vale'; did you mean value\?"),
        ("tens@1", "progress", {"value": "much"}, "'much'"),
        ("tens@1", "progress", {"episode_id": "e9"}, "no episode e9 in the lake"),
    ],
)
def test_what_cannot_be_a_label_is_refused(
    home: lwd.Home, layer: str, kind: str, row: dict[str, object], said: str
) -> None:
    with pytest.raises(lwd.UserError, match=said):
        home.write_labels(layer, kind, [{"episode_id": "e0000", **row}])


# snapshots


def test_a_snapshot_is_of_a_spec_a_file_or_a_digest(home: lwd.Home, tmp_path: Path) -> None:
    asked = {"name": "all", "chunk": 4, "cameras": ["front"]}
    made = home.snapshot(asked)
    (tmp_path / "spec.yaml").write_text("{name: all, chunk: 4, cameras: [front]}")
    folder = f"{home.settings.snapshots}/{made.digest}"
    again = [
        home.snapshot(lwd.SnapshotSpec.parse(asked)),
        home.snapshot(tmp_path / "spec.yaml"),
        home.snapshot(str(tmp_path / "spec.yaml")),
        home.snapshot(made.digest[:8]),
        lwd.Snapshot.open(folder),
        lwd.Snapshot.open(folder[:-50]),
        lwd.Snapshot.open(home.settings.snapshots, made.digest),
    ]
    spec = lwd.SnapshotSpec.parse(asked)
    assert {s.digest for s in again} == {made.digest}
    assert made.digest == build_snapshot(home, spec, home.settings.snapshots, now_ns=1).digest
    assert repr(made) == f"Snapshot({made.digest[:12]}: all, 3 episodes, 150 steps)"


def test_its_loaders_give_what_the_loader_gives(home: lwd.Home) -> None:
    snapshot = home.snapshot({"name": "all", "chunk": 4, "cameras": ["front"]})
    loader = snapshot.loader(batch=16, seed=3)
    wanted = TransitionLoader(snapshot, 16, 3)
    for name, tensor in wanted.batch(5).items():
        assert tensor.equal(loader.batch(5)[name]), name
    seen = snapshot.image_loader(home, 16, 3, height=12, width=16).batch(5)
    assert seen["image"].shape == (16, 1, 12, 16, 3)
    assert seen["state"].equal(wanted.batch(5)["state"])
    with pytest.raises(lwd.UserError, match="batch: 0 transitions; give at least 1"):
        snapshot.loader(batch=0)
    with pytest.raises(lwd.UserError, match="its spec holds none out, `holdout: 0.1` would"):
        snapshot.loader(split="holdout")


def test_a_snapshot_that_is_not_there_or_cannot_be_is_said(home: lwd.Home) -> None:
    home.snapshot({"name": "all"})
    with pytest.raises(lwd.UserError, match="no snapshot 'zz'; there are 1, `lwd snapshot list` names them"):
        home.snapshot("zz")
    with pytest.raises(lwd.UserError, match="no snapshot 'x'; it holds none"):
        lwd.Snapshot.open("/nowhere/x")
    with pytest.raises(lwd.UserError, match="cameras"):
        home.snapshot({"name": "all", "cameras": 3})


# training and policies


def test_a_run_becomes_a_policy_that_is_found_by_id_and_folder(home: lwd.Home) -> None:
    heard: list[int] = []

    class Reporter:
        def log(self, update: int, metrics: dict[str, float]) -> None:
            heard.append(update)

    small = {"updates": 2, "batch": 8, "network": {"hidden": 8, "layers": 1, "instruction_features": 0}}
    digest = home.snapshot({"name": "all", "chunk": 4}).digest
    result = home.train({"run": "r", "stage": "sft", "offline": digest, **small}, reporter=Reporter())
    assert (heard, result.checkpoint) == ([2], f"{home.settings.checkpoints}/r/step-2")
    policy = home.policy_of("r")
    assert home.policy_of("r").policy_id == policy.policy_id
    folder = f"{home.settings.policies}/{policy.policy_id}"
    states, text = home.episode("e0000")["state"], policy.instructions[0]
    chunk = policy.act(states[0], text, np.random.default_rng(0))
    assert chunk.shape == (4, 2)
    for other in (home.policy(policy.policy_id[:6]), lwd.load_policy(folder, trusted=home.settings.keys)):
        np.testing.assert_array_equal(other.act(states[:1], [text], np.random.default_rng(0))[0], chunk)
    with pytest.raises(lwd.UserError, match="channel canary: empty"):
        home.policy("canary")
    with pytest.raises(lwd.UserError, match="run 'other': no checkpoint in .*; train it first"):
        home.policy_of("other")


def test_a_home_goes_wherever_a_lake_does(home: lwd.Home) -> None:
    assert isinstance(home, Lake)
    assert repr(home) == f"Home('{home.root}')"


# people


def test_people_say_and_are_asked_from_python(home: lwd.Home) -> None:
    ids = home.queue("unlabelled")["episode_id"].to_pylist()
    assert len(ids) == 3
    said = [{"episode_id": i, "by": "ann", "kind": "outcome", "text": "success"} for i in ids[:2]]
    assert home.say(said).added == 2
    assert home.say(said).unchanged == 2
    assert home.queue("unlabelled", limit=1).to_pylist()[0]["wait"] == 1
    assert home.labels("person.ann.outcome@1").num_rows == 2
    with pytest.raises(lwd.UserError, match=r"each is a mapping of episode_id, by"):
        home.say([{"episode": ids[0]}])
