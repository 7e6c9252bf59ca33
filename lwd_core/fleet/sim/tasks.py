"""The tasks of the simulated arms, from ``tasks.yaml``."""

from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from lwd_core.fleet.task import Task

TASKS_FILE = Path(__file__).with_name("tasks.yaml")

# hand, gripper opening and first object: what a person sees moving
_WATCHED = slice(0, 7)
# where the object or hand is to be brought: it moves on when a long task's stage is done
_GOAL = slice(-3, None)


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
        )
        for name, spec in content.items()
    }
