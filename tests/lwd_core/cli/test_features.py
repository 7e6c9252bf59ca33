"""``lwd features``: what is made, listed, dropped, and what is said of what can't be."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from lwd_core.cli.main import app
from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from tests.lwd_core.features.test_build import shown, spoil
from tests.lwd_core.packages_of_eyes import EYES
from tests.lwd_core.recorded import recorded_lake
from tests.packages import Install


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install) -> Lake:
    install("acme", EYES, eyes={"acme-eyes": "acme:Eyes"})
    monkeypatch.setenv("LWD_HOME", str(tmp_path))
    return recorded_lake(tmp_path / "lake")


def lwd(*words: str) -> Result:
    return CliRunner().invoke(app, ["features", *words])


def test_a_layer_is_made_listed_and_dropped(lake: Lake) -> None:
    done = json.loads(lwd("build", "acme-eyes", "--height", "24", "--width", "32", "--json").stdout)
    assert (done["frames"], done["before"], done["faults"]) == (75, 0, [])
    again = lwd("build", "acme-eyes", "--height", "24", "--width", "32", "--where", "episode_id = 'e0001'")
    assert again.stdout == f"{done['layer']}: 0 frames looked at, 25 were before\n"
    other = json.loads(lwd("build", "acme-eyes", "--settings", '{"width": 3}', "--json").stdout)
    rows = {row["layer"]: row for row in json.loads(lwd("list", "--json").stdout)}
    assert rows.keys() == {done["layer"], other["layer"]}
    row = rows[done["layer"]]
    assert (row["backbone"], row["height"], row["width"]) == ({"kind": "acme-eyes", "width": 6}, 24, 32)
    assert row["files"] == 3
    assert row["bytes"] > 1000
    gone = json.loads(lwd("drop", done["layer"], "--json").stdout)
    assert gone == {"layer": done["layer"], "files": 3, "bytes": row["bytes"]}
    assert [row["layer"] for row in json.loads(lwd("list", "--json").stdout)] == [other["layer"]]
    refused = lwd("drop", done["layer"])
    assert isinstance(refused.exception, UserError)
    assert f"no such layer; did you mean {other['layer']}?" in str(refused.exception)


def test_as_a_training_configuration_sees(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    vision = "{cameras: [front], height: 24, width: 32, pretrained: acme-eyes}"
    file.write_text(f"run: a\nstage: sft\noffline: x\nnetwork: {{vision: {vision}}}\n")
    assert json.loads(lwd("build", str(file), "--json").stdout)["frames"] == 75
    other = lwd("build", str(file), "--camera", "frnt").exception
    assert str(other) == "camera frnt: these episodes show nothing of it; did you mean front?"
    file.write_text("run: a\nstage: sft\noffline: x\n")
    said = lwd("build", str(file)).exception
    assert isinstance(said, UserError)
    assert "network.vision.pretrained: names no backbone" in str(said)


def test_frames_that_are_none_are_said_and_the_exit_code_is_1(lake: Lake) -> None:
    spoil(lake, shown(lake)[4])
    done = lwd("build", "acme-eyes")
    assert done.exit_code == 1
    assert "no features of the frame at byte" in done.stderr
    assert "1 without features" in done.stderr


@pytest.mark.parametrize(("words", "said"), [
    (("acme",), "no picture backbone of that name; did you mean acme-eyes"),
    (("acme-eyes", "--settings", "{"), "--settings {: "),
    (("acme-eyes", "--settings", '{"grid": 2}'), "grid: no such field"),
    (("acme-eyes", "--settings", "[1]"), "--settings [1]: a JSON object"),
    (("acme-eyes", "--where", "nothing = 1"), "nothing"),
])  # fmt: skip
def test_wrong_words_are_one_line(lake: Lake, words: tuple[str, ...], said: str) -> None:
    error = lwd("build", *words).exception
    assert isinstance(error, UserError)
    assert said in str(error)
