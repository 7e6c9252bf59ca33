"""What stands between two products runs as one kernel, where it is asked to.

Products of this size are as fast as they get in the library that does them; what costs beside them is
passing over activations again and again. On a CPU `kernels/` does it in one pass, compiled in seconds;
elsewhere torch.compile makes the kernels, in seconds rather than the minutes a whole update takes. They take
no part in autograd, so one that cannot be made is simply run as written.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import CalledProcessError
from typing import Concatenate, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.rl.compute import native

Compile = Literal["auto", "on", "off"]
WORTH_IT = 1 << 16  # numbers; a smaller kernel takes less time than calling it compiled does

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)
_mode: Compile = "off"
_failed = False


@contextmanager
def fusing(mode: Compile) -> Iterator[None]:
    """Within it kernels are compiled: "auto" where possible, "on" or UserError; "off" as written."""
    global _mode
    before, _mode = _mode, mode
    try:
        yield
    finally:
        _mode = before


def fused(z: Tensor) -> bool:
    """Whether torch.compile makes a kernel over ``z`` now."""
    return _on() and z.numel() >= WORTH_IT


def in_one_pass(z: Tensor) -> bool:
    """Whether `native.call` may be called on ``z`` now."""
    if not _on() or not native.fits(z):
        return False
    try:
        native.functions()
    except (OSError, CalledProcessError) as error:
        _give_up(error)
        return False
    return True


def _on() -> bool:
    return _mode != "off" and not (_failed and _mode == "auto") and not torch.compiler.is_compiling()


def kernel(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """A pure function of tensors, compiled within `fusing` when first called for a kind of input."""
    compiled: list[Callable[Concatenate[Tensor, P], R]] = []

    def run(z: Tensor, *args: P.args, **kwargs: P.kwargs) -> R:
        if not fused(z):
            return function(z, *args, **kwargs)
        try:
            if not compiled:
                compiled.append(torch.compile(function))
            # detached, or each mix of what wants a gradient would be compiled anew
            plain = [a.detach() if isinstance(a, Tensor) else a for a in args]
            with torch.no_grad():
                return compiled[0](z.detach(), *plain, **kwargs)  # pyright: ignore[reportCallIssue]
        except Exception as error:  # whatever fails, what was written says whether the input is to blame
            result = function(z, *args, **kwargs)
            _give_up(error)
            return result

    return run


def _give_up(error: Exception) -> None:
    global _failed
    reason = str(error).strip().partition("\n")[0]
    if _mode == "on":
        raise UserError(
            f"compile: on, but nothing can be compiled here ({reason}); set auto or off"
        ) from error
    _failed = True
    _log.warning("compile: runs without compiled kernels (%s)", reason)
