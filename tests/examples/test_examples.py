"""The examples run as they stand, from a lake they make themselves, and say what they are to say."""

import json
import linecache
import re
import runpy
import tempfile
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = [file for file in sorted(EXAMPLES.glob("*.py")) if "__main__" in file.read_text()]
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))

SAID = {
    "point_robot": r"the lake lies in .*episodes: \[\[1,23\]\]",
    "train_your_own": r"successes, 23 episodes.*loss 0\.\d+ at the beginning, 0\.[0-3]\d+ after 300",
    "compare_methods": r"all +\d\.\d+ \[.*\(n=40\)\ndeft +.*\(n=40\)\ndeft less all: [-+]\d\.\d+ to \+",
}


@pytest.fixture(autouse=True)
def _beside_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["example"])
    monkeypatch.delenv("LWD_HOME", raising=False)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_runs_and_says_what_came_of_it(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert re.search(SAID[script.stem], said, re.DOTALL), said


def cells(notebook: Path) -> list[dict[str, Any]]:
    return [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_cell_of_a_notebook_runs_in_order(notebook: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(notebook):
        source, file = "".join(cell["source"]), f"/tmp/ipykernel_0/{cell['id']}.py"
        # as a kernel does, so that a function's source is found where no file is
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        exec(compile(source, file, "exec"), names)
    assert names["batch"]["action"].shape == (32, 4, 2)
    assert names["snapshot"].manifest.counts["episodes"] < 24


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_its_outputs(notebook: Path) -> None:
    assert [c["id"] for c in cells(notebook) if c["outputs"] or c["execution_count"] is not None] == []
