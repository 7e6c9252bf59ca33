"""S3 services on 127.0.0.1 for the tests: moto's, SeaweedFS, and rclone's, which lacks conditional put."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "lake", "AWS_SECRET_ACCESS_KEY": "lakesecret", "AWS_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True


@contextmanager
def process(command: list[str], url: str, folder: Path) -> Iterator[str]:
    """A server process in a session of its own, until it answers; stopped at the end."""
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | KEYS, start_new_session=True, cwd=folder
        )
    try:
        deadline = time.monotonic() + 60
        while not answers(url):
            assert server.poll() is None, (folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the server doesn't answer"
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def binary(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found, f"{name} is not installed"
    return found


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """A real S3 service with bucket ``lake``."""
    ports = {name: free_port() for name in ("s3.port", "master.port", "volume.port", "filer.port")}
    command = [
        binary("weed"), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-bucket=lake", *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with process(command, f"http://127.0.0.1:{ports['s3.port']}", folder) as url:
        yield url


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """A service that answers 200 to both of two conditional puts."""
    (folder / "data" / "lake").mkdir(parents=True)
    port = free_port()
    command = [
        binary("rclone"), "serve", "s3", "--auth-key", "lake,lakesecret", "--addr", f"127.0.0.1:{port}",
        "--config", str(folder / "none.conf"), str(folder / "data"),
    ]  # fmt: skip
    with process(command, f"http://127.0.0.1:{port}", folder) as url:
        yield url


@contextmanager
def moto() -> Iterator[str]:
    """The mock service, in this process, with bucket ``lake``."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        # what an earlier server of this process held is still there
        for method, path in (("POST", "moto-api/reset"), ("PUT", "lake")):
            request = urllib.request.Request(f"http://{host}:{port}/{path}", method=method)
            urllib.request.urlopen(request, timeout=5).close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
