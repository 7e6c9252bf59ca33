"""Files of play to one file of a single task, by OGBench's own loader and relabelling.

    python -m benchmarks.ogbench.peer.relabel <environment> <file.npz> <play.npz>…

The compact layout, which the lake reads: a row more than a trajectory has actions, ``rewards`` and ``masks``.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np

KEPT = ("observations", "actions", "terminals", "valids", "rewards", "masks")


def main() -> None:
    environment, path, *plays = sys.argv[1:]
    load: Callable[..., dict[str, np.ndarray]] = import_module("ogbench.utils").load_dataset
    parts = [load(play, compact_dataset=True, add_info=True) for play in plays]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    env = gymnasium.make(f"ogbench.manipspace:{environment}")
    import_module("ogbench.relabel_utils").relabel_dataset(environment, env, joined)
    part = f"{path}.{os.getpid()}.npz"  # another process may make the same
    kept: dict[str, Any] = {name: joined[name] for name in KEPT}
    np.savez(part, **kept)
    os.replace(part, path)


if __name__ == "__main__":
    main()
