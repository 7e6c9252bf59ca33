"""Work in children: results and errors come back, limits hold, nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lwd_core.logs import children
from lwd_core.logs.children import ChildCall, ChildLimits, Children, Lost, apart
from lwd_core.logs.content import UnreadableLog

GB = 10**9


def add(a: int, b: int) -> int:
    return a + b


def refuse(words: str) -> None:
    raise UnreadableLog(words)


def swallowed(size: int) -> bytes:
    try:
        return bytes(size)
    except MemoryError as error:
        raise UnreadableLog(f"damaged ({error})") from error


def put(folder: str) -> str:
    Path(os.environ["TMPDIR"], "left").write_bytes(b"x")
    return os.environ["TMPDIR"]


def hold(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def skip(folder: Path) -> None:
    pass


def within(limits: ChildLimits, function, *args):
    with Children() as one:
        return one.submit([ChildCall(limits, function, args)])[0].result()


def test_results_and_errors_come_back_and_the_child_stays_warm() -> None:
    assert apart(0, add, 1, 2) == 3
    first = apart(0, os.getpid)
    with pytest.raises(UnreadableLog, match="not a log"):
        apart(0, refuse, "not a log")
    assert apart(0, os.getpid) == first != os.getpid()


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        (bytes, (3 * GB,), "reading it took more than 1 GB"),
        (swallowed, (3 * GB,), "reading it took more than 1 GB"),
        (time.sleep, (30,), "reading it took more than 1 s"),
        (os.abort, (), r"the reader died \(signal 6\)"),
        (os._exit, (3,), r"the reader died \(code 3\)"),
    ],
)
def test_what_a_log_does_to_its_child_is_told(function, args, words: str) -> None:
    with pytest.raises(Lost, match=words) as lost:
        within(ChildLimits(GB, 1), function, *args)
    assert lost.value.pid
    assert apart(0, add, 1, 2) == 3


def test_the_guilty_one_of_many_is_known() -> None:
    limits = ChildLimits(GB, 5)
    with Children() as one:
        jobs = [ChildCall(limits, add, (i, 1)) for i in range(4)]
        jobs[2] = ChildCall(limits, os.abort, ())
        futures = one.submit(jobs)
        assert [futures[i].result() for i in (0, 1, 3)] == [1, 2, 4]
        with pytest.raises(Lost, match="signal 6"):
            futures[2].result()


def test_an_error_outside_ends_the_work(tmp_path: Path) -> None:
    began = time.monotonic()

    def stop_in_the_midst() -> None:
        with Children() as one:
            one.submit([ChildCall(ChildLimits(GB, 50), hold, (tmp_path,))])
            while not list(tmp_path.iterdir()):
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_in_the_midst()
    (child,) = [int(path.name) for path in tmp_path.iterdir()]
    assert not psutil.pid_exists(child)
    assert time.monotonic() - began < 45


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    tmp_path = tmp_path / "held"
    tmp_path.mkdir()
    program = (
        "from pathlib import Path; from lwd_core.logs.children import apart; "
        f"from tests.lwd_core.logs.test_children import hold; apart(0, hold, Path({str(tmp_path)!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    while not list(tmp_path.iterdir()):
        time.sleep(0.05)
    (child,) = [int(path.name) for path in tmp_path.iterdir()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 30
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the child outlives its parent"
        time.sleep(0.05)
    (left,) = temporary.iterdir()
    subprocess.run([sys.executable, "-c", program.replace("hold", "skip")], check=True)
    assert not left.exists(), "the next process clears up"
    assert not list(temporary.iterdir())


def test_limits_grow_with_the_log_and_leave_the_machine_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_machine_memory", lambda: 100 * GB)
    assert ChildLimits.of(1000) == ChildLimits(children.MEMORY, children.SECONDS)
    assert ChildLimits.of(GB) == ChildLimits(16 * GB, 10_000.0)
    assert ChildLimits.of(100 * GB).memory == 75 * GB


def test_what_a_child_leaves_in_its_folder_goes_with_it() -> None:
    folder = Path(apart(0, put, ""))
    assert (folder / "left").exists()
    with pytest.raises(Lost):
        within(ChildLimits(GB, 5), os.abort)
    assert not folder.exists()
