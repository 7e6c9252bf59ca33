"""Every command of the pages, run in the order of its page by bash, in a folder of its own.

The reader has installed the platform and made the demo (``tests/docs/make.sh`` says what becomes of `make`),
and has a few logs of other robots: ``run-17.mcap``, ``recordings/``, ``lerobot-set/``, ``cube-single.npz``;
and robots of their own, ``my_arm/`` and ``aloha/``, installed.
Whoever writes pages keeps the demo from one run to the next with ``LWD_DEMO_KEPT=DIR``.
"""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lwd_core.exports.export import export
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from tests.docs.exempt import EXEMPT, SERVERS
from tests.docs.pages import PAGES, ROOT, blocks, unrun_commands
from tests.lwd_core.logs.robot_logs import ARM, episode_log
from tests.lwd_core.point_mass import ogbench
from tests.packages import EXAMPLES, PLUGINS, lay_project

WITH_COMMANDS = [p for p in PAGES if any(b.info == "bash" for b in blocks(p.read_text()))]


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of robots that are not the demo's, as their owners have them."""
    folder = tmp_path_factory.mktemp("logs")
    (folder / "run-17.mcap").write_bytes(episode_log(60, facts={"robot_id": "r17", "embodiment": "my-arm"}))
    (folder / "recordings").mkdir()
    for i in range(3):
        facts = {"robot_id": f"r{i}", "embodiment": "my-arm"}
        (folder / "recordings" / f"run-{i}.mcap").write_bytes(episode_log(40 + i, facts=facts))
    settings = Settings(home=str(tmp_path_factory.mktemp("other")))
    lake = Lake.open(settings.lake, create=True)
    source = folder / "other.mcap"
    source.write_bytes(episode_log(50, facts={"robot_id": "r9", "embodiment": "arm"}))
    ingest(lake, settings, [str(source)], embodiments={"arm": ARM}, now_ns=1)
    export("lerobot", lake, folder / "lerobot-set", embodiments={"arm": ARM}, videos=False)
    source.unlink()
    np.savez(folder / "cube-single.npz", **ogbench(trajectories=30, length=60))
    lay_project(PLUGINS / "my_arm", folder / "my_arm")
    lay_project(EXAMPLES / "aloha", folder / "aloha")
    return folder


@pytest.fixture
def reader(tmp_path: Path, finished_demo: Path, logs: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A fresh folder, and the environment of a shell in it."""
    page = tmp_path / "page"
    shutil.copytree(logs, page)
    commands = page / ".bin"
    commands.mkdir()
    (commands / "make").symlink_to(ROOT / "tests" / "docs" / "make.sh")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("LWD_", "DAGSTER_"))
    } | {
        "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{page / 'my_arm'}:{page / 'aloha'}",
        "OMP_NUM_THREADS": "1",
        "HOME": str(page),
        "BROWSER": "true",
        "EDITOR": "true",
        "COLUMNS": "200",
        "DOCS_DEMO": str(finished_demo),
        "DOCS_PORT": str(port),
    }
    yield page, environment
    shutil.rmtree(page, ignore_errors=True)


def script(page: Path) -> str:
    """The page's commands as one bash script that says where it is."""
    lines = ["set -euo pipefail", "[ -e lwd-data ] || make demo"]
    for block in blocks(page.read_text()):
        if block.info != "bash":
            continue
        lines.append(f"echo '--- {page.name}:{block.line}' >&2")
        for line in block.lines:
            typed = line.split(" #")[0].strip()
            if typed in EXEMPT:
                lines.append(f": left out, {shlex.quote(EXEMPT[typed])}")
            elif typed.startswith(SERVERS) and "--save" not in typed:
                lines.append(f"python -m tests.docs.served {line}")
            else:
                lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.mark.servers
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda p: p.name)
def test_every_command_of_a_page_works(page: Path, reader: tuple[Path, dict[str, str]]) -> None:
    folder, environment = reader
    done = subprocess.run(
        ["bash", "-c", script(page)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    said = done.stdout[-2000:] + "\n" + done.stderr[-3000:]
    assert done.returncode == 0, f"exit code {done.returncode}\n{said}"
    assert "Traceback" not in done.stderr, said


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_command_stands_where_it_is_not_run(page: Path) -> None:
    found = [(n, line) for n, line in unrun_commands(page.read_text()) if line.strip() not in EXEMPT]
    assert found == [], "commands stand in ```bash blocks, which are run"


def test_no_exemption_outlives_its_line() -> None:
    lines = {
        line.split(" #")[0].strip()
        for page in PAGES
        for block in blocks(page.read_text())
        for line in block.lines
    }
    assert set(EXEMPT) <= lines
