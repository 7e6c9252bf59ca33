"""One prepared run on one card, of eight minutes at most: is the learner right there, and how fast is it.

    python -m benchmarks.gpu [--device cuda] [--seconds 3] [--limit 450] [--tiny] [--json FILE]

Parts, in this order; what fails is told and the next goes on, what there is no time for is told:

    agreement   two updates of each switch on the device and on the CPU: losses and weights
    mlp         updates/s and memory of the sizes of `benchmarks.learner`, float32 and bf16, beside the floor:
                as many operations in products of the same shape, and in large ones
    workers     two processes that share a batch on the one card, over gloo (nccl wants a card each)
    vla         SmolVLA and pi0.5 at true size, random weights, expert only, backbone in bf16: cloning and
                QAM, batches doubled until memory is full

``--tiny`` takes networks of a few thousand numbers, for a CPU. Not run on a GPU yet.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor, multiprocessing, nn
from torch import distributed as dist

from benchmarks.learner import DEMO, EMBEDDINGS, OFFICIAL, SIZES, SWITCHES, Size, new_policy, raw_batch, shape
from benchmarks.learner_parts import count_flops
from lwd_core.rl.batch import Batch, Noise, prepare
from lwd_core.rl.compute.engine import Engine
from lwd_core.rl.flow import flow_matching_loss
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.progress import Progress
from lwd_core.rl.qam import QAM, policy_loss
from lwd_core.rl.vla.checkpoint import new_model
from lwd_core.rl.vla.config import VlaConfig
from lwd_core.rl.vla.costs import Costs
from lwd_core.rl.vla.sizes import PALIGEMMA, SMOLVLM, PictureSizes, Sizes, StackSizes, expert_of

Row = dict[str, object]
# of whose types torch leaves a part unknown
_seed: Callable[[int], object] = cast(Any, torch).manual_seed
_processes = cast(Any, multiprocessing)
_TINY = replace(DEMO, hidden=16, layers=2, batch=8)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Measure, print, and return what was printed."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--seconds", type=float, default=3.0, help="per measure")
    options.add_argument("--limit", type=float, default=450.0, help="seconds for all")
    options.add_argument("--tiny", action="store_true")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args(arguments)
    device, end = torch.device(chosen.device), time.monotonic() + chosen.limit
    cuda = device.type == "cuda"
    rows: list[Row] = [
        {
            "part": "machine",
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "torch": torch.__version__,
        }
    ]
    print(rows[0], flush=True)
    parts = {"agreement": agreement, "mlp": mlp, "workers": shared, "vla": vla}
    for name, part in parts.items():
        found = part(device, chosen.seconds, chosen.tiny)
        while True:
            try:
                row = next(found, None) if time.monotonic() < end else {"fault": "no time left"}
            except Exception as error:  # the others are worth their minutes
                row = {"fault": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            if row is None:
                break
            rows.append({"part": name, **row})
            print(
                " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in rows[-1].items())
            )
            if "fault" in row:
                break
        if chosen.json:
            chosen.json.write_text(json.dumps(rows, indent=1))
    return rows


def agreement(device: torch.device, _seconds: float, tiny: bool) -> Iterator[Row]:
    """How far an update on the device is from the CPU's, for each switch."""
    size = _TINY if tiny else DEMO
    for name, config in list(SWITCHES.items())[: 1 if tiny else None]:
        ends = [_two_updates(size, config, where) for where in (torch.device("cpu"), device)]
        (ours, here), (theirs, there) = ends
        yield {
            "switch": name,
            "figures differ": max(abs(ours[k] - theirs[k]) / (1e-3 + abs(ours[k])) for k in ours),
            "weights differ": max(float((a - b).abs().max()) for a, b in zip(here, there, strict=True)),
        }


def _two_updates(
    size: Size, config: LearnerConfig, device: torch.device, rows: Tensor | None = None
) -> tuple[dict[str, float], list[Tensor]]:
    learner, batch = _learner(size, config, device, rows)
    noise, info = Noise(torch.Generator().manual_seed(0)), dict[str, Tensor]()
    with Engine(device).running():
        for update in range(2):
            info = learner.update(batch, noise, Progress(update, 2))
    weights = [p.detach().cpu() for p in learner.policy.parameters()]
    return {name: float(value) for name, value in info.items()}, weights


