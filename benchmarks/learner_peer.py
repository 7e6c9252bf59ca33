"""Updates per second of QAM's official JAX code, run by an interpreter that has JAX.

    python -m benchmarks.learner_peer <checkout of ColinQiyangLi/qam> <size as JSON>

For every line of input, a number of seconds, it updates for so long, at least once, and prints the number
of updates, the seconds they took, and those of processor time. Started by `benchmarks.learner`; nothing of
`lwd_core` is imported here.
"""

import json
import sys
import time

from benchmarks.official import official


def main() -> None:
    checkout, size = sys.argv[1], json.loads(sys.argv[2])
    get_config, agent_type = official(checkout)
    import jax  # pyright: ignore[reportMissingImports]
    import numpy as np

    config = get_config()
    hidden = (size["hidden"],) * size["layers"]
    config.update(
        actor_hidden_dims=hidden,
        value_hidden_dims=hidden,
        num_qs=size["heads"],
        batch_size=size["batch"],
        horizon_length=size["chunk"],
        action_chunking=True,
    )
    rng = np.random.default_rng(0)
    b, state, chunk, dims = size["batch"], size["state"], size["chunk"], size["dims"]
    batch = {
        "observations": rng.standard_normal((b, state), np.float32),
        "actions": rng.uniform(-1, 1, (b, chunk, dims)).astype(np.float32),
        "next_observations": rng.standard_normal((b, 1, state), np.float32),
        "rewards": np.zeros((b, 1), np.float32),
        "masks": np.ones((b, 1), np.float32),
        "valid": np.ones((b, 1), np.float32),
    }
    agent = agent_type.create(0, batch["observations"][0], batch["actions"][0, 0], config)
    for line in sys.stdin:
        seconds, count = float(line), 0
        begin, busy = time.perf_counter(), time.process_time()
        while not count or time.perf_counter() - begin < seconds:
            agent, _ = agent.update(batch)
            jax.block_until_ready(agent.network.params)
            count += 1
        print(count, time.perf_counter() - begin, time.process_time() - busy, flush=True)


if __name__ == "__main__":
    main()
