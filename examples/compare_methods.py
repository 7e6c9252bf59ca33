"""Two methods on one snapshot, judged in the same scenes, with intervals.

    python examples/compare_methods.py

Cloning all demonstrations, clumsy ones included, against cloning those that a label of one's own calls deft.
Success rates have Wilson's 95 % intervals, and their difference has one of its own: it says whether so many
trials tell the two apart.
"""

import tempfile

import numpy as np
from point_robot import NEAR, make_lake, move

import lwd_core as lwd

SMALL = {"stage": "sft", "updates": 150, "batch": 128, "network": {"hidden": 64, "layers": 2}}


@lwd.check("deft", version=1)
def deft(episode: lwd.Episode) -> bool:
    """The person hardly ever turned round."""
    turns = np.sum(episode["action"][1:] * episode["action"][:-1], axis=1) < 0
    return bool(turns.mean() < 0.2)


def success(policy: lwd.Policy, trials: int = 40, limit: int = 40, seed: int = 1) -> int:
    """How many of ``trials`` scenes, which the seed draws, the policy brings to their goal."""
    random = np.random.default_rng(seed)
    position, goal = random.uniform(-1, 0.2, (trials, 2)), random.uniform(0.3, 0.9, (trials, 2))
    done, generator = np.zeros(trials, bool), np.random.default_rng(seed)
    for _ in range(limit // policy.chunk):
        chunks = policy.act(np.hstack([position, goal]), "go to the green square", generator)
        for tick in range(policy.chunk):
            position = np.where(done[:, None], position, move(position, chunks[:, tick]))
            done |= np.linalg.norm(position - goal, axis=1) < NEAR
    return int(done.sum())


def compare(lake: lwd.Home, trials: int = 40) -> dict[str, int]:
    """Successes of each method in the same scenes."""
    lake.label(deft)
    specs = {
        "all": {"name": "all", "chunk": 4},
        "deft": {"name": "deft", "chunk": 4, "labels": {"blocking": ["deft@1"]}},
    }
    found = {}
    for name, spec in specs.items():
        lake.train({"run": name, "offline": lake.snapshot(spec).digest, **SMALL})
        found[name] = success(lake.policy_of(name), trials)
    return found


if __name__ == "__main__":
    trials = 40
    found = compare(make_lake(tempfile.mkdtemp()), trials)
    rates = {name: lwd.wilson(successes, trials) for name, successes in found.items()}
    for name, rate in rates.items():
        print(f"{name:6} {rate}")
    low, high = lwd.difference(rates["deft"], rates["all"])
    print(f"deft less all: {low:+.2f} to {high:+.2f}" + (", not told apart" if low < 0 < high else ""))
