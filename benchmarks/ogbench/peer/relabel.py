"""Files of play to one file of a single task, by OGBench's own loader and relabelling.

    python -m benchmarks.ogbench.peer.relabel <environment> <file.npz> <play.npz>…

The compact layout, which the lake reads: a row more than a trajectory has actions, ``rewards`` and ``masks``.
"""

import os
import sys

import gymnasium
import numpy as np
import ogbench.manipspace  # registers the environments
from ogbench.relabel_utils import relabel_dataset
from ogbench.utils import load_dataset

assert ogbench

KEPT = ("observations", "actions", "terminals", "valids", "rewards", "masks")


def main() -> None:
    environment, path, *plays = sys.argv[1:]
    env = gymnasium.make(environment)
    parts = [load_dataset(play, compact_dataset=True, add_info=True) for play in plays]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    relabel_dataset(environment, env, joined)
    part = f"{path}.part.npz"
    np.savez(part, **{name: joined[name] for name in KEPT})
    os.replace(part, path)


if __name__ == "__main__":
    main()
