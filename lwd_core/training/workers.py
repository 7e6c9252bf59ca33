"""Several processes that share each batch, as torchrun starts them."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed as dist

from lwd_core.rl.compute.parallel import total


@dataclass(frozen=True)
class Share:
    """This worker of how many; the first writes and reports."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def agree(self, flag: bool) -> bool:
        """Whether any worker's flag is set; every worker must ask."""
        return bool(total(torch.tensor(float(flag))) > 0)

    def meet(self) -> None:
        """Wait for the others."""
        if self.world > 1:
            dist.barrier()  # pyright: ignore[reportUnknownMemberType]


def backends(device: torch.device) -> str:
    """What carries tensors between workers: counts and flags lie on the CPU everywhere."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


@contextmanager
def join_workers(device: torch.device) -> Generator[Share]:
    """Join the group torchrun describes in the environment; alone without one.

    Over gloo on a CPU; on GPUs over nccl, each worker on the one torchrun gave it.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Share()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(backends(device))
    try:
        yield Share(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
