"""The platform as a person waits for it, against stated targets.

    python -m benchmarks.platform [--json] [--runs 3] [--home DIR]

``home`` is one the demo has finished in (default: a new one of profile tiny, made first). Definitions
loaded in a new process; the UI until its graph answers; a night with nothing new and a round run again;
a log from landing to SQL with the daemon running; queries of a lake of 100,000 episodes in 1,000
partitions, what the pages of the UI ask over 1,000 partitions of every table, and those pages in a browser
(``benchmarks.screens``; left out where there is no Chromium). Medians and ranges, by the wall clock because
that is what is waited for, with the processor time of all processes involved beside it and the load of the
machine: on one that others use, the wall clock says more of them.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.large_home import PAGES, QUERIES, fill
from benchmarks.screens import SCREENS, browser, chromium

PORT = 3917


@dataclass(frozen=True)
class Line:
    """One measure in seconds; ``cpu`` is the processor time of all processes it involves, a run's share.

    ``load`` is the machine's average over the last minute: processes that run or want to.
    """

    measure: str
    median: float
    spread: tuple[float, float]
    cpu: float
    load: float
    target: float

    def __str__(self) -> str:
        low, high = self.spread
        times = f"{self.median:8.2f} {f'{low:.2f}–{high:.2f}':>14} {self.cpu:8.2f} {self.load:6.1f}"
        return f"{self.measure:46} {times} {self.target:8.1f}"


class Bench:
    """Takes measures, keeps the lines, prints each when it is known unless ``quiet``."""

    def __init__(self, runs: int, quiet: bool) -> None:
        self.runs, self.quiet, self.lines = runs, quiet, list[Line]()
        self.say(f"{'measure':46} {'median s':>8} {'range':>14} {'cpu s':>8} {'load':>6} {'target':>8}")

    def say(self, text: str) -> None:
        """Print at once."""
        if not self.quiet:
            print(text, flush=True)

    def take(self, measure: str, target: float, way: Callable[[], object], runs: int | None = None) -> None:
        """Time ``way``, which may return seconds of its own."""
        taken: list[float] = []
        before = _processor()
        for _ in range(runs or self.runs):
            begun = time.perf_counter()
            own = way()
            taken.append(own if isinstance(own, float) else time.perf_counter() - begun)
        cpu = (_processor() - before) / len(taken)
        line = Line(
            measure, statistics.median(taken), (min(taken), max(taken)), cpu, os.getloadavg()[0], target
        )
        self.lines.append(line)
        self.say(str(line))


def _processor() -> float:
    """Processor time so far of this process and everything below it, ended or alive."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return ended + sum(_below(os.getpid()).values())


