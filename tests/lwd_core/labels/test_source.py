"""A changed function is noticed, whatever of it changed; a comment is no change."""

from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.labels.labeller import run_labellers
from lwd_core.labels.registry import find
from lwd_core.lake.store import Lake
from tests.lwd_core.snapshots.lakes import add_episode

FILE = """
from lwd_core.labels import label

LIMIT = 3

def near(x):
    return x < LIMIT

@label("low", version=1)
def low(episode):
    return near(episode["state"][:, 1].max())
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"), create=True)
    add_episode(lake, 1, 4)
    return lake


def run(lake: Lake, folder: Path, text: str) -> int:
    (folder / "mine.py").write_text(text)
    (done,) = run_labellers(lake, find(str(folder / "mine.py")), now_ns=1)
    return done.episodes


@pytest.mark.parametrize(
    ("old", "new"),
    [("LIMIT = 3", "LIMIT = 4"), ("x < LIMIT", "x <= LIMIT"), ("[:, 1].max", "[:, 2].max")],
    ids=["constant", "helper", "body"],
)
def test_a_change_under_the_same_version_is_refused_and_a_new_version_is_a_layer(lake, tmp_path, old, new):
    assert run(lake, tmp_path, FILE) == 1
    changed = FILE.replace(old, new)
    with pytest.raises(UserError, match=r"low@1: its function has changed since it labelled 1 episodes; rai"):
        run(lake, tmp_path, changed)
    assert run(lake, tmp_path, changed.replace("version=1", "version=2")) == 1
    assert run(lake, tmp_path, FILE) == 0


def test_what_changes_nothing_is_no_change(lake, tmp_path):
    assert run(lake, tmp_path, FILE) == 1
    other = FILE.replace("    return near", '    """Says why."""\n    # at last\n    return near')
    assert run(lake, tmp_path, "# mine\n" + other + "\nUNUSED = 5\n") == 0


def test_a_layer_that_no_function_made_is_not_written_into(lake, tmp_path):
    run(lake, tmp_path, FILE)
    rows = lake.read("labels").to_pylist()
    rows[0] |= {"source_digest": None, "layer_id": "low@2"}
    lake.append("labels", lake.read("labels", where="false").from_pylist(rows))
    with pytest.raises(
        UserError, match=r"low@2: no function made what it says of 1 episodes; choose another"
    ):
        run(lake, tmp_path, FILE.replace("version=1", "version=2"))
