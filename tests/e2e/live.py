"""A small deployment to test on: a fleet's demonstrations, a policy learned from them, in production."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lwd_core.fleet.actor import demonstration_seeds, run_fleet
from lwd_core.fleet.config import sample_fleet
from lwd_core.fleet.workcells import Workcells
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.training.checkpoint import newest_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.online import Publisher
from lwd_core.training.run import train
from storage_schemas.vocabulary import Channel, Source

TASKS = ("drawer-open", "button-press-topdown")
SMALL = {
    "batch": 32,
    "log_every": 10,
    "network": {"hidden": 32, "layers": 2, "instruction_features": 4, "steps": 4},
    "critic": {"hidden": 32, "layers": 2},
    "learner": {
        "extraction": {"kind": "qam", "steps": 4, "temperature": 0.05},
        "reference": {"mode": "refreshed", "steps": 4},
    },
}


class Quiet:
    """A reporter that says nothing."""

    def log(self, update: int, metrics: dict[str, float]) -> None:
        """Nothing."""


def take_in(settings: Settings) -> Lake:
    """Ingest what has landed."""
    lake = Lake.open(settings.lake, create=True)
    known = load_embodiments(settings.embodiments)
    ingest(lake, settings, [settings.landing], embodiments=known, now_ns=time.time_ns())
    return lake


def deployed(home: Path, cells: Workcells, *, updates: int = 300, per_task: int = 2) -> Settings:
    """Demonstrations of two tasks, an SFT policy of ``updates`` on production."""
    settings = Settings(home=str(home))
    run_fleet(
        settings,
        sample_fleet(TASKS, robots=2, cameras=0),
        day="2026-03-04",
        policy=None,
        seeds=demonstration_seeds(TASKS, "live", per_task, cells=cells),
        source=Source.DEMONSTRATION,
        cells=cells,
    )
    lake = take_in(settings)
    spec = SnapshotSpec.parse({"name": "sft", "sources": ["demonstration"], "chunk": 5, "gamma": 0.99})
    digest = build_snapshot(lake, spec, settings.snapshots, now_ns=time.time_ns()).digest
    config = {**SMALL, "run": "sft", "stage": "sft", "offline": digest, "updates": updates}
    train(TrainConfig.parse(config), Quiet(), settings)
    checkpoint = newest_checkpoint(settings.checkpoints, "sft")
    assert checkpoint is not None
    Publisher(settings, Channel.PRODUCTION)(checkpoint)
    return settings


@contextmanager
def process(settings: Settings, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``lwd`` with these arguments, ended by SIGTERM if it has not ended by itself."""
    log = Path(settings.home, f"{arguments[0]}-{time.time_ns()}.txt")
    with log.open("w") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "lwd_core.cli.main", *arguments],
            env={**os.environ, "LWD_HOME": settings.home, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
            try:
                started.wait(60)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def until(true: Callable[[], object], seconds: float, *watched: subprocess.Popen[str]) -> None:
    """Wait until something is so; AssertionError if it is not in time, or if a process ends before."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        assert all(process.poll() is None for process in watched), "a process has ended"
        time.sleep(0.2)
