"""What features of frames cost: to make, to load, to learn from, each beside the same without.

    python -m benchmarks.features [--runs 5] [--size 96] [--frames 512] [--features 64] [--tower] [--json]

Made: `build_features` over a lake's JPEG frames (read, hashed, decoded, looked at, written) beside the
backbone alone on those pictures in memory. Loaded: batches of 256 with and without. Learned from: an update
of LWD's learner at the demo's size, by state alone, by features of one camera and, with ``--tower``, by a
tower that learns. One thread; processor time; each run takes all in turn, so that a ratio is of one moment.
Given are medians over the runs and the smallest and largest ratio.
"""
# torch and simplejpeg are untyped in part
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from benchmarks.loader_lake import ACTION, BATCH, CHUNK, LENGTH, STATE, synthetic_lake
from lwd_core.features.build import AT_ONCE, build_features
from lwd_core.features.extractor import FeatureExtractor
from lwd_core.features.loader import FeatureLoader
from lwd_core.features.table import FeatureTable
from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from lwd_core.loader.image_loader import ImageLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.rl.batch import Batch, Noise, prepare
from lwd_core.rl.chosen import choose
from lwd_core.rl.encoders import EYES, EncoderConfig, VisionConfig
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.networks import CriticShape, FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.progress import Progress
from lwd_core.snapshots.build import build_snapshot
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.tables import TABLES

UPDATES = 4
BATCHES = 32
LITE = choose(EYES, "efficientnet-lite0")


@dataclass(frozen=True)
class Row:
    """``ours`` and ``beside``: of a second of processor time. ``ratio``, its least and most over the runs."""

    measure: str
    ours: float
    beside: float
    ratio: float
    least: float
    most: float
    wanted: str = ""


