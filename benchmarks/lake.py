"""The lake beside pyarrow and DuckDB on the same work.

    python -m benchmarks.lake [--json] [--runs 7] [--clock cpu|wall] [--episodes 100000] [--commits 2000]

A million steps in 500 episodes (state of 14 and action of 7, random walks, 10 days, 2 sites), then 100,000
episodes of 20 steps, compacted, then 2,000 commits of one episode. Ours and the peer in turn;
medians, and their ratio. A query's floor is a fresh in-memory DuckDB on exactly the Parquet files that
hold its answer. The default clock counts processor time, for a machine that others use too.
"""

import argparse
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lwd_core.lake.conform import conform
from lwd_core.lake.parquet import ROW_GROUP, encoding
from lwd_core.lake.query import connection, run
from lwd_core.lake.store import Lake
from lwd_core.lake.upkeep import compact
from storage_schemas.tables import TABLES

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
START, STATE, ACTION = 1_767_225_600_000_000_000, 14, 7
Data = dict[str, pa.Table]


@dataclass(frozen=True)
class Line:
    """One measure: medians; ``spread`` is the range of ours, ``ratio`` ours over the floor."""

    measure: str
    unit: str
    ours: float
    spread: tuple[float, float]
    floor: float
    ratio: float
    target: str


def digest(text: str) -> str:
    """An id as the lake makes them."""
    return hashlib.sha256(text.encode()).hexdigest()


def made(episodes: int, length: int, days: int, sites: int = 2) -> Data:
    """Episodes, segments and steps that fit the tables."""
    random, n = np.random.default_rng(0), episodes * length
    each = np.arange(episodes, dtype=np.int32)

    def texts(values: list[str], times: int) -> pa.Array:
        return pa.DictionaryArray.from_arrays(np.repeat(each, times), pa.array(values)).cast(pa.string())

    def vectors(values: np.ndarray) -> pa.Array:
        offsets = np.arange(n + 1, dtype=np.int32) * values.shape[1]
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))

    def shared(times: int) -> dict[str, pa.Array]:
        return {
            "episode_id": texts([digest(f"episode {i}")[:32] for i in each], times),
            "log_id": texts([digest(f"log {i}") for i in each], times),
            "day": texts([f"2026-{1 + i % days // 28:02d}-{1 + i % days % 28:02d}" for i in each], times),
            "site": texts([f"lab{i // days % sites}" for i in each], times),
        }

    def same(value: object, count: int) -> pa.Array:
        return pa.repeat(pa.scalar(value), count)

    walk = np.cumsum(random.normal(0, 0.01, (n, STATE)), 0, dtype=np.float64).astype(np.float32)
    action = random.normal(0, 0.1, (n, ACTION)).astype(np.float32)
    starts = START + each.astype(np.int64) * length * 20_000_000
    ends = starts + (length - 1) * 20_000_000
    steps = shared(length) | {
        "step": np.tile(np.arange(length, dtype=np.int32), episodes),
        "t_ns": START + np.arange(n, dtype=np.int64) * 20_000_000,
        "state": vectors(walk), "action": vectors(action), "proposed": vectors(action),
        "actor": same("policy", n), "valid": same(True, n), "gap": same(False, n),
        "state_age_ns": random.integers(0, 20_000_000, n), "action_age_ns": np.zeros(n, np.int64),
    }  # fmt: skip
    segments = shared(1) | {
        "segment": np.zeros(episodes, np.int32), "kind": same("autonomous", episodes),
        "first_step": np.zeros(episodes, np.int32), "last_step": np.full(episodes, length - 1, np.int32),
        "start_ns": starts, "end_ns": ends, "actor": same("policy", episodes), "who": same("p", episodes),
    }  # fmt: skip
    rows = shared(1) | {
        "index_in_log": np.zeros(episodes, np.int32), "robot_id": texts([f"r{i % 20}" for i in each], 1),
        "task": texts([f"task {i % 5}" for i in each], 1), "steps": np.full(episodes, length, np.int32),
        "start_ns": starts, "end_ns": ends, "control_hz": np.full(episodes, 50.0), "created_ns": starts,
    }  # fmt: skip
    constants = {"embodiment": "arm", "instruction": "do it", "source": "rollout", "outcome": "success",
                 "outcome_from": "robot", "end": "terminated", "attributes": "{}"}  # fmt: skip
    rows |= {name: same(value, episodes) for name, value in constants.items()}
    rows |= {name: np.zeros(episodes, np.int32) for name in ("human_steps", "interventions")}
    rows |= {name: np.zeros(episodes, np.int64) for name in ("first_message", "last_message")}
    tables = {"steps": pa.table(steps), "segments": pa.table(segments), "episodes": pa.table(rows)}
    return {name: conform(TABLES[name], table) for name, table in tables.items()}


