"""Where a learner computes and how: the device and the type of its products."""

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from lwd_core.errors import UserError

Device = Literal["cpu", "cuda", "auto"]
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


@dataclass(frozen=True)
class Engine:
    """bf16: products in bfloat16; weights, moments, averages, targets and adjoint sums stay float32."""

    device: torch.device
    bf16: bool = False

    @staticmethod
    def of(device: Device, bf16: bool) -> "Engine":
        """ "auto" is a GPU if there is one. UserError if "cuda" was asked for and is not there."""
        there = torch.cuda.is_available()
        if device == "cuda" and not there:
            raise UserError("device: cuda, but this machine or torch has none; set auto or cpu")
        return Engine(torch.device("cuda" if there and device != "cpu" else "cpu"), bf16)

    @contextmanager
    def running(self) -> Generator[None]:
        """Updates happen in here. Weights move within one, so a cast of theirs is never kept by autocast."""
        _keep_memory()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            yield


@cache
def _keep_memory() -> None:
    """What an update frees, up to a gigabyte, stays for the next: new pages cost a small one a sixth."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
    if mallopt:
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(option, 1 << 30)
