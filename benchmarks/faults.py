"""SIGKILL at random moments of ingest (of new logs, of others at their addresses), compaction, erasure and
remapping; then the same again must leave what an undisturbed run leaves. And a thousand control loops whose
rows must be paired rightly or masked; and small logs that ask for more than there is, or lie about
themselves: each may cost 2 GB and 60 s at most, and stops nothing but itself.

    python -m benchmarks.faults [--json] [--kills 100 of each] [--loops 1000] [--bombs] [--seed 0]
"""

import argparse
import json
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks import pairings
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from tests.lwd_core.lake.kills import kill_once, prepare
from tests.lwd_core.logs import bombs

GB, MOST_BYTES, MOST_SECONDS = 10**9, 2 * 10**9, 60.0
VERBS = ("ingest", "supersede", "compact", "erase", "remap")


@dataclass(frozen=True)
class Cost:
    """What one bomb or lie took: ``resident`` bytes of the processes that read it, at most."""

    name: str
    bytes: int
    seconds: float
    resident: int
    state: str
    reason: str


def explode(quiet: bool = False) -> list[Cost]:
    """Ingest every bomb and lie, each by itself. Stops with an error at one that costs more than it may."""
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=f"{folder}/home")
        lake = Lake.open(settings.lake, create=True)
        for name, make in {**bombs.BOMBS, **bombs.LIES}.items():
            place = Path(folder) / name
            place.mkdir()
            path = make(place)
            size = sum(p.stat().st_size for p in (path, *path.rglob("*")) if p.is_file())
            with _watched() as peak:
                began = time.perf_counter()
                ingest(lake, settings, [str(path)], embodiments=bombs.EMBODIMENTS, now_ns=0)
                seconds = time.perf_counter() - began
            shutil.rmtree(place)
            row = lake.read("logs", where="uri = ?", params=(str(path),)).to_pylist()[0]
            cost = Cost(name, size, seconds, max(peak), row["state"], row["reason"] or "")
            costs.append(cost)
            if not quiet:
                said = f"{seconds:5.1f} s {cost.resident / GB:5.2f} GB  {cost.state:11} {cost.reason[:90]}"
                print(f"{name:32} {size:9} bytes {said}", flush=True)
            if cost.resident > MOST_BYTES or seconds > MOST_SECONDS:
                raise SystemExit(f"{name}: {seconds:.0f} s and {cost.resident / GB:.2f} GB are too much")
            if name in bombs.BOMBS and cost.state != "quarantined":
                raise SystemExit(f"{name}: {cost.state}, where it can't be read")
    return costs


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Resident bytes of this process's children, sampled while the block lasts."""
    seen, done, here = [0], threading.Event(), psutil.Process()

    def watch() -> None:
        while not done.wait(0.02):
            with suppress(psutil.Error):
                seen.append(sum(p.memory_info().rss for p in here.children(recursive=True)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def main() -> None:
    """Kill, compare, count; stops with an error at the first difference."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--loops", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--bombs", action="store_true", help="The bombs alone.")
    chosen = options.parse_args()
    if chosen.bombs:
        found = [asdict(cost) for cost in explode(quiet=chosen.json)]
        if chosen.json:
            print(json.dumps(found))
        return
    rng = random.Random(chosen.seed)
    result: dict[str, dict[str, float]] = {}
    for verb in VERBS:
        rounds = chosen.kills
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            trial = prepare(Path(folder), verb)
            killed = sum(kill_once(trial, rng) for _ in range(rounds))
        result[verb] = {"runs": rounds, "killed": killed, "different": 0, "s": time.perf_counter() - began}
    loops = pairings.run(chosen.loops, chosen.seed)
    if chosen.json:
        print(json.dumps({**result, "pairings": loops}))
        return
    print(
        f"pairings {loops['logs']:4.0f} loops, {loops['told']:.0f} told by their stamps, "
        f"{loops['wrong']:.0f} of {loops['valid']:.0f} valid rows wrong, "
        f"{loops['kept_where_told']:.3f} of their cycles kept, {loops['s']:.0f} s"
    )
    for verb, counts in result.items():
        print(
            f"{verb:8} {counts['runs']:4} runs, {counts['killed']:4} killed in time, "
            f"{counts['different']} different after a rerun, {counts['s']:.0f} s"
        )


if __name__ == "__main__":
    main()
