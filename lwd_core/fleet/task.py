"""What a robot can be asked to do; a robot's package says what that is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lwd_core.errors import UserError, suggest


@dataclass(frozen=True)
class Task:
    """One task: how to say it, and after how many control ticks it has failed.

    ``instructions`` say the same thing in several ways, the canonical one first. ``usual`` is how many ticks
    somebody practised takes to reach a goal, 0 where nobody knows. A long task is done stage by stage, each
    with a goal of its own, ``stages`` naming them in order; it has succeeded when the last one has.
    ``scene`` names what the robot's package builds for it. ``watched`` are the state's dims that a person
    sees move, ``goal`` those that show where to: they change when a stage is done.
    """

    name: str
    limit: int
    instructions: tuple[str, ...]
    usual: int = 0
    stages: tuple[str, ...] = ()
    scene: str = ""
    watched: slice = field(default_factory=lambda: slice(None), hash=False)
    goal: slice = field(default_factory=lambda: slice(0, 0), hash=False)

    @property
    def instruction(self) -> str:
        """The canonical instruction."""
        return self.instructions[0]


def find_tasks(known: Mapping[str, Task], names: Iterable[str]) -> tuple[Task, ...]:
    """The tasks of these names, in their order. Raises UserError for an unknown one."""
    names = tuple(names)
    for name in names:
        if name not in known:
            raise UserError(f"task {name}: no such task{suggest(name, known)}")
    return tuple(known[name] for name in names)
