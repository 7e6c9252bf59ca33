"""The tasks of the simulated arms, from ``tasks.yaml`` and ``restocking.yaml``."""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from ruamel.yaml import YAML

from lwd_core.fleet.sim.orders import said, written
from lwd_core.fleet.task import Task

TASKS_FILE = Path(__file__).with_name("tasks.yaml")

RESTOCKING = "restocking"

# hand, gripper opening and first object: what a person sees moving
_WATCHED = slice(0, 7)
# where the object or hand is to be brought: it moves on when a long task's stage is done
_GOAL = slice(-3, None)
# all that a state without objects shows
_ITSELF, _NOT_SHOWN = slice(0, 4), slice(0, 0)


@cache
def all_tasks() -> dict[str, Task]:
    """Every task by name, in the file's order; ``scene`` names what the simulator builds."""
    content = YAML(typ="safe").load(TASKS_FILE)
    return {
        name: Task(
            name,
            spec["limit"],
            tuple(spec["instructions"]),
            usual=spec["usual"],
            stages=tuple(spec.get("stages", ())),
            scene=spec["scene"],
            watched=_WATCHED,
            goal=_GOAL,
            unseen=tuple(spec.get("unseen", ())),
        )
        for name, spec in content.items()
    }


@cache
def tasks_by_sight() -> dict[str, Task]:
    """Those that can be done from hand, gripper and picture: short ones of ``tasks.yaml``, and restocking."""
    short = {
        name: replace(task, watched=_ITSELF, goal=_NOT_SHOWN)
        for name, task in all_tasks().items()
        if not task.stages
    }
    return short | {
        name: Task(
            name,
            spec["limit"],
            (spec["instruction"],),
            usual=spec["usual"],
            stages=("deliver",) * spec["deliveries"] if spec["deliveries"] > 1 else (),
            scene=RESTOCKING,
            watched=_ITSELF,
            goal=_NOT_SHOWN,
            told=partial(said, spec["deliveries"]),
        )
        for name, spec in written()["tasks"].items()
    }
