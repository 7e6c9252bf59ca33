"""The tiny demo, killed at awkward moments, finished by running it again, once for all workers of a run."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: in the environment of the demo, and to be found nowhere in what it wrote
SECRET = "a-secret-nobody-may-read"


def start(home: Path) -> subprocess.Popen[str]:
    """The demo as a person starts it, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.demo", "--profile", "tiny", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "AWS_SECRET_ACCESS_KEY": SECRET},
    )


def end_after(home: Path, words: str, how: signal.Signals) -> tuple[int, str]:
    """Run until a line with these words, then signal the driver alone; its children must see to themselves.

    Returns the exit code and what it still said.
    """
    with start(home) as process:
        assert process.stdout
        for line in process.stdout:
            if words in line:
                break
        else:
            pytest.fail(f"the demo ended before it said {words!r}")
        os.kill(process.pid, how)
        rest = process.stdout.read()
    return process.returncode, rest


def finish(home: Path) -> str:
    """Run to the end; return what was said."""
    process = start(home)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-4000:]
    return output


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a finished demo that was killed while robots ran, while it ingested and while it trained.

    Nobody works in it: who needs one takes a copy. With ``LWD_DEMO_KEPT=DIR`` it is kept in DIR.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = Path(os.environ.get("LWD_DEMO_KEPT", folder)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    home, unfinished = folder / "finished-demo", folder / "demo"
    with (folder / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(home)
    return home


def make(home: Path) -> None:
    """Kill it three times, interrupt it once, let it finish."""
    end_after(home, "harbour: 1/2 episodes", signal.SIGKILL)
    end_after(home, "ingest: 4 episodes", signal.SIGKILL)
    end_after(home, "update 50", signal.SIGKILL)
    code, said = end_after(home, "update 100", signal.SIGINT)
    assert code == 130, said
    assert "Traceback" not in said
    assert "the same command goes on from here" in said
    output = finish(home)
    assert "sft: fleet: done before" in output
