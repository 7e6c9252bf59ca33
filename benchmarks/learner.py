"""Updates per second of the learner beside QAM's official code, where an update's time goes, each switch.

    python -m benchmarks.learner [--json] [--seconds 5] [--threads 2] [--only peer|parts|switches]
        [--peer <checkout of ColinQiyangLi/qam> --peer-python <interpreter with JAX>]

Same sizes and threads; what is compared takes turns, so that a busy machine slows all alike; without --peer
its rows are left out. "Products alone" is the floor: as many operations as the update has, as large products.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from benchmarks.learner_parts import count_flops, parts
from lwd_core.rl.batch import Batch, Noise, prepare
from lwd_core.rl.chosen import choose
from lwd_core.rl.compute.engine import Engine
from lwd_core.rl.divl import DIVLConfig
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.extraction import EXTRACTIONS
from lwd_core.rl.imitation import ImitationConfig, ImitationLearner
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.networks import CriticShape, FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.policy_td import PolicyTDConfig, PolicyTDLearner
from lwd_core.rl.progress import Progress
from lwd_core.rl.reference import ReferenceConfig


@dataclass(frozen=True)
class Size:
    """Networks and batch of one comparison."""

    hidden: int
    layers: int
    heads: int
    batch: int
    state: int = 39
    chunk: int = 5
    dims: int = 4


OFFICIAL, DEMO = Size(512, 4, 10, 256), Size(256, 3, 2, 128)
SIZES = {"4×512, 10 critics, batch 256": OFFICIAL, "3×256, 2 critics, batch 128": DEMO}
extraction = partial(choose, EXTRACTIONS)
REFRESHED = ReferenceConfig(mode="refreshed")
SWITCHES = {
    "LWD: DIVL + QAM, frozen reference": LearnerConfig(),
    "refreshed reference": LearnerConfig(reference=REFRESHED),
    "paths of the reference": LearnerConfig(extraction=extraction("qam", path="reference")),
    "least of the heads": LearnerConfig(extraction=extraction("qam", aggregate="min")),
    "temperature by dual descent": LearnerConfig(extraction=extraction("qam", kl_budget=0.1)),
    "constant τ": LearnerConfig(divl=DIVLConfig(adaptive=False)),
    "expectile": LearnerConfig(divl=DIVLConfig(value="expectile")),
    "policy on a quarter, every second": LearnerConfig(policy_stride=4, policy_every=2),
    "FQL": LearnerConfig(extraction=extraction("fql")),
    "best of 8, cloned": LearnerConfig(extraction=extraction("best_of_n")),
    "advantage-conditioned": LearnerConfig(extraction=extraction("advantage")),
    "best of 8 at acting": LearnerConfig(extraction=extraction("reference"), reference=REFRESHED),
}


CLONED: dict[str, Literal["all", "success", "human"]] = {
    "BC, which is SFT": "all",
    "filtered BC": "success",
    "HG-DAgger": "human",
}
ENGINES = {
    "fp32": Engine(torch.device("cpu")),
    "bf16": Engine(torch.device("cpu"), bf16=True),
}
ROUNDS = 5


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--seconds", type=float, default=5, help="per measure")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--peer", help="checkout of the official code")
    options.add_argument("--peer-python", help="interpreter with JAX, flax, optax and ml_collections")
    options.add_argument("--only", choices=("peer", "parts", "switches"), help="one of the tables")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    rows: list[dict[str, object]] = []

    def show(line: str) -> None:
        if not chosen.json:
            print(line, flush=True)

    if chosen.only in (None, "peer"):
        for name, size in SIZES.items():
            show(
                f"\nQAM's update, {name}: updates/s, median (least to most), and per second of processor time"
            )
            for row in compare(chosen, size):
                rows.append({"size": name, **row})
                show(_line(row))
    if chosen.only in (None, "parts"):
        for name, size in SIZES.items():
            for kind in ("fp32", "bf16"):
                show(f"\nLWD's update, {name}, {kind}: where the time goes")
                show(f"{'part':24} {'GFLOP':>8} {'ms':>8} {'floor ms':>9} {'share':>6}")
                engine, learner = ENGINES[kind], lwd_learner(size)
                floor = products(size, torch.bfloat16 if engine.bf16 else torch.float32, 1.0)
                batch = new_batch(size, learner.policy)
                for part in parts(learner, batch, engine, floor, chosen.seconds):
                    rows.append({"size": name, "engine": kind, **asdict(part), "share": part.share})
                    figures = f"{part.gflop:8.3f} {part.ms:8.2f} {part.floor_ms:9.2f} {part.share:6.0%}"
                    show(f"{part.name:24} {figures}")
    if chosen.only in (None, "switches"):
        show(f"\n{'switch, 3×256, 2 critics, batch 128; updates/s':58} {'fp32':>8} {'bf16':>8}")
        turns = {n: partial(cloning, data=d) for n, d in CLONED.items()}
        turns |= {n: partial(lwd, config=c) for n, c in SWITCHES.items()}
        for name, make in turns.items():
            speeds = {kind: rate(make(DEMO), chosen.seconds / 2, ENGINES[kind]) for kind in ENGINES}
            rows.append({"switch": name, **speeds})
            show(f"{name:58} {speeds['fp32']:8.2f} {speeds['bf16']:8.2f}")
    if chosen.json:
        print(json.dumps(rows))


def compare(chosen: argparse.Namespace, size: Size) -> Iterator[dict[str, object]]:
    """Ours with every engine, the official code and the products' speed, turn by turn."""
    gflop = count_flops(official(size)) / 1e9
    turns: dict[str, Callable[[float], Turn]] = {
        name: partial(run, official(size), engine=engine) for name, engine in ENGINES.items()
    }
    for kind, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        turns[f"products alone, {kind}"] = partial(run, products(size, dtype, gflop))
    peer = Peer(chosen, size) if chosen.peer else None
    if peer:
        turns["official code, JAX"] = peer.run
    seen: dict[str, list[Turn]] = {name: [] for name in turns}
    try:
        for turn in turns.values():
            turn(0)  # compiles, warms up
        for _ in range(ROUNDS):
            for name, turn in turns.items():
                seen[name].append(turn(chosen.seconds / ROUNDS))
    finally:
        if peer:
            peer.stop()
    theirs = seen.get("official code, JAX")
    for name, all_turns in seen.items():
        rates = [t.updates / t.seconds for t in all_turns]
        busy = [t.updates / t.processor for t in all_turns]
        row: dict[str, object] = {"measure": name, "gflop": gflop, "median": median(rates)}
        row |= {"least": min(rates), "most": max(rates), "per_processor_second": median(busy)}
        if theirs:
            row["ratio"] = median(r * t.seconds / t.updates for r, t in zip(rates, theirs, strict=True))
            row["processor_ratio"] = median(
                b * t.processor / t.updates for b, t in zip(busy, theirs, strict=True)
            )
        yield row


