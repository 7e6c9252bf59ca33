"""Kill a process at a random moment, look whether the lake is whole, run it again, compare."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from lwd_core.erasure.search import Needles, search
from storage_schemas.tables import TABLES
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.rows import label_rows
from tests.lwd_core.lake.victim import BATCH, act
from tests.lwd_core.lake.world import World

LOGS = 9
REPOSITORY = Path(__file__).parents[3]


@dataclass
class Trial:
    """One verb with the home it starts from and the tables it must end with."""

    verb: str
    template: Path
    home: Path
    episode: str = ""
    expected: dict[str, list[dict]] = field(default_factory=dict)
    seconds: float = 0.0

    def reset(self) -> World:
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.template, self.home)
        return World(self.home)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.lwd_core.lake.victim", str(self.home), self.verb, self.episode][
            : None if self.episode else -1
        ]


def start(command: list[str]) -> subprocess.Popen[str]:
    """The process, its imports done."""
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = b""  # byte by byte: a reader with a buffer would take what comes after it too
    while not line.endswith(b"\n") and (byte := os.read(process.stdout.fileno(), 1)):
        line += byte
    assert line == b"ready\n"
    return process


def prepare(root: Path, verb: str) -> Trial:
    """A home made ready for the verb, and what an undisturbed run leaves."""
    home, template = root / "home", root / f"template-{verb}"
    shutil.rmtree(home, ignore_errors=True)
    world = World(home)
    for i in range(LOGS):
        write_log(world.landing, f"log{i}", seed=i, episodes=1 + i % 2, frames=3, site=f"lab{i % 2}")
    episode = ""
    if verb != "ingest":
        world.ingest(batch_logs=BATCH)
        world.lake.append("labels", label_rows(world.tables()["episodes"]))
    if verb == "erase":
        world.snapshot(cameras=["wrist"])
        # one whose log holds another that stays, and one that takes its log along
        found = world.lake.sql(
            "SELECT min(episode_id) e FROM episodes JOIN logs USING (log_id) GROUP BY logs.episodes"
        )
        episode = ",".join(found["e"].to_pylist())
    if verb == "supersede":
        for i in range(LOGS):
            write_log(world.landing, f"log{i}", seed=i, episodes=2 + i % 2, frames=3, site=f"lab{i % 2}")
    shutil.copytree(home, template)
    trial = Trial(verb, template, home, episode)
    world = trial.reset()
    began = time.perf_counter()
    act(world, verb, *([episode] if episode else []))
    trial.seconds = time.perf_counter() - began
    trial.expected = world.tables()
    return trial


def kill_once(trial: Trial, rng: random.Random) -> bool:
    """Start from the template, kill at a random moment, run again. True if the kill came in time.

    Asserts that what readers saw in between was whole, and that the end equals an undisturbed run's.
    """
    trial.reset()
    process = start(trial.command())
    time.sleep(rng.uniform(0, 1.1 * trial.seconds))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    whole(World(trial.home))
    world = World(trial.home)
    act(world, trial.verb, *([trial.episode] if trial.episode else []))
    found = world.tables()
    for table, rows in trial.expected.items():
        assert found[table] == rows, f"{trial.verb}: table {table} differs after a kill and a rerun"
    whole(world)
    no_row_twice(world)
    if trial.verb == "erase":
        absent(world, trial.episode.split(","))
    return process.returncode == -signal.SIGKILL


def whole(world: World) -> None:
    """Law 1: each visible episode has all of its steps and segments."""
    broken = world.lake.sql(
        "SELECT episode_id FROM episodes e WHERE "
        "(SELECT count(*) FROM steps s WHERE s.episode_id = e.episode_id) <> e.steps OR "
        "(SELECT count(*) FROM segments g WHERE g.episode_id = e.episode_id) <> 1"
    )
    assert broken.num_rows == 0, "an episode is seen in part"


def absent(world: World, episodes: list[str]) -> None:
    """Nothing under the home names them; of their logs the one stays that holds another episode."""
    places = [world.settings.home]
    assert search(places, Needles(tuple(episodes))).holding == [], "an erased episode is still there"
    assert len(list(world.landing.rglob("*.json"))) == LOGS - 1


def no_row_twice(world: World) -> None:
    """Not even out of sight: keys are unique in the data files of the newest versions."""
    for name in ("episodes", "steps", "segments", "logs"):
        key = list(TABLES[name].key)
        keys = [
            tuple(row.values())
            for path in world.lake.files(name)
            for row in pq.read_table(path, columns=key, partitioning=None).to_pylist()
        ]
        assert len(keys) == len(set(keys)), f"table {name} holds a row twice"