def _learner(
    size: Size, config: LearnerConfig, device: torch.device, rows: Tensor | None = None
) -> tuple[Learner, Batch]:
    """The same weights and batch whatever the device; ``rows`` of it alone for a worker that shares it."""
    _seed(0)
    policy = new_policy(size, instruction_features=32)
    learner = Learner(config, policy, shape(size, 32))
    _seed(1)
    raw = raw_batch(size)
    if rows is not None:
        raw = {name: value[rows] for name, value in raw.items()} | {"rows": rows}
    batch = prepare(raw, policy.normaliser, EMBEDDINGS, 0 if rows is None else size.batch)
    for module in learner.modules().values():
        module.to(device)
    return learner, batch.to(device)


def mlp(device: torch.device, seconds: float, tiny: bool) -> Iterator[Row]:
    """LWD's update beside its products alone."""
    for (name, size), bf16 in product({"tiny": _TINY}.items() if tiny else SIZES.items(), (False, True)):
        learner, batch = _learner(size, LearnerConfig(), device)
        noise, engine = Noise(torch.Generator().manual_seed(0)), Engine(device, bf16)

        def update(learner: Learner = learner, batch: Batch = batch, noise: Noise = noise) -> object:
            return learner.update(batch, noise, Progress(0, 1_000_000))

        flops = float(count_flops(lambda _, update=update: update()))
        with engine.running():
            speed, memory = _speed(update, device, seconds)
        dtype = torch.bfloat16 if bf16 else torch.float32
        same = _products(device, dtype, (10 * size.batch, size.hidden, size.hidden), seconds / 3)
        large = _products(device, dtype, (256, 256, 256) if tiny else (8192, 8192, 8192), seconds / 3)
        yield {
            "size": name,
            "type": "bf16" if bf16 else "fp32",
            "updates/s": speed,
            "MiB": memory,
            "GFLOP": flops / 1e9,
            "floor/s": same / flops,
            "large products TFLOP/s": large / 1e12,
        }


def vla(device: torch.device, seconds: float, tiny: bool) -> Iterator[Row]:
    """Updates of an action expert on a frozen backbone, whose prefix is computed anew for each batch."""
    for name, config in (_tiny_vla() if tiny else _true_vla()).items():
        costs = Costs.of(config)
        with torch.device(device):
            theta = new_model(config).to(torch.bfloat16).requires_grad_(False)
        learned, frozen = list(theta.expert_parameters()), list(theta.backbone_parameters())
        for parameter in learned:
            parameter.data = parameter.data.float()
            parameter.requires_grad_()
        memo = {id(p): p for p in (*frozen, *theta.buffers())}
        beta = copy.deepcopy(theta, memo).requires_grad_(False)
        theta.checkpointing = True
        optimiser = torch.optim.AdamW(learned, lr=1e-5)
        for method in ("cloning", "qam"):
            for batch in (2,) if tiny else (8, 16, 32, 64):
                update = _vla_update(theta, beta, config, method, batch, optimiser, device)
                try:
                    with Engine(device, bf16=True).running():
                        speed, memory = _speed(update, device, seconds)
                except torch.OutOfMemoryError:
                    torch.cuda.empty_cache()
                    break
                work = costs.cloning() if method == "cloning" else costs.qam()
                yield {
                    "network": name,
                    "method": method,
                    "batch": batch,
                    "updates/s": speed,
                    "MiB": memory,
                    "TFLOP/s by arithmetic": speed * batch * work / 1e12,
                }
        del theta, beta, optimiser, learned, frozen, memo
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _vla_update(
    theta: Any,
    beta: Any,
    config: VlaConfig,
    method: str,
    batch: int,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
) -> Callable[[], object]:
    width = config.chunk * config.action_dim
    critic = nn.Sequential(nn.Linear(width, 256), nn.GELU(), nn.Linear(256, 1)).to(device)
    cameras = len(config.cameras)
    seen = (
        torch.rand(batch, cameras, 3, config.height, config.width, device=device) * 2 - 1,
        torch.ones(batch, cameras, dtype=torch.bool, device=device),
        torch.randint(0, config.sizes.vocabulary, (batch, config.prompt_length), device=device),
        torch.ones(batch, config.prompt_length, dtype=torch.bool, device=device),
        torch.randn(batch, config.state_dim, device=device),
    )
    qam, mask = QAM(), torch.ones(batch, width, device=device)

    def update() -> object:
        prefix = theta.prefix(*seen)
        ours, noise = theta.at(prefix, seen[-1]), torch.randn(batch, width, device=device)
        if method == "cloning":
            w = torch.rand(batch, 1, device=device)
            loss, _ = flow_matching_loss(ours, torch.randn_like(noise), mask, noise, w)
        else:
            along = torch.randn(qam.steps - 1, batch, width, device=device)
            loss, _ = policy_loss(
                qam, ours, beta.at(prefix, seen[-1]), lambda a: critic(a).T, 1.0, noise, along, mask
            )
        optimiser.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        optimiser.step()
        return loss

    return update


