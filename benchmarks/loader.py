"""Snapshots and their loader, beside memcpy and beside other ways to keep the same data.

    python -m benchmarks.loader [--json] [--steps 1000000] [--runs 5] [--clock wall|cpu]

Transitions of 488 bytes: state and next state of 39, a chunk of 10 actions of 4, reward, discount, episode
and frame; then with everything else a batch can hold. Batches of 256, torch tensors, one thread.
``--clock cpu`` counts processor time, for a machine that others use too.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.loader_frames import images
from benchmarks.loader_lake import BATCH, CHUNK, synthetic_lake
from benchmarks.loader_peers import lerobot_style, memcpy, records_alone, timed, webdataset_members
from benchmarks.loader_wait import waits
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec

COLUMNS = ("state", "next_state", "action", "reward", "discount", "episode", "frame")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Line:
    """One measure: medians over runs; ``spread`` is (min, max) of ours; ``ratio`` is ours over the peer's."""

    measure: str
    unit: str
    ours: float
    spread: tuple[float, float]
    peer: str
    theirs: float
    ratio: float
    target: str


def main() -> None:
    """Run everything and print a table, or JSON."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--steps", type=int, default=1_000_000)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--clock", choices=CLOCKS, default="wall")
    args = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="lwd-loader-") as folder:
        lines = list(measure(Path(folder), args.steps, args.runs, CLOCKS[args.clock]))
    if args.json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
        return
    columns = ("ours", "min", "max")
    print(
        f"{'measure':42} {' '.join(f'{c:>12}' for c in columns)}  {'beside':30} {'theirs':>12} {'ratio':>7}"
    )
    for x in lines:
        print(
            f"{x.measure:42} {x.ours:12,.3g} {x.spread[0]:12,.3g} {x.spread[1]:12,.3g}  {x.peer:30} "
            f"{x.theirs:12,.3g} {x.ratio:7.3g}  {x.unit} {x.target}"
        )


def measure(folder: Path, steps: int, runs: int, clock: Callable[[], float]) -> Iterator[Line]:
    """The lines of the table, in order."""
    lake = synthetic_lake(folder / "lake", steps)
    spec = SnapshotSpec(name="bench", chunk=CHUNK)

    def line(name: str, unit: str, ours: list[float], peer: str, theirs: list[float], target: str) -> Line:
        mine, other = statistics.median(ours), statistics.median(theirs) if theirs else float("nan")
        return Line(name, unit, mine, (min(ours), max(ours)), peer, other, mine / other, target)

    builds, read = [], []
    for run in range(min(runs, 3)):
        builds.append(timed(clock, lambda r=run: build_snapshot(lake, spec, str(folder / f"s{r}"), now_ns=1)))
        read.append(timed(clock, lambda: lake.read("steps", columns=["state", "action"])))
    root = str(folder / "s0")
    digest = next(p.name for p in (folder / "s0").iterdir() if len(p.name) == 64)
    yield line(f"build {steps:,} steps", "s", builds, "reading their states, actions", read, "<= 10")

    snapshot = Snapshot.open(root, digest)
    next(iter(TransitionLoader(snapshot, BATCH, 0)))  # makes the cache
    floor = [memcpy(clock) for _ in range(runs)]
    alike = "memcpy of 488 bytes each"
    for name, columns, balanced, target in (
        ("samples, memory-mapped cache", COLUMNS, True, ">= 5,000,000"),
        ("the same, epochs without repetition", COLUMNS, False, ""),
        ("the same, every column of a batch", None, True, ""),
    ):
        rates = [
            rate(clock, TransitionLoader(snapshot, BATCH, s, columns=columns, balance_tasks=balanced), 12_000)
            for s in range(runs)
        ]
        yield line(name, "/s", rates, alike, floor, target)
        if columns is COLUMNS and balanced:
            alone = [records_alone(clock, snapshot, run) for run in range(runs)]
            yield line("the same", "/s", rates, "those records alone, at random", alone, "")
    one_pool = 64 << 20
    streamed = [
        rate(
            clock,
            TransitionLoader(snapshot, BATCH, s, columns=COLUMNS, memory_limit=0, pool_bytes=one_pool),
            steps // BATCH,
        )
        for s in range(runs)
    ]
    wds = [webdataset_members(clock, folder) for _ in range(min(runs, 3))]
    parquet = [lerobot_style(clock, folder) for _ in range(min(runs, 3))]
    yield line(
        "samples, streamed from shards", "/s", streamed, "memcpy of 488 bytes each", floor, ">= 800,000"
    )
    yield line("the same", "/s", streamed, "WebDataset, one per member", wds, "")
    yield line("the same", "/s", streamed, "Parquet rows, LeRobot style", parquet, "")

    def first() -> None:
        next(iter(TransitionLoader(Snapshot.open(root, digest), BATCH, 0)))

    def resume() -> None:
        loader = TransitionLoader(Snapshot.open(root, digest), BATCH, 0)
        loader.load_state_dict(loader.state_dict() | {"step": 1_000_000})
        next(iter(loader))

    def resume_streamed() -> None:
        loader = TransitionLoader(snapshot, BATCH, 0, memory_limit=0, pool_bytes=one_pool)
        loader.load_state_dict(loader.state_dict() | {"step": 100_000})
        next(iter(loader))

    yield line("open, verify, first batch, cached", "s", repeat(clock, first, runs), "", [], "<= 1")
    yield line("open, verify, resume at batch 1,000,000", "s", repeat(clock, resume, runs), "", [], "<= 2")
    yield line("resume streamed at batch 100,000", "s", repeat(clock, resume_streamed, runs), "", [], "<= 2")
    ours, alone = images(clock, folder, runs)
    yield line("frames, three cameras 224 x 224", "/s", ours, "simplejpeg alone", alone, "ratio >= 0.8")
    # last: a learner changes how the whole process keeps its memory
    shares = waits(folder / "home", folder / "s0", digest, runs)
    yield line("a learner's time spent waiting", "share", shares, "", [], "<= 0.02")


def repeat(clock: Callable[[], float], action: Callable[[], Any], runs: int) -> list[float]:
    """Seconds of each of several runs."""
    return [timed(clock, action) for _ in range(runs)]


def rate(clock: Callable[[], float], loader: TransitionLoader, batches: int) -> float:
    """Samples a second after the first batch."""
    source = iter(loader)
    next(source)

    def take() -> None:
        for _ in range(batches):
            next(source)

    return batches * BATCH / timed(clock, take)


if __name__ == "__main__":
    main()
