"""OGBench's single-task environments side by side; as a program, driven over its pipes.

    python -m benchmarks.ogbench.peer.worlds <environment> <how many>

What comes in with one dimension are seeds, with three a chunk for each world; see `benchmarks.ogbench.judge`.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from benchmarks.ogbench.judge import receive, send


class LocalWorlds:
    """In this process."""

    def __init__(self, environment: str, count: int):
        self.count = count
        self._all: list[gymnasium.Env[Any, Any]] = [
            gymnasium.make(f"ogbench.manipspace:{environment}") for _ in range(count)
        ]

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `Worlds`."""
        self._over = np.zeros(len(seeds), bool)
        self._success = np.zeros(len(seeds), bool)
        self._seen = np.stack(
            [world.reset(seed=int(s))[0] for world, s in zip(self._all, seeds, strict=False)]
        ).astype(np.float32)
        return self._seen

    def step(self, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Worlds`."""
        for i in np.flatnonzero(~self._over):
            for action in np.clip(chunks[i], -1, 1):
                self._seen[i], _, terminated, truncated, info = self._all[i].step(action)
                if terminated or truncated:
                    # As OGBench counts: the last step's word for it.
                    self._over[i], self._success[i] = True, bool(info["success"])
                    break
        return self._seen, self._over, self._success


def main() -> None:
    worlds = LocalWorlds(sys.argv[1], int(sys.argv[2]))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no reply
    while True:
        try:
            asked = receive(sys.stdin.buffer)
        except EOFError:
            return
        answer = (worlds.reset(asked.tolist()),) if asked.ndim == 1 else worlds.step(asked)
        send(replies, *answer)


if __name__ == "__main__":
    main()
