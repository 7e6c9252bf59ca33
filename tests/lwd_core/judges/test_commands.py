"""`lwd label train`, `run` and `models`, as a person meets them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.judges import networks
from lwd_core.lake.store import Lake
from tests.lwd_core.judges.labelled import labelled_lake


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("model.success", "success"),
        ("model.progress@2", "progress"),
        ("model.cups", "success --name model.cups"),
    ],
)
def test_a_model_that_was_never_trained_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    Lake.open(str(tmp_path / "lake"), create=True)
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    with pytest.raises(UserError, match=f"{name}: no such model.*`lwd label train {remedy}`"):
        CliRunner().invoke(app, ["label", "run", name], catch_exceptions=False)


def test_a_model_is_trained_labels_and_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled_lake(tmp_path)
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    monkeypatch.setattr(networks, "UPDATES", 30)

    def lwd(words: str) -> str:
        result = CliRunner().invoke(app, words.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    said = lwd("label train success --name ends")
    assert "ends@1: learned from 40 episodes, 0 of them judged by people" in said
    assert "AUC: " in said
    assert "(n=40)" in said
    done = json.loads(lwd("label train success --name ends --sure 0.6 --json"))
    assert done["layer_id"] == "ends@2"
    assert done["figures"]["auc"]["n"] == 40
    (run,) = json.loads(lwd("label run ends --json"))
    assert (run["layer_id"], run["episodes"]) == ("ends@2", 50)
    listed = json.loads(lwd("label models --json"))
    assert [row["layer_id"] for row in listed] == ["ends@1", "ends@2"]
    assert listed[1]["auc"]["value"] == pytest.approx(done["figures"]["auc"]["value"])
    assert "ends@1" in lwd("label models")
    with pytest.raises(UserError, match="ends@9: no such version"):
        lwd("label run ends@9")
