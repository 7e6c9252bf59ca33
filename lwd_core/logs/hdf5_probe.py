"""Tries an HDF5 file out in a process of its own.

The HDF5 library loops for ever or dies on some damaged files; neither can be caught, so a child meets
the file first. An ordinary error in the child is no verdict: the reader meets it again and names it.

    python -m lwd_core.logs.hdf5_probe FILE
"""

import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py

from lwd_core.logs.content import UnreadableLog

_SECONDS, _BYTES_PER_SECOND = 20.0, 20e6  # patience, and what a slow disk still gives
_ROWS = 1024


def check(path: Path) -> None:
    """Raise `UnreadableLog` if the library does not come back from this file."""
    state = path.stat()
    if fault := _fault(str(path), state.st_size, state.st_mtime_ns):
        raise UnreadableLog(f"the HDF5 file is damaged: the library {fault} on it")


@lru_cache(maxsize=16)
def _fault(path: str, size: int, _changed_ns: int) -> str | None:
    command = [sys.executable, "-m", "lwd_core.logs.hdf5_probe", path]
    try:
        child = subprocess.run(
            command, timeout=_SECONDS + size / _BYTES_PER_SECOND, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return "does not come back"
    return "dies" if child.returncode < 0 else None


def _touch(node: Any, depth: int = 8) -> None:
    """Read everything a reader might."""
    with suppress(Exception):
        for name in node.attrs:
            with suppress(Exception):
                node.attrs[name]
    if isinstance(node, h5py.Dataset):
        if node.is_virtual or node.external:  # not followed by the reader either
            return
        for start in range(0, int(node.shape[0]) if node.shape else 0, _ROWS):
            node[start : start + _ROWS]
        return
    for name in node if depth else ():
        with suppress(Exception):
            if isinstance(node.get(name, getlink=True), h5py.HardLink):
                _touch(node[name], depth - 1)


if __name__ == "__main__":
    with suppress(Exception), h5py.File(sys.argv[1], "r") as file:
        _touch(file)
