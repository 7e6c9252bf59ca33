"""Play data by OGBench's own script, from a seed (the script draws from the system's entropy).

    python -m benchmarks.ogbench.peer.generate <their script> <environment> <episodes> <seed> <file.npz>

An episode is 1,001 rows, as in the published sets. Below ten episodes the script keeps none for validation.
"""

import os
import runpy
import sys
from typing import Any

import gymnasium
import numpy as np

ROWS = 1001


def main() -> None:
    script, environment, episodes, seed, path = sys.argv[1:]
    np.random.seed(int(seed))
    make = gymnasium.make

    def seeded(*args: Any, **kwargs: Any) -> gymnasium.Env[Any, Any]:
        env = make(*args, **kwargs)
        env.reset(seed=int(seed))
        return env

    gymnasium.make = seeded
    part = f"{path}.{os.getpid()}.npz"  # another process may make the same
    sys.argv = [
        script,
        f"--env_name={environment}",
        f"--save_path={part}",
        f"--num_episodes={episodes}",
        f"--max_episode_steps={ROWS}",
        "--dataset_type=play",
    ]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    os.remove(part.replace(".npz", "-val.npz"))
    os.replace(part, path)


if __name__ == "__main__":
    main()
