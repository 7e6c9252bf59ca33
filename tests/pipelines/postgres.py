"""A PostgreSQL of the test's own on 127.0.0.1, from Debian's package."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lwd_core.lake.servers import free_port

MISSING = "PostgreSQL is not installed: `make system-test` as root, or `apt-get install postgresql`"


def program(name: str) -> str:
    """A program of the newest version installed; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, MISSING
    return path


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the URL of an empty database; the server is stopped at the end and its folder removed."""
    # it refuses to run as root, and pytest's folders are closed to others
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="lwd-pg-"))
    port = free_port()
    try:
        if user:
            shutil.chown(folder, user)
        run = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL}
        data = folder / "data"
        subprocess.run(
            [program("initdb"), "-D", data, "-A", "trust", "-U", "lwd", "--no-sync", "-E", "UTF8"],
            check=True,
            **run,
        )
        server = subprocess.Popen(
            [program("postgres"), "-D", data, "-k", folder, "-h", "127.0.0.1", "-p", str(port), "-F"],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **run,
        )
        try:
            ready = [program("pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
            deadline = time.monotonic() + 60
            while subprocess.run(ready, check=False).returncode:
                assert server.poll() is None, "PostgreSQL ended by itself"
                assert time.monotonic() < deadline, "PostgreSQL doesn't answer"
                time.sleep(0.1)
            yield f"postgresql+psycopg2://lwd@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # the quick, clean end
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
