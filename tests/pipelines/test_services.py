"""The services of the UI end with the process that started them, also where it had no time to end them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE_S = 60.0


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether it runs; what nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """A parent that starts a module as the services are started, ignores SIGTERM as a shell's background jobs
    may, and is killed."""
    (tmp_path / "waits.py").write_text(
        "import os, sys, time\nprint(os.getpid(), *sys.argv[1:], flush=True)\ntime.sleep(300)\n"
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
            "from pipelines.services import _start; _start('waits', '--port', '1').wait()",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert parent.stdout is not None
    child, *arguments = parent.stdout.readline().split()
    assert arguments == ["--port", "1"]
    assert alive(int(child))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not alive(int(child)))


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    command = [sys.executable, "-m", "pipelines.child", "1", "this"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "parent ended" in done.stderr


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


@pytest.mark.servers
def test_a_killed_ui_leaves_no_service(tmp_path: Path) -> None:
    from tests.lwd_core.lake.servers import free_port

    command = [sys.executable, "-m", "pipelines.ui", "--home", str(tmp_path), "--port", str(free_port())]
    with open(tmp_path / "ui.log", "wb") as log:
        ui = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        until(lambda: len(children(ui.pid)) == 3 or ui.poll() is not None)
        services = children(ui.pid)
        assert len(services) == 3, (tmp_path / "ui.log").read_text()
    finally:
        ui.send_signal(signal.SIGKILL)
        ui.wait()
    until(lambda: not any(map(alive, services)))
