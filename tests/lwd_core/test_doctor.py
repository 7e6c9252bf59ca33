import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pyarrow as pa
import pytest

from lwd_core import doctor
from lwd_core.doctor import Health, examine
from lwd_core.lake.store import Lake
from lwd_core.policies.keys import rotate, signing_key
from lwd_core.policies.release import publish
from lwd_core.settings import Settings
from storage_schemas.tables import STEPS
from storage_schemas.vocabulary import Channel
from tests.lwd_core.labels.conftest import episode_rows
from tests.lwd_core.lake.rows import episode_row, step_rows


@pytest.fixture
def settings(tmp_path):
    return Settings(home=str(tmp_path))


def health(settings):
    return {d.name: d for d in examine(settings)}


def test_a_new_home_is_sound_but_empty(settings):
    found = health(settings)
    here = {n for n, d in found.items() if d.health is Health.OK} - {"rendering"}
    assert here == {"versions", "packages", "plugins", "simulator", "viewer", "disk", "places"}
    absent = {n for n, d in found.items() if d.health is Health.ABSENT} - {"rendering"}
    assert absent == {"lake", "files", "quarantine", "recordings", "embodiments", "keys", "channels"}
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


@pytest.fixture
def filled(settings):
    lake = Lake.open(settings.lake, create=True)
    for name in "abc":
        lake.append("steps", step_rows(name, f"log-{name}", 4))
        lake.append("episodes", episode_row(name, f"log-{name}", 4))
    return lake


def some(lake, table="episodes"):
    return Path(lake.files(table)[0])


def entry(lake, version, table="episodes"):
    return Path(lake.root, "tables", table, "_delta_log", f"{version:020d}.json")


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def garble(path):
    """Other bytes, as many as before."""
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(len(data) - 12) + data[-8:])


DAMAGES = {
    "a file is missing": (lambda lake: some(lake).unlink(), "is missing"),
    "a file is cut": (lambda lake: cut(some(lake)), "its log says"),
    "steps are cut": (lambda lake: cut(some(lake, "steps")), "its log says"),
    "a file is empty": (lambda lake: some(lake).write_bytes(b""), "has 0 bytes"),
    "an entry of the log is missing": (
        lambda lake: entry(lake, 2).unlink(),
        "lacks 00000000000000000002.json",
    ),
    "the first entry is missing": (lambda lake: entry(lake, 0).unlink(), "lacks 00000000000000000000.json"),
    "an entry is no JSON": (lambda lake: entry(lake, 3).write_text("{"), "can't be read"),
    "an entry is empty": (lambda lake: entry(lake, 3).write_text(""), "lacks 00000000000000000003"),
    "the log is gone": (lambda lake: shutil.rmtree(entry(lake, 0).parent), "its log is gone, 3 data files"),
    "steps' log is gone": (
        lambda lake: shutil.rmtree(entry(lake, 0, "steps").parent),
        "table steps: its log is",
    ),
    "a file is a folder": (lambda lake: (some(lake).unlink(), some(lake).mkdir()), "episodes"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_whatever_is_broken_is_a_line(settings, filled, what):
    assert health(settings)["files"].health is Health.OK
    harm, said = DAMAGES[what]
    files = {name: filled.files(name) for name in ("episodes", "steps")}
    filled.files = lambda name: files[name]
    harm(filled)
    for deep in (False, True):
        found = list(examine(settings, deep=deep))
        lines = [d for d in found if d.name == "files"]
        assert any(said in d.found and d.remedy for d in lines), lines
        assert all("\n" not in d.found and d.health is Health.WRONG for d in lines)
        assert {d.name for d in found} == set(doctor.CHECKS)


def test_bytes_that_changed_at_their_size_are_found_by_reading_them(settings, filled):
    path = some(filled)
    garble(path)
    assert health(settings)["files"].health is Health.OK
    (line, *_) = [d for d in examine(settings, deep=True) if d.name == "files"]
    assert path.name in line.found
    assert "can't be read" in line.found
    assert "backup" in line.remedy


def test_a_file_this_user_may_not_read_is_named(settings, filled, monkeypatch):
    path = some(filled)
    monkeypatch.setattr(os, "access", lambda name, mode: str(name) != str(path))
    (line,) = [d for d in examine(settings) if d.name == "files"]
    assert (path.name in line.found, line.remedy) == (True, "give it the right to")


def test_frames_that_steps_point_to_are_looked_for(settings, tmp_path):
    lake = Lake.open(settings.lake, create=True)
    rows = step_rows("a", "log-a", 1).to_pylist()
    name = "frames/2026-01-01/lab/x-0000.tar"
    rows[0]["frames"] = [{"camera": "c", "shard": name, "offset": 512, "size": 3, "t_ns": 1}]
    lake.append("steps", pa.Table.from_pylist(rows, schema=STEPS.schema))
    lake.append("episodes", episode_row("a", "log-a", 1))

    def said():
        return [d.found for d in examine(settings, deep=True) if d.name == "files"]

    assert said() == [f"frames: {name} is missing"]
    path = Path(lake.path(name))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    assert said() == [f"frames: {name} has 3 bytes, steps point to 515"]
    path.write_bytes(b"x" * 1024)
    assert "can't be read" in said()[0]
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("a"), io.BytesIO())
    assert said() == ["every byte can be read"]


def test_a_check_that_breaks_is_a_diagnosis(settings, monkeypatch):
    def broken(_settings):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setitem(doctor.CHECKS, "disk", broken)
    found = health(settings)["disk"]
    assert (found.health, found.found) == (Health.WRONG, "ZeroDivisionError: two lines")


def test_channels_that_say_something_else_than_the_table_are_wrong(settings):
    lake = Lake.open(settings.lake, create=True)
    assert health(settings)["channels"].health is Health.ABSENT
    key = signing_key(settings.keys)
    publish(
        lake,
        settings.releases,
        Channel.PRODUCTION,
        policy_id="p",
        key=key,
        evidence={},
        now_ns=time.time_ns(),
    )
    assert health(settings)["channels"].found.startswith("production until ")
    Path(settings.releases, "production.json").unlink()
    found = health(settings)["channels"]
    assert (found.health, "no file" in found.found) == (Health.WRONG, True)


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_broken_key_is_named(settings, content):
    name = rotate(settings.keys)
    path = Path(settings.keys, "trusted", f"{name}.pem")
    path.write_bytes(content)
    assert str(path) in health(settings)["keys"].found


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


def test_what_other_packages_add_is_listed_and_what_is_broken_is_wrong(settings, install):
    install("labels")
    (found,) = [d for d in examine(settings) if d.name == "plugins"]
    assert found.health is Health.OK
    assert (
        found.found
        == "check kitchen.calm of kitchen-labels 0.1.0, label kitchen.effort of kitchen-labels 0.1.0"
    )
    install("other", "raise OSError('no licence')", readers={"blue": "other:blue"})
    broken, others = [d for d in examine(settings) if d.name == "plugins"]
    assert (broken.health, others.health) == (Health.WRONG, Health.OK)
    assert "blue (other:blue of other 1.2) can't be imported: OSError: no licence" in broken.found


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


def test_a_damaged_tombstone_is_named(settings, filled):
    path = Path(filled.root, "erasures", "tombstones", "a.json")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    found = health(settings)["lake"]
    assert found.health is Health.WRONG
    assert "a damaged tombstone" in found.found
