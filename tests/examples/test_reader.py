"""A format that another package reads, from a log to rows, as a user would."""

import json
from pathlib import Path

import numpy as np

from tests.examples.installed import lwd
from tests.packages import PLUGINS, lay_project


def acme(path: Path, rows: tuple[int, ...] = (30, 20), cut: int = 0) -> Path:
    """A log of so many rows an episode, ``cut`` bytes missing at its end."""
    draw = np.random.default_rng(0)
    data = b""
    for i, n in enumerate(rows):
        said = {"acme": 1, "arm": "acme-7", "task": f"stack-{i}", "result": "success", "rows": n}
        data += json.dumps(said | {"state": 3, "action": 2}).encode() + b"\n"
        data += draw.normal(size=(n, 5)).astype("<f4").tobytes()
    path.write_bytes(data[: len(data) - cut])
    return path


def steps(home: Path, site: Path) -> list[list[str]]:
    query = "SELECT robot_id, task, outcome, steps, reader_version FROM episodes ORDER BY task"
    lines = lwd(home, site, "sql", "--format", "csv", query).strip().splitlines()
    return [line.split(",") for line in lines[1:]]


def test_a_log_of_another_packages_format_from_draft_to_rows(tmp_path: Path) -> None:
    site = lay_project(PLUGINS / "reader", tmp_path / "site")
    home, log = tmp_path / "home", acme(tmp_path / "monday.acme")
    drafted = lwd(home, site, "init", "home", "--name", "acme-arm", "--log", str(log))
    assert "made home" in drafted
    text = (home / "embodiments" / "acme-arm.yaml").read_text()
    assert "topic: state" in text
    assert "topic: action" in text
    lwd(home, site, "ingest", str(log))
    assert steps(home, site) == [
        ["acme-7", "stack-0", "success", "30", "acme@acme-logs 1.0"],
        ["acme-7", "stack-1", "success", "20", "acme@acme-logs 1.0"],
    ]


def test_what_a_reader_gave_before_the_damage_is_salvaged(tmp_path: Path) -> None:
    site = lay_project(PLUGINS / "reader", tmp_path / "site")
    home, whole = tmp_path / "home", acme(tmp_path / "whole.acme")
    lwd(home, site, "init", "home", "--name", "acme-arm", "--log", str(whole))
    lwd(home, site, "ingest", str(acme(tmp_path / "cut.acme", cut=8)))
    assert [row[1] for row in steps(home, site)] == ["stack-0"]
    assert "cut off within stack-1" in lwd(home, site, "logs")


def test_a_log_that_no_reader_knew_is_read_once_one_is_installed(tmp_path: Path) -> None:
    home, site = tmp_path / "home", tmp_path / "site"
    site.mkdir()
    log = acme(tmp_path / "monday.acme")
    lwd(home, site, "init", "home", "--name", "acme-arm")
    assert "no known log format" in lwd(home, site, "ingest", str(log), fails=True)
    lay_project(PLUGINS / "reader", site)
    draft = home / "embodiments" / "acme-arm.yaml"
    draft.unlink()
    lwd(home, site, "embodiment", "infer", str(log), "--name", "acme-arm", "--out", str(draft))
    lwd(home, site, "ingest", str(log))
    assert len(steps(home, site)) == 2


def test_a_readers_fault_is_its_packages_until_that_is_mended(tmp_path: Path) -> None:
    site = lay_project(PLUGINS / "reader", tmp_path / "site")
    home, log = tmp_path / "home", acme(tmp_path / "monday.acme")
    lwd(home, site, "init", "home", "--name", "acme-arm", "--log", str(log))
    module = site / "acme_logs.py"
    sound = module.read_text()
    module.write_text(sound.replace('about["rows"]', 'about["lines"]'))
    assert "a fault of acme-logs 1.0+" in lwd(home, site, "ingest", str(log), fails=True)
    module.write_text(sound)
    lwd(home, site, "ingest", str(log))
    assert len(steps(home, site)) == 2
