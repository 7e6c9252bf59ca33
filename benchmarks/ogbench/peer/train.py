"""QAM's released code on a single task's file: its agent, its batches, its way to evaluate.

    python -m benchmarks.ogbench.peer.train <checkout of ColinQiyangLi/qam> <job as JSON>

A job names the data, the environment, the agent's settings and a file for the state; started again, it goes
on from there. The curve is printed at the end as JSON, one [update, successes, trials] a point.
"""

import json
import os
import pickle
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import count as numbers
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.official import official
from benchmarks.ogbench.judge import successes
from benchmarks.ogbench.peer.worlds import LocalWorlds
from benchmarks.ogbench.point import POINT, PointWorlds

CLIP = 1 - 1e-5  # as the released code takes OGBench's actions


def transitions(path: str, reward: str = "cost") -> dict[str, np.ndarray]:
    """A compact file as OGBench's "regular" set: rows that act, each with the state after it.

    reward: "cost" is 0 at the goal and -1 elsewhere, as QAM's experiments have it for scene too ("sparse");
    "goal" 1 there and 0 elsewhere.
    """
    with np.load(path) as file:
        compact = {name: file[name] for name in file}
    acts = compact["valids"] > 0
    follows = np.append(False, acts[:-1])
    return {
        "observations": compact["observations"][acts],
        "next_observations": compact["observations"][follows],
        "actions": np.clip(compact["actions"][acts], -CLIP, CLIP),
        "terminals": compact["terminals"][acts],
        "rewards": float(reward == "goal") - compact["masks"][acts],
        "masks": compact["masks"][acts],
    }


def main() -> None:
    checkout, job = sys.argv[1], json.loads(sys.argv[2])
    reply, sys.stdout = sys.stdout, sys.stderr
    get_config, agent_type = official(checkout)
    random: Any = import_module("jax").random
    serialization: Any = import_module("flax.serialization")
    dataset: Any = import_module("utils.datasets").Dataset  # the checkout's

    config = get_config()
    config.update(action_chunking=True, **job["agent"])
    data: Any = dataset.create(**transitions(job["data"], job["reward"]))
    example = data.sample(())
    agent: Any = agent_type.create(job["seed"], example["observations"], example["actions"], config)
    environment, count = job["environment"], job["worlds"]
    worlds = PointWorlds(count) if environment == POINT else LocalWorlds(environment, count)
    np.random.seed(job["seed"])
    state, update, curve = Path(job["state"]), 0, list[list[int]]()
    if state.exists():
        kept = pickle.loads(state.read_bytes())  # written below, by this program
        update, curve = kept["update"], kept["curve"]
        agent = serialization.from_bytes(agent, kept["agent"])
        np.random.set_state(kept["random"])
    chunk, dims, discount = job["agent"]["horizon_length"], example["actions"].shape[-1], config["discount"]
    while update < job["updates"]:
        batch = data.sample_sequence(config["batch_size"], sequence_length=chunk, discount=discount)
        agent, _ = agent.update(batch)
        update += 1
        if update % job["every"] and update < job["updates"]:
            continue
        keys = map(random.PRNGKey, numbers(update * 1_000))

        def act(seen: np.ndarray, agent: Any = agent, keys: Iterator[Any] = keys) -> np.ndarray:
            chosen = agent.sample_actions(observations=seen, rng=next(keys))
            return np.asarray(chosen).reshape(len(seen), chunk, dims)

        found = successes(worlds, act, job["trials"])
        curve.append([update, sum(found), len(found)])
        print(f"update {update}: {sum(found)} of {len(found)}", flush=True)
        _keep(state, {"update": update, "curve": curve, "agent": serialization.to_bytes(agent)})
    print(json.dumps(curve), file=reply)


def _keep(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps({**state, "random": np.random.get_state()}))
    os.replace(part, path)


if __name__ == "__main__":
    main()
