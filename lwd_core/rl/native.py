"""`kernels.cpp`, compiled once for a machine and called on tensors; its products are those torch carries."""

import ctypes
import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("kernels.cpp")
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
KERNELS = {"gelu": 7, "norm": 10, "norm_pull": 10}  # and how many arguments they take
_ADDRESS, _COUNT = ctypes.c_void_p, ctypes.c_int64
FIELD_KERNELS = {
    "field_forward": [*[_ADDRESS] * 3, ctypes.c_float, _ADDRESS, _ADDRESS, _COUNT, _ADDRESS, _COUNT],
    "field_back": [*[_ADDRESS] * 3, _COUNT, _ADDRESS, _COUNT, _ADDRESS, _COUNT],
}
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


class Field(ctypes.Structure):
    """`Field` of kernels.cpp."""

    _fields_ = (
        *((name, _ADDRESS) for name in ("action", "by_time", "context", "out", "out_bias")),
        *((name, ctypes.POINTER(_ADDRESS)) for name in ("weights", "biases")),
        *((name, _COUNT) for name in ("period", "inputs", "h", "layers")),
        ("gemm", _ADDRESS),
    )


def addresses(tensors: Sequence[Tensor]) -> "ctypes._Pointer[ctypes.c_void_p]":
    """Of each, for a `Field`, which keeps the list of them (and not what is there)."""
    return ctypes.cast((_ADDRESS * len(tensors))(*(t.data_ptr() for t in tensors)), ctypes.POINTER(_ADDRESS))


def call_field(name: str, field: Field, *args: Tensor | float | None) -> None:
    """Run a kernel of `FIELD_KERNELS` on contiguous float32 tensors and counts."""
    function = getattr(library(), f"{name}_float32")
    function(ctypes.byref(field), *[a.data_ptr() if isinstance(a, Tensor) else a for a in args])


@cache
def gemm() -> int | None:
    """Where torch's own single-precision product is, if it shows one: `sgemm_` of BLAS."""
    try:
        torch_cpu = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(torch_cpu.sgemm_, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


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
    for name, types in FIELD_KERNELS.items():
        function = getattr(found, f"{name}_float32")
        function.restype, function.argtypes = None, types
    return found


def _processor() -> str:
    """What code for this machine must not run elsewhere by."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), platform.processor())
