"""The studio over 100,000 episodes, in a real browser: how long a person waits, and how much memory it takes.

    python -m benchmarks.studio [--json] [--episodes 100000] [--times 40] [--lake FOLDER]

Each measure is taken from the key or click until what it asks for stands on the page. ``wall`` is what a
person waits; ``cpu`` is the processor time of server and browser together. On a free machine nobody waits
longer than the lesser of the two, which is what a target is held against. ``--lake`` keeps the lake for the
next time.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

from benchmarks.screens import FLAGS, chromium
from benchmarks.studio_lake import fill

PATIENCE_MS = 120_000
FIRST_S, AFTER_S, MEMORY_MB = 1.0, 0.5, 1024
FILTERS = (
    "outcome=failure", "helped=yes&order=longest", "task=put the cup number 3 on the shelf",
    "site=lab4&quality=fail", "order=drop", "drop=0.2&outcome=success", "text=number 7", "order=random:5",
    "since=2026-02-03&until=2026-02-09", "where=steps > 5 AND human_steps > 0", "robot=r7&robot=r8", "",
)  # fmt: skip
#: Looked at every 50 ms; at each picture, as Playwright would, costs more than what is measured.
LOOK_MS = 50
#: The grid says which filter it shows the answer of.
SHOWN = "asked => document.querySelector('.grid')?.dataset.shown === asked"
THERE = "what => document.querySelector(what) !== null"


@dataclass(frozen=True)
class Waited:
    """Seconds: median and 95th percentile on the wall clock and in processor time, of so many."""

    measure: str
    n: int
    wall: float
    wall_p95: float
    cpu: float
    cpu_p95: float
    target: float


class Clock:
    """Processor time of some processes and all they started."""

    def __init__(self, *roots: int) -> None:
        found = [p for root in roots for p in (psutil.Process(root), *_children(root))]
        self._family = list({p.pid: p for p in found}.values())

    def cpu(self) -> float:
        """Seconds so far."""
        return sum(sum(p.cpu_times()[:2]) for p in self._family if p.is_running())


def _children(root: int) -> list[psutil.Process]:
    return psutil.Process(root).children(recursive=True)


@contextmanager
def server(home: Path) -> Generator[tuple[subprocess.Popen[str], str]]:
    """`lwd studio` over a home, and its address."""
    command = [sys.executable, "-m", "lwd_core.cli.main", "studio", "--port", "0", "--no-browser", "--json"]
    process = subprocess.Popen(
        command, env=os.environ | {"LWD_HOME": str(home)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def measured(
    measure: str, target: float, clock: Clock, acts: list[Callable[[], object]], settle: Callable[[], object]
) -> Waited:
    """Each act timed by itself; what it leaves behind is waited for before the next."""
    wall: list[float] = []
    cpu: list[float] = []
    for act in acts:
        settle()
        began, used = time.perf_counter(), clock.cpu()
        act()
        wall.append(time.perf_counter() - began)
        cpu.append(clock.cpu() - used)
    half, most = ([float(np.quantile(times, q)) for times in (wall, cpu)] for q in (0.5, 0.95))
    return Waited(measure, len(acts), half[0], most[0], half[1], most[1], target)


def walk(page: Page, link: str, clock: Clock, times: int) -> Iterator[Waited]:
    """The measures, in the order a person would meet them."""
    random.seed(0)
    address = link.partition("#")[0]

    def settle() -> None:
        page.wait_for_timeout(1500)

    def until(condition: str, what: str) -> None:
        page.wait_for_function(condition, arg=what, polling=LOOK_MS)

    def opened() -> None:
        page.goto(address)
        until(THERE, ".card")

    def filtered(asked: str) -> Callable[[], object]:
        def act() -> None:
            page.evaluate("asked => { location.hash = '/episodes' + (asked && '?' + asked); }", asked)
            until(SHOWN, page.evaluate("asked => new URLSearchParams(asked).toString()", asked))

        return act

    def scrolled(share: float) -> Callable[[], object]:
        def act() -> None:
            row = page.evaluate(
                "share => { const g = document.querySelector('.grid'); g.scrollTop = share * g.scrollHeight; "
                "return Math.floor(g.scrollTop / 232) * Math.floor((g.clientWidth - 8) / 210); }",
                share,
            )
            until(THERE, f".card[data-index='{row}']")

        return act

    def looked_at(place: int) -> Callable[[], object]:
        def act() -> None:
            page.keyboard.press("j")
            until(THERE, f".episode[data-place='{place}'] [data-panel=value]")

        return act

    yield measured("first page", FIRST_S, clock, [opened] * max(3, times // 4), settle)
    chosen = [FILTERS[i % len(FILTERS)] for i in range(times)]
    yield measured("filter", AFTER_S, clock, [filtered(one) for one in chosen], settle)
    filtered("")()
    yield measured("scroll", AFTER_S, clock, [scrolled(random.random()) for _ in range(times)], settle)
    opened()
    page.keyboard.press("Enter")
    until(THERE, ".episode[data-place='0'] [data-panel=value]")
    yield measured("next episode", AFTER_S, clock, [looked_at(i + 1) for i in range(times)], settle)


def main() -> None:
    """Print the table; exit code 1 where both clocks are beyond a target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--lake", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lwd-bench-studio-") as folder:
        home = args.lake or Path(folder)
        if not (home / "lake" / "tables").exists():
            fill(home / "lake", args.episodes)
        lines, memory = _run(home, Path(folder), args.times)
    if args.json:
        print(json.dumps({"measures": [asdict(line) for line in lines], **memory}))
    else:
        print(f"{'measure':14} {'n':>4} {'wall':>7} {'p95':>7} {'cpu':>7} {'p95':>7} {'target':>7}  seconds")
        for line in lines:
            numbers = (line.wall, line.wall_p95, line.cpu, line.cpu_p95, line.target)
            print(f"{line.measure:14} {line.n:4} " + " ".join(f"{number:7.2f}" for number in numbers))
        print(
            ", ".join(f"{name} {value:.1f}" for name, value in memory.items()) + f"; at most {MEMORY_MB} MB"
        )
    late = [line.measure for line in lines if min(line.wall_p95, line.cpu_p95) > line.target]
    sys.exit(bool(late or memory["server_mb"] > MEMORY_MB))


def _run(home: Path, folder: Path, times: int) -> tuple[list[Waited], dict[str, float]]:
    began = time.perf_counter()
    with server(home) as (process, link), sync_playwright() as playwright:
        begun = time.perf_counter() - began
        context = playwright.chromium.launch_persistent_context(
            folder / "browser",
            executable_path=chromium(),
            args=list(FLAGS),
            viewport={"width": 1600, "height": 1000},
            bypass_csp=True,  # the page runs no script that is not its own, and what waits is one
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(link)
        page.wait_for_function(THERE, arg=".card", polling=LOOK_MS)
        ready = time.perf_counter() - began
        # the checks are among the filters
        page.wait_for_function("document.querySelectorAll('.filters summary').length > 6", polling=LOOK_MS)
        summed = time.perf_counter() - began
        clock = Clock(process.pid, *(p.pid for p in _children(os.getpid()) if p.pid != process.pid))
        lines = list(walk(page, link, clock, times))
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        context.close()
    return lines, {
        "listening_s": begun, "first_card_s": ready, "labels_summed_up_s": summed, "server_mb": memory
    }  # fmt: skip


if __name__ == "__main__":
    main()