def _line(row: dict[str, object]) -> str:
    right = (
        f"× {row['ratio']:5.2f}, by processor time × {row['processor_ratio']:5.2f}" if "ratio" in row else ""
    )
    return (
        f"{row['measure']:22} {row['median']:8.2f} ({row['least']:.2f} to {row['most']:.2f}) "
        f"{row['per_processor_second']:8.2f}  {right}"
    )


def official(size: Size) -> Callable[[int], object]:
    """QAM's own update."""
    policy = new_policy(size, instruction_features=0)
    learner = PolicyTDLearner(PolicyTDConfig(), policy, shape(size, 0))
    return stepper(learner, size, policy)


def lwd(size: Size, config: LearnerConfig) -> Callable[[int], object]:
    """LWD's update, or a baseline on its value."""
    policy = new_policy(size, instruction_features=32)
    return stepper(Learner(config, policy, shape(size, 32)), size, policy)


def lwd_learner(size: Size) -> Learner:
    """With every part an update can have."""
    policy = new_policy(size, instruction_features=32)
    return Learner(LearnerConfig(reference=REFRESHED), policy, shape(size, 32))


def cloning(size: Size, data: Literal["all", "success", "human"]) -> Callable[[int], object]:
    """Supervised flow matching on the chosen chunks."""
    policy = new_policy(size, instruction_features=32)
    return stepper(ImitationLearner(ImitationConfig(data=data), policy), size, policy)