class Bench:
    """Runs ways in turn, keeps the lines, prints each when it is known unless ``quiet``."""

    def __init__(self, runs: int, clock: Callable[[], float], quiet: bool) -> None:
        self.runs, self.clock, self.quiet, self.lines = runs, clock, quiet, list[Line]()
        self.say(f"{'measure':38} {'ours':>9} {'range':>17} {'floor':>9} {'ratio':>6}  target")

    def say(self, line: str) -> None:
        """Print at once."""
        if not self.quiet:
            print(line, flush=True)

    def keep(self, n: Line) -> None:
        """Add a line."""
        self.lines.append(n)
        spread = f"{n.spread[0]:.1f}–{n.spread[1]:.1f}"
        numbers = f"{n.ours:9.1f} {spread:>17} {n.floor:9.1f} {n.ratio:6.2f}"
        self.say(f"{n.measure:38} {numbers}  {n.target} [{n.unit}]")

    def compare(
        self, measure: str, ours: Callable[[], object], floor: Callable[[], object] | None, target: str
    ) -> None:
        """One measure in ms."""
        taken: tuple[list[float], list[float]] = ([], [])
        for i in range(self.runs + 1):
            for way, times in zip((ours, floor), taken, strict=True):
                if way is None:
                    continue
                start = self.clock()
                way()
                if i:  # the first warms up
                    times.append((self.clock() - start) * 1e3)
        median = statistics.median(taken[0])
        below = statistics.median(taken[1]) if taken[1] else 0.0
        line = Line(
            measure,
            "ms",
            median,
            (min(taken[0]), max(taken[0])),
            below,
            median / below if below else 0.0,
            target,
        )
        self.keep(line)


def writing(bench: Bench, folder: Path, data: Data) -> Lake:
    """Bulk write of three tables into an empty lake; beside it pyarrow, the same columns, a file a table."""
    empty = [Lake.open(str(folder / f"bulk{i}"), create=True) for i in range(bench.runs + 1)]
    left = iter(empty)

    def ours() -> None:
        lake = next(left)
        for name, rows in data.items():
            lake.append(name, rows)

    def floor() -> None:
        for name, rows in data.items():
            pq.write_table(rows, folder / f"{name}.parquet", row_group_size=ROW_GROUP, **{
                k: v for k, v in encoding(rows.schema).items() if k != "row_group_size"
            })  # fmt: skip

    bench.compare("bulk write, 1,000,000 steps", ours, floor, "≤ 1.5 × pyarrow")
    lake = empty[0]
    size = sum(os.path.getsize(f) for name in data for f in lake.files(name)) / 1e6
    below = sum((folder / f"{name}.parquet").stat().st_size for name in data) / 1e6
    bench.keep(Line("size on disk", "MB", size, (size, size), below, size / below, "≤ 110 MB"))
    return lake


def exact(lake: Lake, table: str, ids: list[str]) -> str:
    """read_parquet over the files that hold the episodes."""
    files = []
    for file in lake.files(table):
        held = pq.ParquetFile(file).read(columns=["episode_id"])["episode_id"]
        if not set(ids).isdisjoint(held.unique().to_pylist()):
            files.append(file)
    return f"read_parquet({files}, hive_partitioning = true)"


