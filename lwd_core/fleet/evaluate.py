"""Judge a policy: no supervisor, no recording, scenes nobody trained on."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product

import numpy as np
import pyarrow as pa

from lwd_core.fleet.batching import Attempt, Request, run_together
from lwd_core.fleet.eyes import photographed
from lwd_core.fleet.robot import RobotPolicy
from lwd_core.fleet.task import Task, find_tasks
from lwd_core.fleet.workcells import DEFAULT, Workcells, of_robot
from lwd_core.policies.scenes import Purpose, purpose_of
from storage_schemas.tables import EVALUATIONS
from storage_schemas.vocabulary import Words

_LANES = 32  # a batch beyond this makes the network no cheaper per state

Row = dict[str, object]


def evaluate(
    policy: RobotPolicy,
    tasks: Iterable[str],
    seeds: Sequence[int],
    *,
    now_ns: int,
    robot: str = DEFAULT,
    cells: Workcells | None = None,
    noise_seed: int = 0,
    camera_size: int = 0,
    words: Words = Words.USUAL,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """Run every task in every scene; return rows of the table ``evaluations``.

    ``seeds`` come from ``scene_seeds`` for evaluation or selection; ValueError for one of the
    training range. ``robot`` names the type of robot, ``cells`` are some of its workcells to reuse
    between calls. A policy that sees is shown pictures of ``camera_size`` pixels a side, as robots' own (see
    `RobotSpec`). ``words``: how it is told what to do. ``progress(done, total)`` is called after each
    episode.
    """
    if any(purpose_of(seed) is Purpose.TRAINING for seed in seeds):
        raise ValueError("a policy is not judged on scenes of the training range")
    rows: list[Row] = []
    with of_robot(robot, cells) as pool:
        chosen = find_tasks(pool.tasks, tasks)
        # scene by scene, so that lanes hold different tasks and the pool stays small
        trials = (
            _trial(pool, policy, task, seed, words, camera_size, now_ns)
            for seed, task in product(seeds, chosen)
        )
        total = len(chosen) * len(seeds)
        for row in run_together(trials, lanes=_LANES, generator=np.random.default_rng(noise_seed)):
            rows.append(row)
            if progress:
                progress(len(rows), total)
    return pa.Table.from_pylist(rows, schema=EVALUATIONS.schema).sort_by(
        [(name, "ascending") for name in EVALUATIONS.sort]
    )


def _trial(
    cells: Workcells,
    policy: RobotPolicy,
    task: Task,
    seed: int,
    words: Words,
    camera_size: int,
    created_ns: int,
) -> Attempt[Row]:
    told = task.say(seed, words)
    with cells.borrow(task) as cell:
        state, tick, done = cell.scene.reset(seed), 0, False
        while not done and tick < task.limit:
            shown = photographed(cell, policy, camera_size) if policy.cameras else None
            chunk = yield Request(policy, state, told, shown, cells.embodiment.name)
            for action in chunk[: task.limit - tick].astype(np.float64):
                state, done = cell.robot.step(action)
                tick += 1
                if done:
                    break
    return {
        "policy_id": policy.policy_id,
        "task": task.name,
        "seed": seed,
        "success": done,
        "steps": tick,
        "created_ns": created_ns,
        "words": str(words),
        "robot": cells.robot,
    }