def _true_vla() -> dict[str, VlaConfig]:
    dims: dict[str, Any] = {"action_dim": 32, "real_action_dim": 7, "state_dim": 32, "real_state_dim": 8}
    smol = SMOLVLM["SmolVLM2-500M-Video-Instruct"]
    text = smol.text.first(16)
    smol = smol.reading(text).seeing(512).acting(expert_of(text, 0.75))
    cameras = ("a", "b", "c")
    return {
        "SmolVLA": VlaConfig(
            "smolvla", 50, cameras=cameras, height=512, width=512, prompt_length=48, sizes=smol,
            self_attention_every=2, **dims,
        ),
        "pi0.5": VlaConfig(
            "pi05", 50, cameras=cameras, height=224, width=224, prompt_length=200,
            sizes=PALIGEMMA["gemma_2b"], **dims,
        ),
    }  # fmt: skip


def _tiny_vla() -> dict[str, VlaConfig]:
    text, expert = StackSizes(32, 48, 2, 4, 1, 8), StackSizes(16, 32, 2, 4, 1, 8)
    sizes = Sizes(PictureSizes(16, 32, 1, 2, 8, 16), text, expert, 64)
    dims: dict[str, Any] = {"action_dim": 4, "real_action_dim": 3, "state_dim": 4, "real_state_dim": 3}
    shape: dict[str, Any] = {"cameras": ("a",), "height": 16, "width": 16, "prompt_length": 6, "sizes": sizes}
    return {"tiny": VlaConfig("pi05", 4, **shape, **dims)}


def shared(device: torch.device, _seconds: float, tiny: bool) -> Iterator[Row]:
    """Two workers on one card against one."""
    size = _TINY if tiny else OFFICIAL
    with TemporaryDirectory() as folder:
        _processes.spawn(_worker, (2, str(device), size, folder), nprocs=2)
        two = torch.load(Path(folder, "0.pt"), weights_only=True)
        _, one = _two_updates(size, LearnerConfig(), device)
        yield {
            "workers": 2,
            "weights differ": max(float((a - b).abs().max()) for a, b in zip(one, two, strict=True)),
        }


def _worker(rank: int, world: int, device: str, size: Size, folder: str) -> None:
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        rows = torch.arange(rank, size.batch, world)
        _, weights = _two_updates(size, LearnerConfig(), torch.device(device), rows)
        if rank == 0:
            torch.save(weights, f"{folder}/0.pt")
    finally:
        dist.destroy_process_group()


def _speed(update: Callable[[], object], device: torch.device, seconds: float) -> tuple[float, float]:
    """Updates a second, warm, and the most memory of the card, MiB."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    update()
    _wait(device)
    count, begin = 0, time.perf_counter()
    while not count or time.perf_counter() - begin < seconds:
        update()
        count += 1
        _wait(device)
    return count / (time.perf_counter() - begin), torch.cuda.max_memory_allocated() / 2**20 if cuda else 0.0


def _products(device: torch.device, dtype: torch.dtype, sides: tuple[int, int, int], seconds: float) -> float:
    """Operations a second in products of these sides."""
    m, k, n = sides
    a, b = torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype)
    times = 10

    def update() -> object:
        for _ in range(times):
            torch.mm(a, b)

    return _speed(update, device, seconds)[0] * times * 2 * m * k * n


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
