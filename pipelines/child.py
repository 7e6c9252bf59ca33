"""A module run as a child that ends with its parent: ``python -m pipelines.child PARENT MODULE [ARGUMENT…]``.

A parent that is killed can stop nobody. So the kernel is asked to: it sends the child SIGTERM when the
parent ends, however that came about.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Arguments: the parent's process id, the module, and what is the module's own."""
    parent, module, *arguments = sys.argv[1:]
    # One that ignores the signal hands that on to its children.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its child began")
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
