"""A format that another package writes, as a user would ask for it."""

import json
from pathlib import Path

import numpy as np

from tests.examples.installed import lwd
from tests.lwd_core.recorded import LENGTHS, recorded_lake
from tests.packages import PLUGINS, lay_project


def test_episodes_by_an_exporter_of_another_package(tmp_path: Path) -> None:
    site, home, out = (
        lay_project(PLUGINS / "exporter", tmp_path / "site"),
        tmp_path / "home",
        tmp_path / "out",
    )
    lake = recorded_lake(home / "lake")
    said = json.loads(lwd(home, site, "export", "npz", str(out), "--json"))
    assert (said["episodes"], said["frames"]) == (len(LENGTHS), sum(LENGTHS))
    found = [np.load(path) for path in out.rglob("*.npz")]
    assert sorted(len(one["actions"]) for one in found) == sorted(LENGTHS)
    state = lake.read("steps", where="len(action) > 0")["state"].to_pylist()
    assert np.isclose(sum(one["observations"].sum() for one in found), np.sum(state))
    assert said["cameras"]
    assert all(len(one[name]) == len(one["actions"]) for one in found for name in said["cameras"])


def test_one_that_is_not_there_says_which_are(tmp_path: Path) -> None:
    site, home = lay_project(PLUGINS / "exporter", tmp_path / "site"), tmp_path / "home"
    recorded_lake(home / "lake")
    said = lwd(home, site, "export", "npzz", str(tmp_path / "out"), fails=True)
    assert "did you mean npz? There are lerobot, npz" in " ".join(said.split())
