"""`kernels/`, compiled once for a machine and called on tensors; its products are those torch carries."""

import ctypes
import hashlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCES = Path(__file__).with_name("kernels")
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
_ADDRESS, _COUNT, _NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
KERNELS = {  # and their arguments
    **{f"gelu_{kind}": [*[_ADDRESS] * 4, *[_COUNT] * 3] for kind in TYPES.values()},
    **{f"norm_{kind}": [*[_ADDRESS] * 7, *[_COUNT] * 3] for kind in TYPES.values()},
    **{f"norm_pull_{kind}": [*[_ADDRESS] * 7, *[_COUNT] * 3] for kind in TYPES.values()},
    "field_forward_float32": [*[_ADDRESS] * 3, _NUMBER, *[_ADDRESS] * 2, _COUNT, _ADDRESS, _COUNT],
    "field_back_float32": [*[_ADDRESS] * 6, _COUNT, *[_ADDRESS] * 2, _COUNT],
    "field_walk_float32": [*[_ADDRESS] * 2, _COUNT, *[_ADDRESS] * 6, *[_COUNT] * 2],
    "field_adjoint_float32": [*[_ADDRESS] * 2, _COUNT, *[_ADDRESS] * 4, _COUNT],
    "stack_forward_float32": [*[_ADDRESS] * 4, _COUNT],
    "stack_back_float32": [*[_ADDRESS] * 7, _COUNT],
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

Argument = Tensor | ctypes.Structure | ctypes.Array | int | float | None


class Field(ctypes.Structure):
    """`Field` of field.h."""

    _fields_ = (
        *((name, ctypes.POINTER(_ADDRESS)) for name in ("weights", "biases")),
        *((name, _ADDRESS) for name in ("by_time", "context")),
        *((name, _COUNT) for name in ("period", "inputs", "h", "layers")),
        ("gemm", _ADDRESS),
    )


class FieldGradients(ctypes.Structure):
    """`FieldGradients` of field.h."""

    _fields_ = (
        *((name, ctypes.POINTER(_ADDRESS)) for name in ("weights", "biases")),
        *((name, _ADDRESS) for name in ("by_time", "context")),
    )


class Step(ctypes.Structure):
    """`Step` of field.h."""

    _fields_ = tuple((name, _NUMBER) for name in ("w", "keep", "move", "stir"))


class Stack(ctypes.Structure):
    """`Stack` of stack.h."""

    _fields_ = (
        *((name, ctypes.POINTER(_ADDRESS)) for name in ("weights", "biases", "scales", "shifts")),
        *((name, _COUNT) for name in ("heads", "inputs", "h", "outputs", "layers")),
        ("gemm", _ADDRESS),
    )


class Kept(ctypes.Structure):
    """`Kept` of stack.h."""

    _fields_ = tuple((name, _ADDRESS) for name in ("z", "y", "centre", "inverse"))


class StackGradients(ctypes.Structure):
    """`StackGradients` of stack.h."""

    _fields_ = tuple((name, ctypes.POINTER(_ADDRESS)) for name in ("weights", "biases", "scales", "shifts"))


def fits(z: Tensor) -> bool:
    """Whether a kernel can run over ``z``, were it compiled."""
    return z.device.type == "cpu" and z.dtype in TYPES and z.is_contiguous()


def all_fit(tensors: Iterable[Tensor]) -> bool:
    """Whether a kernel of whole networks can run with them, were it compiled."""
    return gemm() is not None and all(fits(t) and t.dtype == torch.float32 for t in tensors)


def call(name: str, z: Tensor, *args: Argument) -> None:
    """Run a kernel of ``z``'s type on contiguous tensors and counts. Raises what building it raises."""
    function = functions()[f"{name}_{TYPES[z.dtype]}"]
    function(z.data_ptr(), *[_argument(a) for a in args])


def call_with(name: str, network: Field | Stack, *args: Argument) -> None:
    """Run a float32 kernel of a network."""
    function = functions()[f"{name}_float32"]
    function(ctypes.addressof(network), *[_argument(a) for a in args])


def _argument(given: Argument) -> int | float | None:
    if isinstance(given, Tensor):
        return given.data_ptr()
    return ctypes.addressof(given) if isinstance(given, (ctypes.Structure, ctypes.Array)) else given


def addresses(tensors: Sequence[Tensor]) -> "ctypes._Pointer[ctypes.c_void_p]":
    """Of each, for a structure, which keeps the list of them (and not what is there)."""
    return ctypes.cast((_ADDRESS * len(tensors))(*[t.data_ptr() for t in tensors]), ctypes.POINTER(_ADDRESS))


@cache
def gemm() -> int | None:
    """Where torch's own single-precision product is, if it shows one: `sgemm_` of BLAS."""
    try:
        torch_cpu = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(torch_cpu.sgemm_, ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


@cache
def functions() -> dict[str, Callable[..., None]]:
    """All kernels. Found where a process before left them, or built in a few seconds; their threads are
    torch's."""
    sources = sorted(SOURCES.iterdir())
    machine = [os.environ.get("CXX", "c++"), *FLAGS, platform.machine(), _processor()]
    content = b"".join(source.read_bytes() for source in sources)
    key = hashlib.sha256(content + "\n".join(machine).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lwd"
    path = home / f"kernels-{key}.so"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        main = str(SOURCES / "kernels.cpp")
        subprocess.run([machine[0], *FLAGS, "-o", str(new), main], check=True, capture_output=True)
        os.replace(new, path)
    library = ctypes.CDLL(str(path))
    found = {name: getattr(library, name) for name in KERNELS}
    for name, function in found.items():
        function.restype, function.argtypes = None, KERNELS[name]
    return found


def _processor() -> str:
    """What code for this machine must not run elsewhere by."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), platform.processor())
