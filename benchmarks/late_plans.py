"""What a slow policy costs: waiting for each plan beside computing the next one while the last is executed.

    python -m benchmarks.late_plans [--trials 400]

A point goes to a goal that moves, in simulated time at 50 Hz; plans are chunks of 12 actions towards where
the goal was when they were asked for, bent to one side or the other by chance, as a generative policy's are.
A plan is asked for with so many ticks left that it is there in time, and 4 more to stitch in. Who waits
stands.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lwd_core.fleet.batching import Request
from lwd_core.fleet.late import LatePlanner, jerk
from lwd_core.fleet.pace import LeapTime
from lwd_core.fleet.planner import Plans, WhenLate
from lwd_core.fleet.robot import Chunk, State
from lwd_core.policies.inputs import Randomness

HZ, CHUNK, LIMIT, STEP, NEAR = 50, 12, 120, 0.04, 0.06
SPARE = 4  # ticks that an old plan and its follower share
_PERIOD_NS = 1_000_000_000 // HZ


class Bending:
    """A policy: straight at the goal, but to one side or the other; states (B, 4) are point and goal."""

    policy_id, cameras = "bending", ()
    sizes: Mapping[str, set[tuple[int, int]]] = {}

    def act(
        self,
        states: np.ndarray,
        instructions: list[str],
        generator: Randomness,
        frames: object = None,
        embodiment: str = "",
    ) -> Chunk:
        """Unit actions (B, H, 2), slower within reach of the goal."""
        assert isinstance(generator, np.random.Generator)
        way = states[:, 2:] - states[:, :2]
        left = np.linalg.norm(way, axis=1, keepdims=True)
        ahead = way / np.maximum(left, 1e-6)
        side = np.stack([-ahead[:, 1], ahead[:, 0]], 1) * generator.choice([-0.6, 0.6], (len(states), 1))
        bent = np.sin(np.linspace(0, 2 * np.pi, CHUNK))[None, :, None]
        planned = np.minimum(1, left / (STEP * CHUNK))
        return ((ahead[:, None] + bent * side[:, None]) * planned[:, None]).astype(np.float32)


@dataclass(frozen=True)
class Late:
    """Means over trials: share that arrived, ticks until then (the limit where it did not), and `jerk`."""

    arrived: float
    ticks: float
    jerk: float


def try_out(rule: WhenLate, latency: int, trials: int, seed: int = 0) -> Late:
    """One rule, with plans that take ``latency`` ticks."""
    ends = np.array([_trial(rule, latency, np.random.default_rng([seed, i]), i) for i in range(trials)])
    return Late(*(float(mean) for mean in ends.mean(0)))


def _trial(rule: WhenLate, latency: int, random: np.random.Generator, seed: int) -> tuple[bool, int, float]:
    keeper, policy = LeapTime(0), Bending()
    planner = LatePlanner(keeper, latency * _PERIOD_NS, seed)
    early = 0 if rule is WhenLate.HOLD else latency + SPARE
    plans = Plans(planner, keeper, _PERIOD_NS, rule, ahead=early, patience=0)
    point, centre, turn = random.uniform(-1, 0, 2), random.uniform(0, 1, 2), random.uniform(0, 2 * np.pi)
    done = list[np.ndarray]()
    for tick in range(LIMIT):
        angle = turn + tick * 0.03
        goal = centre + 0.15 * np.array([np.cos(angle), np.sin(angle)])
        if np.linalg.norm(point - goal) < NEAR:
            return True, tick, jerk(np.array(done))
        seen: State = np.concatenate([point, goal])
        action = plans.next(Request(policy, seen, "") if plans.wants else None)
        done.append(np.zeros(2) if action is None else action)  # without a plan it stands
        point = point + STEP * done[-1]
        keeper.sleep_ns(_PERIOD_NS)
    return False, LIMIT, jerk(np.array(done))


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--trials", type=int, default=400)
    trials = options.parse_args().trials
    print(f"{'latency, ticks':>14} {'rule':>9} {'arrived':>8} {'ticks':>7} {'jerk':>6}   n = {trials}")
    for latency in (0, 2, 4, 6):
        for rule in (WhenLate.HOLD, WhenLate.CONTINUE, WhenLate.BLEND):
            found = try_out(rule, latency, trials)
            print(f"{latency:14} {rule:>9} {found.arrived:8.3f} {found.ticks:7.1f} {found.jerk:6.3f}")


if __name__ == "__main__":
    main()
