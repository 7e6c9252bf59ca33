"""Snapshots and their loader, beside memcpy and beside other ways to keep the same data.

    python -m benchmarks.loader [--json] [--steps 1000000] [--runs 5] [--clock wall|cpu]

Transitions of 488 bytes: state and next state of 39, a chunk of 10 actions of 4, reward, discount, episode
and frame; then with everything else a batch can hold. Batches of 256, torch tensors, one thread.
``--clock cpu`` counts processor time, for a machine that others use too.
"""

import argparse
import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
import torch
from webdataset.compat import WebDataset

from lwd_core.lake.place import open_place
from lwd_core.lake.store import Lake
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.loader import TransitionLoader
from lwd_core.snapshots.loader_images import ImageLoader
from lwd_core.snapshots.pool import COLUMNS as ALL_COLUMNS
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import TABLES

STATE, ACTION, CHUNK, BATCH, LENGTH = 39, 4, 10, 256, 300
RECORD, COLUMNS = 488, ("state", "next_state", "action", "reward", "discount", "episode", "frame")
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
        ("the same, every column of a batch", ALL_COLUMNS, True, ""),
    ):
        rates = [
            rate(clock, TransitionLoader(snapshot, BATCH, s, columns=columns, balance_tasks=balanced), 12_000)
            for s in range(runs)
        ]
        yield line(name, "/s", rates, alike, floor, target)
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


def timed(clock: Callable[[], float], action: Callable[[], Any]) -> float:
    """Seconds an action takes."""
    begin = clock()
    action()
    return clock() - begin


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


