import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lwd_core import doctor
from lwd_core.doctor import Health, examine
from lwd_core.lake.store import Lake
from lwd_core.policies.keys import rotate
from lwd_core.settings import Settings
from tests.lwd_core.labels.conftest import episode_rows


@pytest.fixture
def settings(tmp_path):
    return Settings(home=str(tmp_path))


def health(settings):
    return {d.name: d for d in examine(settings)}


def test_a_new_home_is_sound_but_empty(settings):
    found = health(settings)
    here = {n for n, d in found.items() if d.health is Health.OK} - {"rendering"}
    assert here == {"versions", "packages", "simulator", "viewer", "disk", "places"}
    absent = {n for n, d in found.items() if d.health is Health.ABSENT} - {"rendering"}
    assert absent == {"lake", "recordings", "embodiments", "keys"}
    assert all(d.remedy for d in found.values() if d.health is not Health.OK)


def test_looking_makes_nothing(tmp_path):
    list(examine(Settings(home=str(tmp_path / "none"))))
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_is_found(settings):
    Lake.open(settings.lake, create=True).append("episodes", episode_rows(3))
    rotate(settings.keys)
    found = health(settings)
    assert (found["lake"].health, found["lake"].found) == (Health.OK, "3 episodes, newest day 2026-01-01")
    assert found["keys"].found.startswith("1 trusted")


def test_a_column_of_a_newer_version_is_named(settings, monkeypatch):
    lake = Lake.open(settings.lake, create=True)
    columns = lake.log("episodes").columns()
    monkeypatch.setattr(type(lake.log("episodes")), "columns", lambda _self: [*columns, "mood"])
    assert "mood" in health(settings)["lake"].found


def test_a_wrong_embodiment_file_is_a_diagnosis(settings):
    Path(settings.embodiments).mkdir()
    Path(settings.embodiments, "arm.yaml").write_text("name: arm\ncontrol_hz: fast\n")
    found = health(settings)["embodiments"]
    assert found.health is Health.WRONG
    assert "arm.yaml" in found.found


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    found = health(Settings(home=str(tmp_path / "file")))["places"]
    assert found.health is Health.WRONG
    assert "LWD_LANDING" in found.remedy


def test_another_mujoco_is_wrong(settings, monkeypatch):
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _name: "4.0.0")
    assert "3.3.0" in health(settings)["simulator"].remedy


def test_a_package_out_of_its_range_is_named(settings, monkeypatch):
    real = doctor.importlib.metadata.version
    monkeypatch.setattr(
        doctor.importlib.metadata, "version", lambda name: "0.1" if name == "deltalake" else real(name)
    )
    found = health(settings)["packages"]
    assert found.health is Health.WRONG
    assert found.found.startswith("deltalake 0.1 is not ")


def test_a_full_disk_is_said_before_it_hurts(settings, monkeypatch):
    monkeypatch.setattr(doctor, "ROOM", 2**70)
    found = health(settings)["disk"]
    assert (found.health, "vacuum" in found.remedy) == (Health.WRONG, True)


def test_a_wrong_settings_file_is_one_line(tmp_path):
    (tmp_path / "lwd.toml").write_text("nightly = 3\n")
    run = subprocess.run(
        [Path(sys.executable).with_name("lwd"), "doctor"],
        env=os.environ | {"LWD_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "nightly" in run.stderr


def test_the_command_says_it_as_json(tmp_path):
    run = subprocess.run(
        [Path(sys.executable).with_name("lwd"), "doctor", "--json"],
        env=os.environ | {"LWD_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert {d["name"] for d in json.loads(run.stdout)} == set(doctor.CHECKS)
