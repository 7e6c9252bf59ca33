"""`kernels.cpp`, compiled once for a machine and called on tensors."""

import ctypes
import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("kernels.cpp")
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
KERNELS = {"gelu": 7, "norm": 10, "norm_pull": 10}  # and how many arguments they take
FLAGS = [
    *("-std=c++20", "-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-shared", "-fPIC"),
    # sums in any order, so that they are vectors; numbers that are not finite stay what they are
    *(
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-signed-zeros",
        "-fassociative-math",
        "-freciprocal-math",
    ),
]


def fits(z: Tensor) -> bool:
    """Whether a kernel can run over ``z``, were it compiled."""
    return z.device.type == "cpu" and z.dtype in TYPES and z.is_contiguous()


def call(name: str, z: Tensor, *args: Tensor | int | None) -> None:
    """Run a kernel of ``z``'s type on contiguous tensors and counts. Raises what building it raises."""
    function = getattr(library(), f"{name}_{TYPES[z.dtype]}")
    function(z.data_ptr(), *[a.data_ptr() if isinstance(a, Tensor) else a for a in args])


@cache
def library() -> ctypes.CDLL:
    """Found where a process before left it, or built in about a second; its threads are torch's."""
    source = SOURCE.read_bytes()
    machine = [os.environ.get("CXX", "c++"), *FLAGS, platform.machine(), _processor()]
    key = hashlib.sha256(source + "\n".join(machine).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lwd"
    path = home / f"kernels-{key}.so"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        subprocess.run([machine[0], *FLAGS, "-o", str(new), str(SOURCE)], check=True, capture_output=True)
        os.replace(new, path)
    found = ctypes.CDLL(str(path))
    for name, arguments in KERNELS.items():
        for kind in TYPES.values():
            function = getattr(found, f"{name}_{kind}")
            # counts are as wide as addresses
            function.restype, function.argtypes = None, [ctypes.c_void_p] * arguments
    return found


def _processor() -> str:
    """What code for this machine must not run elsewhere by."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), platform.processor())