def fresh(statement: str) -> pa.Table:
    """A DuckDB of its own, one query."""
    with connection() as con:
        return run(con, statement)


POINT = "SELECT * FROM {steps} WHERE episode_id IN ({ids})"
AGGREGATE = "SELECT actor, count(*), avg(state_age_ns), max(t_ns) FROM {steps} GROUP BY 1"
JOIN = (
    "SELECT e.task, g.kind, count(*), avg(s.state_age_ns) FROM {steps} s "
    "JOIN {episodes} e USING (episode_id) JOIN {segments} g USING (episode_id) "
    "WHERE s.step BETWEEN g.first_step AND g.last_step GROUP BY ALL"
)


def reading(bench: Bench, lake: Lake) -> None:
    """Four queries at 500 episodes."""
    ids = sorted(lake.read("episodes", columns=["episode_id"])["episode_id"].to_pylist())
    whole = {
        n: f"read_parquet({lake.files(n)}, hive_partitioning = true)"
        for n in ("steps", "episodes", "segments")
    }
    views = {name: name for name in whole}
    for measure, chosen in (("one episode by id", ids[123:124]), ("20 episodes", ids[::25])):
        listed = ", ".join(f"'{i}'" for i in chosen)
        ours = POINT.format(steps="steps", ids=listed)
        floor = POINT.format(steps=exact(lake, "steps", chosen), ids=listed)
        bench.compare(measure, lambda q=ours: lake.sql(q), lambda q=floor: fresh(q), "≤ 2 × DuckDB")
    for measure, text in (("aggregate", AGGREGATE), ("three-way join", JOIN)):
        ours, floor = text.format(**views), text.format(**whole)
        bench.compare(measure, lambda q=ours: lake.sql(q), lambda q=floor: fresh(q), "≤ 2 × DuckDB")


def many_episodes(bench: Bench, folder: Path, few: Lake, episodes: int) -> None:
    """The point lookup at many episodes after compaction, beside the same at 500."""
    lake = Lake.open(str(folder / "many"), create=True)
    data = made(episodes, 20, days=50)
    for part in range(4):
        size = episodes // 4
        for name, rows in data.items():
            times = 20 if name == "steps" else 1
            lake.append(name, rows.slice(part * size * times, size * times))
    compact(lake)

    def point(where: Lake) -> Callable[[], pa.Table]:
        ids = sorted(where.read("episodes", columns=["episode_id"])["episode_id"].to_pylist())
        return lambda: where.sql("SELECT * FROM steps WHERE episode_id = ?", [ids[123]])

    bench.compare(f"one episode of {episodes:,}, compacted", point(lake), point(few), "≤ 3 × at 500")


def many_commits(bench: Bench, folder: Path, commits: int) -> None:
    """Opening a lake whose episodes came in so many commits."""
    root = str(folder / "commits")
    lake = Lake.open(root, create=True)
    rows = made(commits, 1, days=10)["episodes"]
    for i in range(commits):
        lake.append("episodes", rows.slice(i, 1))
    bench.compare(f"open at {commits:,} commits", lambda: Lake.open(root).versions(), None, "≤ 100 ms")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--clock", choices=CLOCKS, default="cpu")
    options.add_argument("--episodes", type=int, default=100_000)
    options.add_argument("--commits", type=int, default=2000)
    chosen = options.parse_args()
    bench = Bench(chosen.runs, CLOCKS[chosen.clock], chosen.json)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = writing(bench, folder, made(500, 2000, days=10))
        reading(bench, lake)
        many_episodes(bench, folder, lake, chosen.episodes)
        many_commits(bench, folder, chosen.commits)
    if chosen.json:
        print(json.dumps([asdict(line) for line in bench.lines]))


if __name__ == "__main__":
    main()
