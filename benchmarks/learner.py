"""Updates per second of the learner: QAM's own update beside its official code, LWD's update, each switch.

    python -m benchmarks.learner [--json] [--seconds 5] [--threads 2]
        [--peer <checkout of ColinQiyangLi/qam> --peer-python <interpreter with JAX>]

Same sizes and threads in one run; without --peer its column stays empty. Floor: the update's products at the
speed one large product reaches here.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from lwd_core.rl.batch import Batch, Noise, prepare
from lwd_core.rl.divl import DIVLConfig
from lwd_core.rl.encoders import EncoderConfig
from lwd_core.rl.imitation import ImitationConfig, ImitationLearner
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.networks import CriticShape, FieldConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.rl.policy_td import PolicyTDConfig, PolicyTDLearner
from lwd_core.rl.progress import Progress
from lwd_core.rl.qam import QAMConfig


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
SWITCHES = {
    "LWD: DIVL + QAM, frozen reference": LearnerConfig(),
    "refreshed reference": LearnerConfig(qam=QAMConfig(reference="refreshed")),
    "paths of the reference": LearnerConfig(qam=QAMConfig(path="reference")),
    "least of the heads": LearnerConfig(qam=QAMConfig(aggregate="min")),
    "temperature by dual descent": LearnerConfig(qam=QAMConfig(kl_budget=0.1)),
    "constant τ": LearnerConfig(divl=DIVLConfig(adaptive=False)),
    "expectile": LearnerConfig(divl=DIVLConfig(value="expectile")),
    "policy on a quarter, every second": LearnerConfig(policy_stride=4, policy_every=2),
    "FQL": LearnerConfig(extraction="fql"),
    "best of 8, cloned": LearnerConfig(extraction="best_of_n"),
    "advantage-conditioned": LearnerConfig(extraction="advantage"),
    "best of 8 at acting": LearnerConfig(extraction="reference", qam=QAMConfig(reference="refreshed")),
}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true")
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--peer", help="checkout of the official code")
    options.add_argument("--peer-python", help="interpreter with JAX, flax, optax and ml_collections")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    rows: list[dict[str, object]] = []

    def row(measure: str, ours: float, peer: float | None = None) -> None:
        rows.append({"measure": measure, "ours": ours, "peer": peer, "ratio": ours / peer if peer else None})
        if not chosen.json:
            right = f"{peer:9.2f} {ours / peer:7.2f}" if peer else ""
            print(f"{measure:58} {ours:9.2f} {right}", flush=True)

    if not chosen.json:
        print(f"{'measure':58} {'ours':>9} {'peer':>9} {'ratio':>7}")
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        row(f"GFLOP/s of one large {name} product", product_speed(dtype, chosen.seconds / 5))
    for name, size in (("4×512, 10 critics, batch 256", OFFICIAL), ("3×256, 2 critics, batch 128", DEMO)):
        theirs = peer_speed(chosen, size) if chosen.peer else None
        row(f"QAM's update, {name}, updates/s", rate(official(size), chosen.seconds), theirs)
    row("SFT, 3×256, batch 256, updates/s", rate(cloning(replace(DEMO, batch=256)), chosen.seconds))
    for name, config in SWITCHES.items():
        row(f"{name}, updates/s", rate(lwd(DEMO, config), chosen.seconds))
    if chosen.json:
        print(json.dumps(rows))


def official(size: Size) -> Callable[[int], object]:
    """QAM's own update."""
    policy = new_policy(size, instruction_features=0)
    learner = PolicyTDLearner(PolicyTDConfig(), policy, shape(size, 0))
    return stepper(learner, size, policy)


def lwd(size: Size, config: LearnerConfig) -> Callable[[int], object]:
    """LWD's update, or a baseline on its value."""
    policy = new_policy(size, instruction_features=32)
    return stepper(Learner(config, policy, shape(size, 32)), size, policy)


def cloning(size: Size) -> Callable[[int], object]:
    """Supervised flow matching."""
    policy = new_policy(size, instruction_features=32)
    return stepper(ImitationLearner(ImitationConfig(), policy), size, policy)


def new_policy(size: Size, instruction_features: int) -> FlowPolicy:
    encoder = EncoderConfig(size.state, instruction_features=instruction_features)
    return FlowPolicy(PolicyConfig(FieldConfig(encoder, size.dims, size.chunk, size.hidden, size.layers)))


def shape(size: Size, instruction_features: int) -> CriticShape:
    return CriticShape(size.hidden, size.layers, 0, size.heads, instruction_features)


def stepper(learner, size: Size, policy: FlowPolicy) -> Callable[[int], object]:
    """One update on one random batch, loader's conversion included."""
    noise, raw = Noise(torch.Generator().manual_seed(0)), _raw(size)
    return lambda u: learner.update(_prepared(raw, policy), noise, Progress(u, 1_000_000))


def new_batch(size: Size, policy: FlowPolicy) -> Batch:
    """A random minibatch."""
    return _prepared(_raw(size), policy)


def _prepared(raw: dict[str, torch.Tensor], policy: FlowPolicy) -> Batch:
    return prepare(raw, policy.normaliser, EMBEDDINGS)


EMBEDDINGS = torch.nn.functional.normalize(
    torch.randn(8, 384, generator=torch.Generator().manual_seed(0)), dim=-1
)


def _raw(size: Size) -> dict[str, torch.Tensor]:
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


def rate(update: Callable[[int], object], seconds: float) -> float:
    """Updates a second after two to warm up."""
    for u in range(2):
        update(u)
    count, begin = 2, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        update(count)
        count += 1
    return (count - 2) / (time.perf_counter() - begin)


def product_speed(dtype: torch.dtype, seconds: float) -> float:
    """GFLOP/s."""
    a, b = torch.randn(512, 512).to(dtype), torch.randn(512, 512).to(dtype)
    return rate(lambda _: a @ b, seconds) * 2 * 512**3 / 1e9


def peer_speed(chosen: argparse.Namespace, size: Size) -> float:
    """The official code's updates a second at the same size and threads."""
    cpus = sorted(os.sched_getaffinity(0))[: chosen.threads]
    done = subprocess.run(
        [
            chosen.peer_python,
            str(Path(__file__).with_name("learner_peer.py")),
            chosen.peer,
            json.dumps(asdict(size)),
            str(chosen.seconds),
        ],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