def main() -> None:
    """Measure and print a table, or JSON."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--size", type=int, default=96)
    options.add_argument("--frames", type=int, default=512)
    options.add_argument("--features", type=int, default=64)
    options.add_argument("--tower", action="store_true", help="minutes")
    args = options.parse_args()
    torch.set_num_threads(1)
    heads = f"{'ours':>10} {'beside':>10} {'ratio':>7} {'least':>7} {'most':>7}"
    if not args.json:
        print(f"{'measure, a second of one core':52} {heads}", flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lwd-features-") as folder:
        parts = (
            _made_and_loaded(Path(folder), args.runs, args.size, args.frames),
            _learned(args.runs, args.size, args.features, args.tower),
        )
        for row in chain(*parts):
            rows.append(row)
            if not args.json:
                numbers = (
                    f"{row.ours:10,.1f} {row.beside:10,.1f} {row.ratio:7.2f} {row.least:7.2f} {row.most:7.2f}"
                )
                print(f"{row.measure:52} {numbers}  {row.wanted}", flush=True)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))


def _made_and_loaded(folder: Path, runs: int, size: int, count: int) -> Iterator[Row]:
    lake, pictures = _filmed(folder, count, size)
    extractor = FeatureExtractor(LITE, size, size)

    def make() -> None:
        for path in lake.fs.find(lake.path("features")) if lake.place.exists("features") else []:
            lake.fs.rm_file(path)
        build_features(lake, extractor)

    def alone() -> None:
        for first in range(0, count, AT_ONCE):
            extractor(pictures[first : first + AT_ONCE])

    make()
    made = [(_cpu(make), _cpu(alone)) for _ in range(runs)]
    yield _row("frames made, beside the backbone alone", made, count, wanted=">= 0.9")
    snapshot = build_snapshot(
        lake, SnapshotSpec(name="film", chunk=CHUNK, cameras=("front",)), str(folder / "s"), now_ns=1
    )
    bare = TransitionLoader(snapshot, BATCH, 0)
    seeing = FeatureLoader(
        TransitionLoader(snapshot, BATCH, 0), FeatureTable(lake.place, extractor), following=True
    )
    looking = ImageLoader(
        TransitionLoader(snapshot, BATCH, 0), lake.place, height=size, width=size, following=True
    )
    turns = [lambda s=source: _take(s) for source in (seeing, bare, looking)]
    for turn in turns:
        turn()
    loaded = [tuple(map(_cpu, turns)) for _ in range(runs)]
    rate = BATCHES * BATCH
    yield _row("samples with features, beside those without", [t[:2] for t in loaded], rate)
    yield _row("samples with features, beside those with frames", [(t[0], t[2]) for t in loaded], rate)


def _learned(runs: int, size: int, features: int, tower: bool) -> Iterator[Row]:
    seeing = VisionConfig(("front",), size, size, features=features, pretrained=LITE)
    learning = VisionConfig(("front",), size, size, features=features)
    turns = [_update(vision, size) for vision in (seeing, None, *([learning] if tower else []))]
    for turn in turns:
        turn()
    took = [tuple(map(_cpu, turns)) for _ in range(runs)]
    yield _row("updates by features, beside state alone", [t[:2] for t in took], UPDATES, wanted=">= 0.7")
    if tower:
        beside = [(t[0], t[2]) for t in took]
        yield _row("updates by features, beside a tower that learns", beside, UPDATES)


def _update(vision: VisionConfig | None, size: int) -> Callable[[], None]:
    torch.manual_seed(0)
    field = FieldConfig(EncoderConfig(STATE, vision=vision), ACTION, 5)
    learner = Learner(LearnerConfig(), FlowPolicy(PolicyConfig(field)), CriticShape())
    batch, noise = _batch(vision, learner.policy, size), Noise(torch.Generator().manual_seed(0))

    def some() -> None:
        for update in range(UPDATES):
            learner.update(batch, noise, Progress(update, 1000))

    return some


def _batch(vision: VisionConfig | None, policy: FlowPolicy, size: int) -> Batch:
    rng = torch.Generator().manual_seed(0)
    ones = torch.ones(BATCH)
    raw = {
        "state": torch.randn(BATCH, STATE, generator=rng),
        "next_state": torch.randn(BATCH, STATE, generator=rng),
        "action": torch.rand(BATCH, 5, ACTION, generator=rng) * 2 - 1,
        "mask": torch.ones(BATCH, 5),
        "action_dim_mask": torch.ones(BATCH, ACTION),
        "reward": ones * 0,
        "discount": ones * 0.95,
        "success": ones.bool(),
        "human": ones.bool(),
        "instruction": torch.zeros(BATCH, dtype=torch.int64),
        "task": torch.zeros(BATCH, dtype=torch.int64),
    }
    for which in ("", "next_") if vision else ():
        if vision and vision.pretrained:
            raw[f"{which}features"] = torch.rand(BATCH, 1, vision.pretrained.made.width, generator=rng)
        else:
            raw[f"{which}image"] = torch.randint(0, 256, (BATCH, 1, size, size, 3), dtype=torch.uint8)
    return prepare(raw, policy.normaliser, torch.randn(1, 384, generator=rng))


def _filmed(folder: Path, count: int, size: int) -> tuple[Lake, np.ndarray]:
    """A lake whose first steps show frames, each its own, and the pictures as they are decoded."""
    lake = synthetic_lake(folder / "lake", max(count, 2 * LENGTH))
    rng = np.random.default_rng(0)
    steps = lake.read("steps", where="true ORDER BY episode_id, step").slice(0, count)
    pictures, shown = np.empty((count, size, size, 3), np.uint8), []
    with FrameShards(lake.place, "f" * 32, "lab", "2026-01-01") as shards:
        for i in range(count):
            coarse = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1)), quality=85)
            simplejpeg.decode_jpeg(data, fastdct=True, fastupsample=True, buffer=pictures[i])
            shard, offset, length = shards.put("front", i, data)
            shown.append([{"camera": "front", "shard": shard, "offset": offset, "size": length, "t_ns": i}])
    column = pa.array(shown, TABLES["steps"].schema.field("frames").type)
    filmed = steps.set_column(steps.column_names.index("frames"), "frames", column)
    rest = lake.read("steps", where="true ORDER BY episode_id, step").slice(count)
    lake.replace("steps", pa.concat_tables([filmed, rest]), {"day": ["2026-01-01"]})
    return lake, pictures


def _take(source: FeatureLoader | ImageLoader | TransitionLoader) -> None:
    for _ in islice(source, BATCHES):
        pass


def _cpu(action: Callable[[], None]) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin


def _row(measure: str, took: list[tuple[float, ...]], count: int, wanted: str = "") -> Row:
    ours, beside = zip(*took, strict=True)
    ratios = sorted(b / a for a, b in zip(ours, beside, strict=True))
    return Row(
        measure, count / statistics.median(ours), count / statistics.median(beside),
        statistics.median(ratios), ratios[0], ratios[-1], wanted,
    )  # fmt: skip


if __name__ == "__main__":
    main()