def memcpy(clock: Callable[[], float]) -> float:
    """Samples a second if a batch were a plain copy of 256 records lying side by side."""
    records = np.ones((1_000_000, RECORD // 4), np.float32)
    batch = torch.empty((BATCH, RECORD // 4)).numpy()
    begins = np.random.default_rng(0).integers(0, len(records) - BATCH, 4000).tolist()

    def copy() -> None:
        for begin in begins:
            np.copyto(batch, records[begin : begin + BATCH])

    return len(begins) * BATCH / timed(clock, copy)


def synthetic_lake(root: Path, steps: int) -> Lake:
    """A lake of episodes of 300 steps, noise for state and action."""
    lake = Lake.open(str(root), create=True)
    rng = np.random.default_rng(0)
    count = max(1, steps // LENGTH)
    ids = [f"{int.from_bytes(rng.bytes(16), 'big'):032x}" for _ in range(count)]
    shared = {"site": "lab", "day": "2026-01-01"}
    for begin in range(0, count, 1000):
        part = ids[begin : begin + 1000]
        rows = len(part) * LENGTH
        lake.append(
            "steps",
            pa.table(
                {
                    "episode_id": pa.array(np.repeat(part, LENGTH)),
                    "log_id": pa.array(np.repeat(part, LENGTH)),
                    **{k: pa.array([v] * rows) for k, v in shared.items()},
                    "step": pa.array(np.tile(np.arange(LENGTH, dtype=np.int32), len(part))),
                    "t_ns": pa.array(np.tile(np.arange(LENGTH) * 12_500_000, len(part))),
                    "state": vectors(rng, rows, STATE),
                    "action": vectors(rng, rows, ACTION),
                    "actor": pa.array(["policy"] * rows),
                    "valid": pa.array(np.ones(rows, bool)),
                    "gap": pa.array(np.zeros(rows, bool)),
                }
            ),
        )
    episode = shared | {
        "index_in_log": 0, "robot_id": "r", "embodiment": "arm", "instruction": "reach", "policy_id": None,
        "source": "rollout", "outcome": "success", "outcome_from": "robot", "end": "terminated",
        "steps": LENGTH, "human_steps": 0, "interventions": 0, "start_ns": 0, "end_ns": 1, "control_hz": 80.0,
        "first_message": 0, "last_message": 1, "attributes": "{}", "created_ns": 0,
    }  # fmt: skip
    episodes = [episode | {"episode_id": e, "log_id": e, "task": f"task {i % 8}"} for i, e in enumerate(ids)]
    lake.append("episodes", pa.Table.from_pylist(episodes, TABLES["episodes"].schema))
    return lake


def vectors(rng: np.random.Generator, rows: int, width: int) -> pa.Array:
    """Lists of ``width`` normal numbers."""
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(rng.standard_normal(rows * width, np.float32)))


def transition(rng: np.random.Generator) -> dict[str, Any]:
    """One transition as other formats keep it."""
    return {
        "state": rng.standard_normal(STATE, np.float32),
        "next_state": rng.standard_normal(STATE, np.float32),
        "action": rng.standard_normal((CHUNK, ACTION), np.float32),
        "reward": np.float32(0),
        "discount": np.float32(1),
    }


def webdataset_members(clock: Callable[[], float], folder: Path, count: int = 8 * BATCH) -> float:
    """Samples a second of WebDataset with a transition a member (npz), shuffled and collated to tensors."""
    path, rng = folder / "members.tar", np.random.default_rng(0)
    if not path.exists():
        with tarfile.open(path, "w") as tar:
            for i in range(count):
                data = io.BytesIO()
                np.savez(data, **transition(rng))
                info = tarfile.TarInfo(f"{i:06d}.npz")
                info.size = data.tell()
                data.seek(0)
                tar.addfile(info, data)
    samples: Any = WebDataset(str(path), shardshuffle=False, empty_check=False).shuffle(1000).decode()

    def read() -> None:
        batch = []
        for sample in samples:
            batch.append(sample["npz"])
            if len(batch) == BATCH:
                {k: torch.from_numpy(np.stack([b[k] for b in batch])) for k in batch[0]}
                batch = []

    return count / timed(clock, read)


def lerobot_style(clock: Callable[[], float], folder: Path, count: int = 8 * BATCH) -> float:
    """Samples a second of random rows of a Parquet table, each with its window of actions, collated."""
    path, rng, rows = folder / "rows.parquet", np.random.default_rng(0), 100 * LENGTH
    if not path.exists():
        columns = {
            "observation.state": vectors(rng, rows, STATE),
            "action": vectors(rng, rows, ACTION),
            "episode_index": pa.array(np.repeat(np.arange(100), LENGTH)),
            "frame_index": pa.array(np.tile(np.arange(LENGTH), 100)),
        }
        pq.write_table(pa.table(columns), path)
    table = pq.read_table(path)
    state, action = table["observation.state"].combine_chunks(), table["action"].combine_chunks()
    episode, frame = table["episode_index"], table["frame_index"]

    def sample(i: int) -> dict[str, torch.Tensor]:
        last = i - frame[i].as_py() + LENGTH - 1
        window = [min(i + k, last) for k in range(CHUNK)]
        return {
            "state": torch.tensor(state[i].as_py()),
            "next_state": torch.tensor(state[min(i + CHUNK, last)].as_py()),
            "action": torch.stack([torch.tensor(action[k].as_py()) for k in window]),
            "padded": torch.tensor([i + k > last for k in range(CHUNK)]),
            "episode": torch.tensor(episode[i].as_py()),
        }

    def read() -> None:
        for _ in range(count // BATCH):
            torch.utils.data.default_collate([sample(i) for i in rng.integers(0, rows, BATCH).tolist()])

    return count / timed(clock, read)


def images(clock: Callable[[], float], folder: Path, runs: int) -> tuple[list[float], list[float]]:
    """Frames a second through the loader, and of simplejpeg on the same bytes in memory."""
    cameras, length, size, rng = ("left", "right", "wrist"), 200, 224, np.random.default_rng(0)
    lake = synthetic_lake(folder / "filmed", LENGTH)
    identity = lake.read("episodes")["episode_id"][0].as_py()
    tar, shown, frames = io.BytesIO(), [], []
    for _ in range(length):
        shown.append([])
        for camera in cameras:
            coarse = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)), quality=85)
            frames.append(data)
            place = {
                "camera": camera,
                "shard": "frames/f.tar",
                "offset": tar.tell(),
                "size": len(data),
                "t_ns": 0,
            }
            shown[-1].append(place)
            tar.write(data)
    with lake.place.write("frames/f.tar") as stream:
        stream.write(tar.getvalue())
    steps = lake.read("steps", where="true ORDER BY step").slice(0, length)
    column = pa.array(shown, TABLES["steps"].schema.field("frames").type)
    steps = steps.set_column(steps.column_names.index("frames"), "frames", column)
    lake.replace("steps", steps, {"episode_id": [identity]})
    episode = lake.read("episodes").to_pylist()[0] | {"steps": length}
    row = pa.Table.from_pylist([episode], TABLES["episodes"].schema)
    lake.replace("episodes", row, {"episode_id": [identity]})
    spec = SnapshotSpec(name="film", chunk=CHUNK, cameras=cameras)
    snapshot = build_snapshot(lake, spec, str(folder / "film"), now_ns=1)
    loader = ImageLoader(TransitionLoader(snapshot, 64, 0), open_place(lake.root), height=size, width=size)
    batch = np.empty((2 * 64 * 3, size, size, 3), np.uint8)  # the memory the loader's two buffers have

    def alone() -> None:
        for i, data in enumerate(frames):
            simplejpeg.decode_jpeg(data, fastdct=True, fastupsample=True, buffer=batch[i % len(batch)])

    def ours() -> None:
        for _ in islice(loader, 8):
            pass

    ours()
    alone()
    pairs = [(timed(clock, ours), timed(clock, alone)) for _ in range(runs)]
    return [8 * 64 * 3 / a for a, _ in pairs], [len(frames) / b for _, b in pairs]


if __name__ == "__main__":
    main()
