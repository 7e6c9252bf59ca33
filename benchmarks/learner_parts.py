"""Where an update's time goes, part by part, against the time its products alone would take."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any, cast
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from lwd_core.rl import learner as learner_module
from lwd_core.rl import qam
from lwd_core.rl.batch import Batch, Noise
from lwd_core.rl.compute.engine import Engine
from lwd_core.rl.learner import Learner
from lwd_core.rl.progress import Progress

#: What is timed by itself, inside whatever calls it: the owner of a name, the name, the part it counts to.
SEAMS: list[tuple[Any, str, str]] = [
    (Learner, "_value_step", "value"),
    (Learner, "_target", "target"),
    (Learner, "_critic_step", "critic"),
    (Learner, "_reference_step", "reference"),
    (Learner, "_policy_step", "regression"),
    (qam, "sample_path", "path"),
    (qam, "action_gradient", "∇Q"),
    (qam, "lean_adjoint", "adjoint"),
    (torch.optim.AdamW, "step", "Adam, EMA"),
    (learner_module, "ema", "Adam, EMA"),
]


@dataclass(frozen=True)
class Part:
    """Of one update. floor_ms: its operations at the speed of large products of the same type."""

    name: str
    gflop: float
    ms: float
    floor_ms: float

    @property
    def share(self) -> float:
        """Of its time that the products need."""
        return self.floor_ms / self.ms


def parts(
    learner: Learner, batch: Batch, engine: Engine, floor: Callable[[int], object], seconds: float
) -> Iterator[Part]:
    """Every part of LWD's update and their sum, medians over updates that take turns with ``floor``.

    floor: one GFLOP of products.
    """
    noise = Noise(torch.Generator().manual_seed(0))

    def update() -> None:
        with engine.running():
            learner.update(batch, noise, Progress(0, 10))

    for _ in range(3):
        update()
        floor(0)
    with FlopCounterMode(display=False) as counter:
        gflop = spent(update, lambda: counter.get_total_flops() / 1e9)
    samples: list[dict[str, float]] = []
    speeds: list[float] = []
    begin = time.perf_counter()
    while not samples or time.perf_counter() - begin < seconds:
        samples.append(spent(update, time.perf_counter))
        start = time.perf_counter()
        floor(0)
        speeds.append(time.perf_counter() - start)  # of one GFLOP
    names = [*dict.fromkeys(part for _, _, part in SEAMS), "rest"]
    found = {name: (gflop.get(name, 0.0), median(s.get(name, 0.0) for s in samples) * 1e3) for name in names}
    found["all"] = sum(gflop.values()), median(sum(s.values()) for s in samples) * 1e3
    for name, (count, ms) in found.items():
        yield Part(name, count, ms, count * median(speeds) * 1e3)


def count_flops(update: Callable[[int], object]) -> float:
    """Operations of an update's products."""
    counter = FlopCounterMode(display=False)
    # which module they belong to is not asked, and to find out would forbid a derivative by a module's input
    counter.mod_tracker = cast(Any, _Untold())
    with counter:
        update(0)
    return counter.get_total_flops()


class _Untold(nullcontext[None]):
    """In the place of what tracks modules."""

    parents = ("Global",)


def spent(action: Callable[[], object], meter: Callable[[], float]) -> dict[str, float]:
    """How far ``meter`` moves during an action within each part, less what parts inside it take."""
    total: dict[str, float] = defaultdict(float)
    stack, last = ["rest"], meter()

    def mark() -> None:
        nonlocal last
        now = meter()
        total[stack[-1]] += now - last
        last = now

    @contextmanager
    def within(part: str) -> Iterator[None]:
        mark()
        stack.append(part)
        try:
            yield
        finally:
            mark()
            stack.pop()

    def metered(function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with within(part):
                return function(*args, **kwargs)

        return call

    patches = [patch.object(owner, name, metered(getattr(owner, name), part)) for owner, name, part in SEAMS]
    for one in patches:
        one.start()
    try:
        action()
    finally:
        mark()
        for one in patches:
            one.stop()
    return dict(total)
