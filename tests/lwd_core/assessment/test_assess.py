"""A whole run assessed: by a critic of known worth, and by the command on a tiny run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from lwd_core.assessment import episodes
from lwd_core.assessment.assess import Assessment, assess
from lwd_core.assessment.episodes import held_out, to_come
from lwd_core.assessment.verdict import Grade
from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.reports.findings import read_diagnosis
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.training.run import find_checkpoint
from storage_schemas.vocabulary import Split
from tests.lwd_core.assessment.conftest import EPISODES, succeeds

GAMMA = 0.9


class Known:
    """A critic whose V of a state (number of the episode, tick, …) is a function of the two."""

    vision = None

    def __init__(self, value):
        self.value = value

    def __call__(
        self, states: torch.Tensor, images: object, instruction: str, there: object = None
    ) -> torch.Tensor:
        return torch.tensor([self.value(int(s[0]), int(s[1])) for s in states], dtype=torch.float32)


def truth(number: int, tick: int) -> float:
    return GAMMA ** (19 + number % 5 - tick) if succeeds(number) else 0.0


def looked_at(settings: Settings, monkeypatch: pytest.MonkeyPatch, value, run: str = "offline") -> Assessment:
    monkeypatch.setattr(episodes, "TrainedValue", lambda _: Known(value))
    return assess(find_checkpoint(settings.checkpoints, run), settings, batches=1)


def verdicts(found: Assessment) -> dict[str, Grade]:
    return {f.measure: f.verdict for f in found.findings}


def test_a_critic_that_knows_everything(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = looked_at(settings, monkeypatch, truth)
    assert {by_task["all"].value for by_task in found.ranks.values()} == {1.0}
    assert set(found.ranks[0.1]) == {"all", "reach", "push"}
    assert found.calibration is not None
    assert found.calibration.error == pytest.approx(0, abs=0.01)
    assert verdicts(found)["AUC of V at 10%"] is Grade.GOOD
    assert verdicts(found)["calibration error of V"] is Grade.GOOD
    assert verdicts(found)["spread of V"] is Grade.GOOD


def test_a_blind_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = looked_at(settings, monkeypatch, lambda number, tick: 0.5)
    assert {by_task["all"].value for by_task in found.ranks.values()} == {0.5}
    assert verdicts(found)["AUC of V at 10%"] is not Grade.GOOD
    assert verdicts(found)["spread of V"] is Grade.BAD


def test_one_that_is_upside_down(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = looked_at(settings, monkeypatch, lambda number, tick: 1 - truth(number, tick))
    assert {by_task["all"].value for by_task in found.ranks.values()} == {0.0}
    (rank,) = [f for f in found.findings if f.measure == "AUC of V at 50%"]
    assert rank.verdict is Grade.BAD
    assert "upside down" in rank.remedy


def test_what_was_held_out_is_looked_at_and_nothing_else(settings: Settings) -> None:
    checkpoint = find_checkpoint(settings.checkpoints, "offline")
    snapshot = Snapshot.open(settings.snapshots, checkpoint.about["config"]["offline"])
    held = {m.episode_id for m in snapshot.episodes if m.split == Split.HOLDOUT}
    found = held_out(checkpoint, settings)
    assert {track.episode_id for track in found.tracks} == held
    assert 0 < len(held) < EPISODES / 2
    assert found.where.startswith("held out of snapshot")
    assert all(len(track.value) == len(track.came) >= 20 for track in found.tracks)
    assert len(held_out(checkpoint, settings, most=3).tracks) == 3


def test_without_a_held_out_split_the_rest_of_the_lake_is(settings: Settings) -> None:
    found = held_out(find_checkpoint(settings.checkpoints, "early"), settings)
    assert len(found.tracks) == EPISODES // 2
    assert found.where == "of the lake, never learned from"


def test_both_ways_in_see_the_same(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "TrainedValue", lambda _: Known(lambda number, tick: number + tick / 100))
    split = {
        t.episode_id: t for t in held_out(find_checkpoint(settings.checkpoints, "offline"), settings).tracks
    }
    rest = {
        t.episode_id: t for t in held_out(find_checkpoint(settings.checkpoints, "early"), settings).tracks
    }
    both = split.keys() & rest.keys()
    assert both
    for name in both:
        assert (split[name].success, split[name].helped) == (rest[name].success, rest[name].helped)
        np.testing.assert_array_equal(split[name].value, rest[name].value)
        np.testing.assert_array_equal(split[name].came, rest[name].came)


def test_a_run_that_learned_from_all_there_is_says_so(settings: Settings) -> None:
    found = assess(find_checkpoint(settings.checkpoints, "whole"), settings, batches=1)
    assert found.ranks == {}
    assert found.calibration is None
    assert any("`holdout: 0.1`" in note for note in found.notes)
    assert "τ" in verdicts(found)  # its own figures are still looked at


def test_without_a_lake_the_rest_is_still_looked_at(settings: Settings, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"lake": str(tmp_path / "nowhere")})
    found = assess(find_checkpoint(settings.checkpoints, "early"), elsewhere, batches=1)
    assert any("no lake there" in note for note in found.notes)
    assert "path KL, nats a chunk" in verdicts(found)


def test_reward_to_come_is_discounted_to_the_end() -> None:
    np.testing.assert_allclose(to_come(np.array([0, 0, 1.0]), 0.5), [0.25, 0.5, 1])
    np.testing.assert_allclose(to_come(np.array([1.0, 0, 2.0]), 0.5), [1.5, 1, 2])


def lwd(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWD_HOME", str(home))
    return home


def test_the_command_says_it_all(here: Path, tmp_path: Path) -> None:
    found = json.loads(lwd("run", "assess", "offline", "--json"))
    assert (found["run"], found["stage"], found["update"]) == ("offline", "offline", 6)
    assert {row["share"] for row in found["auc"]} == {0.1, 0.5, 0.9}
    assert {"flow_loss", "value_loss", "q_loss", "q_gain"} <= found["means"].keys()
    assert [update for update, _ in found["curves"]["heldout_q_gain"]] == [2, 4, 6]
    assert found["calibration"]["bins"]
    measures = [f["measure"] for f in found["findings"]]
    assert {"τ", "entropy of V's law", "path KL, nats a chunk", "spread of V"} <= set(measures)
    assert all(bool(f["remedy"]) == (f["verdict"] != "good") for f in found["findings"])
    assert lwd("run", "assess", "offline", "--json") == lwd("run", "assess", "offline", "--json")

    said = lwd("run", "assess", "offline", "--html", str(tmp_path / "page.html"), "--save")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png") == 3
    for measure in measures:
        assert measure.replace("'", "&#39;") in page
    assert "episodes held out of snapshot" in said
    run = here / "checkpoints" / "offline"
    assert (run / "assessment.html").exists()
    assert read_diagnosis(str(run / "metrics.jsonl")) == found["findings"]
    assert read_diagnosis(str(here / "checkpoints" / "sft" / "metrics.jsonl")) == []


def test_a_run_without_a_critic_says_what_can_be_looked_at(here: Path) -> None:
    found = json.loads(lwd("run", "assess", "sft", "--json"))
    assert found["means"].keys() == {"flow_loss"}
    assert found["findings"] == found["auc"] == []
    assert found["notes"][0].startswith("no V in a run of stage sft by imitation: only means over batches")
    assert "no V in a run" in lwd("run", "assess", "sft", "--html", str(here / "sft.html"))
    assert "no V in a run" in (here / "sft.html").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["offlin"], "run 'offlin': no checkpoint in .*, did you mean offline"),
        (["xyz"], "run 'xyz': no checkpoint in .*; train it first"),
        (["offline", "--snapshot", "abc"], "no snapshot 'abc'"),
        (["offline", "--simulate", "--task", "fly"], "task fly: no such task"),
    ],
)
def test_wrong_input_is_named(here: Path, words: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        CliRunner().invoke(app, ["run", "assess", *words], catch_exceptions=False)
