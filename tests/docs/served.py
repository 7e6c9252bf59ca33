"""Run a server as a reader would, look at it once, end it: ``python -m tests.docs.served COMMAND…``."""

import re
import signal
import subprocess
import sys
import time
import urllib.request

import psutil

URL = re.compile(r"http://127\.0\.0\.1:\d+[^\s)]*")


def main(command: list[str], patience_s: float = 120.0) -> int:
    """0 if the command named its address, answered there, listened on loopback only and ended on SIGINT."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_hear_ctrl_c
    )
    family = psutil.Process(process.pid)
    try:
        assert process.stdout is not None
        url = next((m[0] for line in process.stdout if (m := URL.search(line))), None)
        if url is None:
            print(f"{' '.join(command)}: ended without naming an address", file=sys.stderr)
            return 1
        _answered(url, time.monotonic() + patience_s)
        listening = {
            c.laddr.ip
            for p in (family, *family.children(recursive=True))
            for c in p.net_connections("inet")
            if c.status == "LISTEN"
        }
        if not listening <= {"127.0.0.1", "::1"}:
            print(f"{' '.join(command)}: listens on {listening}", file=sys.stderr)
            return 1
    finally:
        everyone = [family, *family.children(recursive=True)]
        process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(everyone, timeout=60)
        for left in alive:
            left.kill()
    if alive:
        print(f"{' '.join(command)}: Ctrl-C left {len(alive)} processes", file=sys.stderr)
        return 1
    print(f"{url} answered")
    return 0


def _hear_ctrl_c() -> None:
    """As a terminal starts a command; a shell's background jobs ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _answered(url: str, deadline: float) -> None:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
