"""A deployed fleet and its learner: how long an episode, and a release, is on its way.

    python -m benchmarks.fleet [--minutes 30] [--robots 16] [--home DIR] [--json]

Three processes as in a deployment, which know of each other through landing zone, lake and release channel
alone: `lwd fleet run` (one process for all robots, at life's speed), `lwd ingest --follow` and
`lwd train online --follow`. Before them a few demonstrations and a short SFT run. Measured, P50 and P99:

- episode end to sampleable: from the episode's last message to the pool that a batch can draw it from;
- release to actor: from the release's time to the start of each robot's first episode with it. Robots look
  between their own episodes, so an episode and its pause are part of it;
- episodes in and out: run by robots, in the lake, in the learner's last pool. They must be the same.

Wall time, so other work on the machine counts.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lwd_core.fleet.actor import demonstration_seeds, run_fleet
from lwd_core.fleet.config import sample_fleet
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import open_location
from lwd_core.training.checkpoint import newest_checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.follow import read_draws
from lwd_core.training.online import Publisher
from lwd_core.training.run import train
from storage_schemas.vocabulary import Channel, Source

TASKS = ("button-press-topdown", "drawer-open", "door-open", "push", "pick-place", "peg-insert-side",
         "bin-picking", "assembly")  # fmt: skip


class Silent:
    """A training reporter that says nothing."""

    def log(self, update: int, metrics: dict[str, float]) -> None:
        """Nothing."""


def prepare(settings: Settings, updates: int) -> None:
    """Two demonstrations a task, a short SFT run, its policy in production."""
    fleet = sample_fleet(TASKS, cameras=0)
    seeds = demonstration_seeds(TASKS, "benchmark", 2)
    run_fleet(settings, fleet, day="2026-01-05", policy=None, seeds=seeds, source=Source.DEMONSTRATION)
    lake = Lake.open(settings.lake, create=True)
    known = load_embodiments(settings.embodiments)
    ingest(lake, settings, [settings.landing], embodiments=known, now_ns=time.time_ns())
    spec = SnapshotSpec(name="sft", sources=(Source.DEMONSTRATION,), chunk=5, gamma=0.99)
    offline = build_snapshot(lake, spec, settings.snapshots, now_ns=time.time_ns()).digest
    learner = {"policy_every": 2, "policy_stride": 4, "reference": {"mode": "refreshed"}}
    learner["extraction"] = {"kind": "qam", "temperature": 0.05}
    config = {"run": "sft", "stage": "sft", "offline": offline, "updates": updates, "learner": learner}
    train(TrainConfig.parse(config), Silent(), settings)
    checkpoint = newest_checkpoint(settings.checkpoints, "sft")
    assert checkpoint is not None
    Publisher(settings, Channel.PRODUCTION)(checkpoint)


def start(settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
    """``lwd`` with these arguments; what it says goes to a file in the home."""
    with open(Path(settings.home, f"{arguments[0]}.txt"), "wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "lwd_core.cli.main", *arguments],
            env={**os.environ, "LWD_HOME": settings.home, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def stop(process: subprocess.Popen[bytes], by: int = signal.SIGTERM) -> None:
    """End a process and wait for it."""
    if process.poll() is None:
        process.send_signal(by)
    process.wait(120)


def deploy(settings: Settings, robots: int, minutes: float, between: float) -> int:
    """Run the three processes; return how many episodes the robots say they delivered."""
    taking_in = start(settings, "ingest", "--follow", "--every", "1")
    learner = start(settings, "train", "online", "--follow", "--updates", "10000000", "--poll-every", "10")
    names = [argument for task in TASKS for argument in ("--task", task)]
    amount = ("--robots", str(robots), "--minutes", str(minutes), "--between-s", str(between))
    fleet = start(settings, "fleet", "run", *amount, "--cameras", "0", *names)
    try:
        fleet.wait(minutes * 60 + 300)
        said = Path(settings.home, "fleet.txt").read_text().strip().splitlines()[-1]
        delivered = int(said.split()[0])
        run = open_location(f"{settings.checkpoints}/online")
        end = time.monotonic() + 120
        while time.monotonic() < end and not _all_drawn(settings, run, delivered):
            time.sleep(1)
        for process in (taking_in, learner):
            if process.poll() is not None:
                raise SystemExit(f"{process.args} ended by itself; see {settings.home}")
        return delivered
    finally:
        for process in (fleet, learner, taking_in):
            stop(process)


def _all_drawn(settings: Settings, run, delivered: int) -> bool:
    draws = read_draws(run)
    return bool(draws) and draws[-1]["episodes"] >= delivered


def measure(settings: Settings, delivered: int) -> dict[str, object]:
    """The figures, from the lake and from what the learner wrote down."""
    lake = Lake.open(settings.lake)
    draws = read_draws(open_location(f"{settings.checkpoints}/online"))
    online = lake.sql(
        "SELECT episode_id, end_ns, start_ns, robot_id, attributes->>'release_id' AS release_id, "
        "(attributes->>'released_ns')::BIGINT AS released_ns FROM episodes WHERE source = 'online'"
    ).to_pylist()
    end = {row["episode_id"]: row["end_ns"] for row in online}
    waits: dict[str, float] = {}
    for draw in draws:
        seen = lake.sql(
            "SELECT episode_id FROM episodes WHERE source = 'online'", versions=draw["versions"]
        ).column("episode_id")
        for episode in seen.to_pylist():
            waits.setdefault(episode, (draw["t_ns"] - end[episode]) / 1e9)
    first: dict[tuple[str, str], tuple[int, int]] = {}
    for row in sorted(online, key=lambda row: row["start_ns"]):
        first.setdefault((row["robot_id"], row["release_id"]), (row["start_ns"], row["released_ns"]))
    # the first release was there before the robots
    begun = min(started for started, _ in first.values())
    loads = [(started - released) / 1e9 for started, released in first.values() if released > begun]
    releases = lake.sql("SELECT count(*) AS n FROM releases WHERE state = 'production'").to_pylist()[0]["n"]
    newest = newest_checkpoint(settings.checkpoints, "online")
    return {
        "delivered": delivered,
        "in_lake": len(end),
        "sampleable": len(waits),
        "exact": delivered == len(end) == len(waits),
        "releases": releases,
        "updates": newest.about["update"] if newest else 0,
        "data_wait_share": newest.about["metrics"].get("data_wait_share") if newest else None,
        "episode_to_sampleable_s": quantiles(list(waits.values())),
        "release_to_actor_s": quantiles(loads),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    """P50, P99 and the number of values."""
    if not values:
        return {"n": 0}
    return {"p50": float(np.quantile(values, 0.5)), "p99": float(np.quantile(values, 0.99)), "n": len(values)}


def main() -> None:
    """Measure and print; exit code 1 where episodes were lost or doubled."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--minutes", type=float, default=30)
    options.add_argument("--robots", type=int, default=16)
    options.add_argument("--between", type=float, default=8, help="seconds between a robot's episodes")
    options.add_argument("--updates", type=int, default=2000, help="of the SFT run before")
    options.add_argument("--home", help="kept; default: a temporary folder")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=chosen.home or folder)
        prepare(settings, chosen.updates)
        delivered = deploy(settings, chosen.robots, chosen.minutes, chosen.between)
        found = measure(settings, delivered)
    found = {"robots": chosen.robots, "minutes": chosen.minutes, **found}
    if chosen.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:26} {value}")
    if not found["exact"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
