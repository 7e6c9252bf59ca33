"""A name is one process's; a killed holder's is free, in a folder at once, in a bucket after its term."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lwd_core.errors import UserError
from lwd_core.storage.conditional import put_new
from lwd_core.storage.location import Location, open_location
from lwd_core.storage.lock import locked
from tests.lwd_core.lake.servers import KEYS, moto

HOLD = """
import sys, time
from lwd_core.storage.lock import locked
from lwd_core.storage.location import open_location
with locked(open_location(sys.argv[1]), "run", "run sft", term_s=1.0) as lock:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        lock.check()
        print("mine", flush=True)
    except Exception as error:
        print(error, flush=True)
"""


@pytest.fixture(params=["folder", "bucket"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Location]:
    if request.param == "folder":
        yield open_location(str(tmp_path))
        return
    with moto() as url:
        for name, value in (KEYS | {"LWD_S3_ENDPOINT": url}).items():
            monkeypatch.setenv(name, value)
        yield open_location("s3://lake/checkpoints", url)


@contextmanager
def holder(place: Location) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the name until it is told to look and leave."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, place.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_while_one_holds_it_others_are_refused_and_told_who(place: Location) -> None:
    with holder(place) as other:
        with (
            pytest.raises(UserError, match=rf"run sft: another process holds it \(process {other.pid} on "),
            locked(place, "run", "run sft", term_s=10.0),  # a busy machine's holder may renew late
        ):
            pass
        with locked(place, "another", "run other", term_s=1.0):
            pass
        assert other.communicate("look\n", timeout=30)[0] == "mine\n"
    begin = time.monotonic()
    with locked(place, "run", "run sft", term_s=30.0) as lock:
        lock.check()
    assert time.monotonic() - begin < 5, "who leaves says so: nobody waits out the term"


def test_a_killed_holder_s_name_is_taken_over(place: Location) -> None:
    with holder(place) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        with locked(place, "run", "run sft", term_s=1.0) as lock:
            lock.check()


def test_a_holder_that_slept_too_long_knows_it_in_a_bucket(place: Location) -> None:
    if not place.remote:
        return  # a folder's lock sleeps with its process
    with holder(place) as other:
        other.send_signal(signal.SIGSTOP)
        with locked(place, "run", "run sft", term_s=1.0) as lock:
            other.send_signal(signal.SIGCONT)
            said, _ = other.communicate("look\n", timeout=30)
            assert "took it over while this one was silent" in said
            lock.check()


def test_an_object_is_made_once(place: Location) -> None:
    if place.remote:
        assert put_new(place, "x", b"mine")
        assert put_new(place, "x", b"mine"), "an answer that was lost"
        assert not put_new(place, "x", b"yours")
        assert place.read("x") == b"mine"
