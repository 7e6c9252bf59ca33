"""A format that another package writes, as a user would ask for it."""

import json
from pathlib import Path

import numpy as np
import pytest

from lwd_core.exports.export import export
from lwd_core.plugins import PluginError
from tests.examples.installed import lwd
from tests.lwd_core.recorded import LENGTHS, recorded_lake
from tests.packages import PLUGINS, Install, lay_project


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
    assert "did you mean npz? There are lerobot, rlds, npz" in " ".join(said.split())


def test_one_that_returns_nothing_leaves_nothing(install: Install, tmp_path: Path) -> None:
    lake = recorded_lake(tmp_path / "lake")
    install("acme", "class A:\n    def write(self, selected, folder): ...", exporters={"zip": "acme:A"})
    with pytest.raises(PluginError, match="exporter zip: its write gave NoneType, no Written"):
        export("zip", lake, tmp_path / "out", embodiments={})
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