def new_policy(size: Size, instruction_features: int) -> FlowPolicy:
    encoder = EncoderConfig(size.state, instruction_features=instruction_features)
    return FlowPolicy(PolicyConfig(FieldConfig(encoder, size.dims, size.chunk, size.hidden, size.layers)))


def shape(size: Size, instruction_features: int) -> CriticShape:
    return CriticShape(size.hidden, size.layers, 0, size.heads, instruction_features)


def stepper(learner, size: Size, policy: FlowPolicy) -> Callable[[int], object]:
    """One update on one random batch, loader's conversion included."""
    noise, raw = Noise(torch.Generator().manual_seed(0)), raw_batch(size)
    return lambda u: learner.update(_prepared(raw, policy), noise, Progress(u, 1_000_000))


def new_batch(size: Size, policy: FlowPolicy) -> Batch:
    """A random minibatch."""
    return _prepared(raw_batch(size), policy)


def _prepared(raw: dict[str, torch.Tensor], policy: FlowPolicy) -> Batch:
    return prepare(raw, policy.normaliser, EMBEDDINGS)


EMBEDDINGS = torch.nn.functional.normalize(
    torch.randn(8, 384, generator=torch.Generator().manual_seed(0)), dim=-1
)


def raw_batch(size: Size) -> dict[str, torch.Tensor]:
    """A loader's, of random numbers."""
    b = size.batch
    return {
        "state": torch.randn(b, size.state),
        "next_state": torch.randn(b, size.state),
        "action": torch.rand(b, size.chunk, size.dims) * 2 - 1,
        "mask": torch.ones(b, size.chunk),
        "action_dim_mask": torch.ones(b, size.dims),
        "reward": torch.zeros(b),
        "discount": torch.full((b,), 0.99),
        "instruction": torch.arange(b) % 8,
        "task": torch.arange(b) % 8,
        "success": torch.arange(b) % 2 == 0,
        "human": torch.arange(b) % 3 == 0,
    }


@dataclass(frozen=True)
class Turn:
    """So many updates in so many seconds, of the clock and of all processors."""

    updates: int
    seconds: float
    processor: float


def run(update: Callable[[int], object], seconds: float, engine: Engine = ENGINES["fp32"]) -> Turn:
    """Updates until the time is over, at least one."""
    count, begin, busy = 0, time.perf_counter(), time.process_time()
    with engine.running():
        while not count or time.perf_counter() - begin < seconds:
            update(count)
            count += 1
    return Turn(count, time.perf_counter() - begin, time.process_time() - busy)


def rate(update: Callable[[int], object], seconds: float, engine: Engine) -> float:
    """Updates a second, warm."""
    for _ in range(3):
        run(update, 0, engine)
    turn = run(update, seconds, engine)
    return turn.updates / turn.seconds


def products(size: Size, dtype: torch.dtype, gflop: float) -> Callable[[int], object]:
    """The update's floor: as many operations as it has, in products of one hidden layer along ten steps."""
    h, rows = size.hidden, 10 * size.batch
    a, b = torch.randn(rows, h).to(dtype), torch.randn(h, h).to(dtype)
    times = max(1, round(gflop * 1e9 / (2 * rows * h * h)))

    def update(_: int) -> None:
        for _ in range(times):
            torch.mm(a, b)

    return update


class Peer:
    """The official code in a process of its own, on the same processors, run turn by turn."""

    def __init__(self, chosen: argparse.Namespace, size: Size):
        cpus = sorted(os.sched_getaffinity(0))[: chosen.threads]
        self.process = subprocess.Popen(
            [
                chosen.peer_python,
                "-m",
                "benchmarks.learner_peer",
                os.path.abspath(chosen.peer),
                json.dumps(asdict(size)),
            ],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, seconds: float) -> Turn:
        assert self.process.stdin
        assert self.process.stdout
        print(seconds, file=self.process.stdin, flush=True)
        updates, clock, processor = self.process.stdout.readline().split()
        return Turn(int(updates), float(clock), float(processor))

    def stop(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=30)


if __name__ == "__main__":
    main()