def _below(root: int) -> dict[int, float]:
    """Living processes below one, with what they and their ended children used."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        pid = int(path.parent.name)
        parents[pid] = int(fields[1])
        used[pid] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    found: dict[int, float] = {}
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found |= {pid: used[pid] for pid in level}
    return found


def python(*arguments: str) -> None:
    """A child of this interpreter to its end."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def graphql(query: str, **variables: object) -> dict[str, Any]:
    """Ask the webserver."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    if "errors" in found:
        raise RuntimeError(found["errors"])
    return found["data"]


@contextmanager
def ui(home: Path) -> Iterator[float]:
    """The UI over a home, yielding the seconds until its graph answered."""
    begun = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "pipelines.ui", "--home", str(home), "--port", str(PORT)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                if graphql("{assetNodes {id}}")["assetNodes"]:
                    break
            except (OSError, urllib.error.URLError):
                if server.poll() is not None:
                    raise RuntimeError("the UI ended by itself") from None
            time.sleep(0.05)
        yield time.perf_counter() - begun
    finally:
        server.terminate()
        server.wait(30)


def start_of_ui(home: Path) -> float:
    """Seconds until the graph answers."""
    with ui(home) as seconds:
        return seconds


def landing_to_sql(home: Path, seed: int) -> float:
    """Seconds from an upload to its episode in SQL; the daemon must be running."""
    from lwd_core.fleet.robot import RobotSpec
    from lwd_core.lake.store import Lake
    from storage_schemas.vocabulary import Source
    from tests.lwd_core.scripted import Scripted, land_scripted

    lake, now = Lake.open(str(home / "lake"), create=True), time.time_ns()
    there = lake.read("episodes", columns=["episode_id"]).num_rows
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    script = Scripted("push", Source.ONLINE, seed, policy_id="bench")
    land_scripted(str(home / "landing"), RobotSpec("bench-00", "bench"), day, now, script)
    begun = time.perf_counter()
    while lake.read("episodes", columns=["episode_id"]).num_rows == there:
        time.sleep(0.25)
        if time.perf_counter() - begun > 300:
            raise RuntimeError("the episode did not appear within 300 s")
    return time.perf_counter() - begun


def measure(bench: Bench, home: Path, large: Path) -> None:
    """Everything."""
    bench.take("definitions load", 1.5, lambda: python("-c", "import pipelines.definitions"))
    bench.take("UI answers", 10, lambda: start_of_ui(home))
    night = f"from benchmarks.platform import night; night({str(home)!r})"
    again = f"from benchmarks.platform import again; again({str(home)!r})"
    bench.take("night with nothing new", 20, lambda: python("-c", night), 1)
    bench.take("last round run again, all done", 20, lambda: python("-c", again), 2)
    with ui(home):
        seeds = iter(range(10_000))
        bench.take("landing to SQL", 60, lambda: landing_to_sql(home, next(seeds)))
    fill(large)
    asking = "import sys; from benchmarks.platform import ask; ask(sys.argv[1], sys.argv[2])"
    for name, query in QUERIES.items():
        bench.take(f"SQL, new process: {name}", 3, lambda q=query: python("-c", asking, str(large), q))
    with ui(large):
        for name, page in PAGES.items():
            bench.take(f"page asks: {name}", 3, lambda p=page: graphql(p))
        if chromium() is None:
            bench.say("no Chromium: pages are not opened (`make system-test`)")
            return
        with browser(f"http://127.0.0.1:{PORT}", large / "browser") as open_page:
            bench.take("browser, first page of all", 3, lambda: open_page("graph"), 1)
            for name in SCREENS:
                bench.take(f"browser: {name}", 3, lambda n=name: open_page(n))


def ask(home: str, query: str) -> None:
    """One question, as `lwd sql` asks it."""
    from lwd_core.lake.store import Lake

    Lake.open(f"{home}/lake").sql(query)


def night(home: str) -> None:
    """The nightly schedule of a home where everything was learned from."""
    import dagster as dg

    from pipelines.home import enter

    enter(home)
    from pipelines.platform import Platform
    from pipelines.schedules import nightly_retraining

    with dg.DagsterInstance.get() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            resources={"platform": Platform()},
            scheduled_execution_time=datetime(2025, 3, 8, 2, tzinfo=UTC),
        )
        assert isinstance(nightly_retraining(context), dg.SkipReason)


def again(home: str) -> None:
    """The last round of a finished demo, as one run."""
    import dagster as dg

    from pipelines.home import enter

    enter(home)
    from pipelines.definitions import defs

    with dg.DagsterInstance.get() as instance:
        defs.resolve_job_def("learning_round").execute_in_process(instance=instance, partition_key="online-2")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--home", type=Path, help="of a finished demo; it gets a few more episodes")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder) / "demo"
        if options.home is None:
            python("-m", "pipelines.demo", "--profile", "tiny", "--home", str(home))
        bench = Bench(options.runs, quiet=options.json)
        measure(bench, home.absolute(), Path(folder) / "large")
        if options.json:
            print(json.dumps([asdict(line) for line in bench.lines], indent=2))


if __name__ == "__main__":
    main()
