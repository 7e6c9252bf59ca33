"""Models learn from people's and robots' words, say how good they are, and write layers of their own."""

from pathlib import Path

import numpy as np
import pytest

from lwd_core.erasure.plan import plan
from lwd_core.errors import UserError
from lwd_core.judges import networks
from lwd_core.judges.judge import judge_of
from lwd_core.judges.kept import FOLDER, find_kept, kept, learned_from
from lwd_core.judges.targets import folds, outcomes
from lwd_core.judges.train import Learned, What, train
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.people import PersonLabel, set_labels
from lwd_core.labels.registry import derived
from lwd_core.lake.store import Lake
from tests.lwd_core.judges.labelled import labelled_lake
from tests.lwd_core.snapshots.lakes import START, add_episode, episode_id


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Learned, Learned]:
    lake = labelled_lake(tmp_path_factory.mktemp("trained"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "UPDATES", 120)
        success = train(lake, What.SUCCESS, now_ns=START)
        progress = train(lake, What.PROGRESS, now_ns=START)
    return lake, success, progress


def test_held_out_figures_say_how_good_it_is(trained: tuple[Lake, Learned, Learned]) -> None:
    _, success, progress = trained
    assert success.layer_id == "model.success@1"
    assert success.episodes == success.figures["auc"].n == 40
    assert success.judged == 0
    assert success.figures["auc"].value > 0.95
    assert success.figures["brier"].value < 0.12
    assert success.figures["ece"].low <= success.figures["ece"].value <= success.figures["ece"].high
    assert progress.figures["mae"].n == 20
    assert progress.figures["mae"].value < 0.1
    assert progress.figures["order"].value > 0.95


def test_layers_are_the_models_own_and_come_once(trained: tuple[Lake, Learned, Learned]) -> None:
    lake, *_ = trained
    judges = [judge_of(lake, "model.success"), judge_of(lake, "model.progress@1")]
    runs = run_labellers(lake, [judge for judge in judges if judge], now_ns=START)
    assert [(run.episodes, run.failed) for run in runs] == [(50, {}), (50, {})]
    said = lake.labels("model.success@1").to_pylist()
    assert {row["kind"] for row in said} == {"outcome"}
    sizes = {episode_id(40 + i): size for i, size in enumerate(np.linspace(0, 1, 10))}
    unseen = {sizes[row["episode_id"]]: row for row in said if row["episode_id"] in sizes}
    assert [unseen[size]["text"] for size in (0, 1)] == ["failure", "success"]
    assert unseen[0]["value"] < 0.2 < 0.8 < unseen[1]["value"]
    curves = lake.labels("model.progress@1")
    assert curves.num_rows == 50 * 13
    assert np.corrcoef(curves["value"], curves["step"])[0, 1] > 0.9
    again = run_labellers(lake, [judge for judge in judges if judge], now_ns=START)
    assert [run.total for run in again] == [0, 0]
    assert all(derived(judge.layer_id, judge.source_digest) for judge in judges if judge)


def test_a_person_goes_before_the_robot_and_a_rule_says_whose_word_counts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lake = labelled_lake(tmp_path_factory.mktemp("people"), 4)
    ids = [episode_id(i) for i in range(4)]
    recorded = {row["episode_id"]: row["success"] for row in outcomes(lake).to_pylist()}
    assert sorted(recorded) == sorted(ids)
    other = "failure" if recorded[ids[0]] else "success"
    set_labels(
        lake,
        [
            PersonLabel(ids[0], "ann", "outcome", other),
            PersonLabel(ids[1], "ann", "outcome", "success"),
            PersonLabel(ids[1], "bob", "outcome", "failure"),
            PersonLabel(ids[2], "bob", "outcome", "unknown"),
        ],
        now_ns=START,
    )
    told = {row["episode_id"]: (row["success"], row["judged"]) for row in outcomes(lake).to_pylist()}
    assert told[ids[0]] == (not recorded[ids[0]], True)
    assert told[ids[3]] == (recorded[ids[3]], False)
    only = outcomes(lake, rule="person.ann.outcome@1").to_pylist()
    assert [row["episode_id"] for row in only] == sorted(ids[:2])
    alone = outcomes(lake, rule="person").to_pylist()
    assert [row["episode_id"] for row in alone] == [ids[0]]  # of the other two differ, or nobody knows
    with pytest.raises(UserError, match=r"rule x@1: says success or failure of no episode"):
        outcomes(lake, rule="x@1")
    with pytest.raises(UserError, match="did you mean person"):
        outcomes(lake, rule="persn")


def test_what_it_has_not_learned_fails_with_the_reason(trained: tuple[Lake, Learned, Learned]) -> None:
    lake, *_ = trained
    other = add_episode(lake, "other", 5, task="fly")
    judge = judge_of(lake, "model.success@1")
    assert judge is not None
    (run,) = run_labellers(lake, [judge], now_ns=START, where="task = 'fly'")
    assert run.failed == {other: "model.success@1 hasn't learned fly of arm; train it anew"}
    with pytest.raises(UserError, match=r"no task has enough .*0 successes"):
        train(lake, What.SUCCESS, where="task = 'fly'", now_ns=START)


def test_a_model_is_a_file_that_never_changes_and_an_erasure_names_it(
    trained: tuple[Lake, Learned, Learned], tmp_path: Path
) -> None:
    lake, *_ = trained
    model = find_kept(lake, "model.success@1")
    assert model is not None
    assert learned_from(kept(lake), [episode_id(0)]) == ["model.progress@1", "model.success@1"]
    assert learned_from(kept(lake), [episode_id(40)]) == []
    assert plan(lake, str(tmp_path), [episode_id(0)]).models == ("model.progress@1", "model.success@1")
    assert episode_id(0).encode() not in lake.place.read(FOLDER, "model.success@1.npz")
    with pytest.raises(UserError, match="model.success@7: no such version"):
        find_kept(lake, "model.success@7")
    with lake.place.write(FOLDER, "broken@1.npz") as out:
        out.write(b"PK no")
    with pytest.raises(UserError, match=r"judges/broken@1.npz: no model, or damaged"):
        kept(lake)
    lake.place.remove(FOLDER, "broken@1.npz")


def test_episodes_of_a_log_are_held_out_together() -> None:
    fold = folds([f"log {i // 2}" for i in range(40)])
    assert (fold[::2] == fold[1::2]).all()
    assert np.bincount(fold).tolist() == [8] * 5
    assert folds(["one"] * 10).tolist() == [0, 1, 2, 3, 4] * 2
