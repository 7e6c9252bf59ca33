"""Updates per second of QAM's official JAX code, run by an interpreter that has JAX.

    python -P benchmarks/learner_peer.py <checkout of ColinQiyangLi/qam> <size as JSON>

For every line of input, a number of seconds, it updates for so long, at least once, and prints the number
of updates, the seconds they took, and those of processor time. Started by `benchmarks.learner`; nothing of
this project is imported here.
"""

import json
import sys
import time
import types


def main() -> None:
    checkout, size = sys.argv[1], json.loads(sys.argv[2])
    sys.path.insert(0, checkout)
    # Its package imports every agent; only this one is wanted, without what the others need.
    package = types.ModuleType("agents")
    package.__path__ = [f"{checkout}/agents"]
    sys.modules["agents"] = package
    for unused in ("distrax", "tensorflow_probability"):
        sys.modules[unused] = _Anything(unused)
    import jax  # pyright: ignore[reportMissingImports]
    import numpy as np
    from agents.qam import QAMAgent, get_config  # pyright: ignore[reportMissingImports]

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
    agent = QAMAgent.create(0, batch["observations"][0], batch["actions"][0, 0], config)
    for line in sys.stdin:
        seconds, count = float(line), 0
        begin, busy = time.perf_counter(), time.process_time()
        while not count or time.perf_counter() - begin < seconds:
            agent, _ = agent.update(batch)
            jax.block_until_ready(agent.network.params)
            count += 1
        print(count, time.perf_counter() - begin, time.process_time() - busy, flush=True)


class _Class(type):
    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Class(name, (), {})


class _Anything(types.ModuleType):
    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Class(name, (), {})


if __name__ == "__main__":
    main()
