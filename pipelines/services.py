"""Dagster's three services over one home, on the loopback address: code server, webserver, daemon.

They are started side by side: each spends seconds on imports alone, and `dagster dev` would have one wait
for the other. They end with this process, also where it is killed (``child.py``). A deployment on several
machines runs the same three (docs/platform.md).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
LOCATION = "lwd"
_PATIENCE_S = 20.0


@contextmanager
def services(port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the services for the home this process has entered; stop them when the block ends."""
    prepare(Path(os.environ["DAGSTER_STATE_DIR"]))
    with tempfile.TemporaryDirectory(prefix="lwd-") as folder:  # a socket's path must be short
        socket = f"{folder}/code"
        workspace = Path(folder) / "workspace.yaml"
        # JSON is YAML
        workspace.write_text(
            json.dumps({"load_from": [{"grpc_server": {"socket": socket, "location_name": LOCATION}}]})
        )
        quiet, where = ("--log-level", "warning"), ("--workspace", str(workspace))
        code = ("dagster", "api", "grpc", "--socket", socket, "--module-name", "pipelines.definitions")
        web = ("pipelines.webserver", "--host", HOST, "--port", str(port), *where)
        running = [
            _start(*code, "--location-name", LOCATION, *quiet),
            _start(*web, "--dagster-log-level", "warning"),
        ]
        try:
            # the webserver looks again where it finds no definitions yet; the daemon would complain
            _until(Path(socket).exists, running)
            running.append(_start("dagster._daemon", "run", *where, *quiet))
            yield running
        finally:
            stop(running)


def prepare(state: Path) -> None:
    """Let one process make Dagster's tables: services that start side by side would each make them."""
    mark = state / "prepared"
    if not mark.exists():
        import dagster as dg

        dg.DagsterInstance.get().dispose()
        mark.touch()


def watch(running: list[subprocess.Popen[bytes]], every_s: float = 0.5) -> int:
    """Wait until a service ends; return its exit code."""
    while True:
        for service in running:
            if service.poll() is not None:
                return service.returncode
        time.sleep(every_s)


def _until(ready: Callable[[], bool], running: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not ready() and time.monotonic() < until and all(s.poll() is None for s in running):
        time.sleep(0.05)


def stop(running: list[subprocess.Popen[bytes]]) -> None:
    """Ask each service to end, the newest first; one that does not listen is killed."""
    for service in reversed(running):
        if service.poll() is None:
            service.send_signal(signal.SIGTERM)
    until = time.monotonic() + _PATIENCE_S
    for service in reversed(running):
        try:
            service.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def _start(*module: str) -> subprocess.Popen[bytes]:
    # a session of its own: Ctrl-C reaches this process, which ends the services in their order
    command = [sys.executable, "-m", "pipelines.child", str(os.getpid()), *module]
    return subprocess.Popen(command, start_new_session=True, env=dict(os.environ))
