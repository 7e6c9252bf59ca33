"""The tasks a fleet can be given, from ``tasks.yaml``."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from lwd_core.errors import UserError, suggest

TASKS_FILE = Path(__file__).with_name("tasks.yaml")


@dataclass(frozen=True)
class Task:
    """One task: where it takes place, how to say it, and after how many control ticks it has failed.

    ``scene`` names what the simulator builds. ``instructions`` say the same thing in several ways,
    the canonical one first. ``usual`` is how many ticks somebody practised takes to reach a goal.
    A long task is done stage by stage, each with a goal of its own, ``stages`` naming them in order;
    it has succeeded when the last one has.
    """

    name: str
    scene: str
    limit: int
    usual: int
    instructions: tuple[str, ...]
    stages: tuple[str, ...] = ()

    @property
    def instruction(self) -> str:
        """The canonical instruction."""
        return self.instructions[0]


@cache
def all_tasks() -> dict[str, Task]:
    """Every task by name, in the file's order."""
    content = YAML(typ="safe").load(TASKS_FILE)
    return {
        name: Task(
            name,
            spec["scene"],
            spec["limit"],
            spec["usual"],
            tuple(spec["instructions"]),
            tuple(spec.get("stages", ())),
        )
        for name, spec in content.items()
    }


def find_tasks(names: Iterable[str]) -> tuple[Task, ...]:
    """The tasks of these names, in their order. Raises UserError for an unknown one."""
    known = all_tasks()
    names = tuple(names)
    for name in names:
        if name not in known:
            raise UserError(f"task {name}: no such task{suggest(name, known)}")
    return tuple(known[name] for name in names)
