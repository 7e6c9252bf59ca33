"""Sums over the workers that share a batch; without workers, the values themselves."""

import torch
from torch import Tensor
from torch import distributed as dist


def workers() -> int:
    """How many share a batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over all workers; no gradient goes through."""
    if workers() == 1:
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over all workers; no gradient goes through."""
    return total(value) / workers() if workers() > 1 else value


def largest(value: int) -> int:
    """The largest of the workers' numbers."""
    if workers() == 1:
        return value
    number = torch.tensor(value, device="cpu")
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return int(number)
