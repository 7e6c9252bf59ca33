"""What a robot can be asked to do; a robot's package says what that is."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lwd_core.errors import UserError, suggest
from storage_schemas.vocabulary import Source


class Words(StrEnum):
    """How a task is said.

    ``USUAL``: the canonical way; ``TRAIN``: any of the ways that people use while robots learn; ``UNSEEN``:
    ways kept for evaluation; ``WRONG``: usual words for something else than the scene asks, to see whether a
    policy listens.
    """

    USUAL = "usual"
    TRAIN = "train"
    UNSEEN = "unseen"
    WRONG = "wrong"

    def kept(self) -> "Words":
        """Itself. Raises UserError for wrong ones: whoever learned from what they led to would learn not to
        listen."""
        if self is Words.WRONG:
            raise UserError("words: wrong ones are never recorded; only `lwd fleet evaluate` may give them")
        return self


@dataclass(frozen=True)
class Task:
    """One task: how to say it, and after how many control ticks it has failed.

    ``instructions`` say the same thing in several ways, the canonical one first; ``unseen`` are ways kept
    for evaluation. Where each scene asks for something else, ``told`` says what, from the scene's number and
    which words; ``instructions`` then only describe the task. ``usual`` is how many ticks somebody practised
    takes to reach a goal, 0 where nobody knows. A long task is done stage by stage, ``stages`` naming them in
    order, each with a goal of its own where the state shows goals; it has succeeded when the last one has.
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
    unseen: tuple[str, ...] = ()
    told: Callable[[int, Words], str] | None = field(default=None, compare=False)

    @property
    def instruction(self) -> str:
        """The canonical instruction."""
        return self.instructions[0]

    def say(self, scene: int, words: Words = Words.USUAL) -> str:
        """What the robot is told in the scene of this number. Raises UserError for words it does not have."""
        if self.told:
            return self.told(scene, words)
        if words is Words.WRONG:
            raise UserError(f"task {self.name}: it asks the same in every scene, so no words are wrong")
        known = {Words.TRAIN: self.instructions, Words.UNSEEN: self.unseen}.get(words, self.instructions[:1])
        if not known:
            raise UserError(f"task {self.name}: no wording is kept for evaluation; use words: train or usual")
        return known[scene % len(known)]


@dataclass(frozen=True)
class Job:
    """An episode to be run: the task, how it is said, the scene, and why.

    ``notes`` are what else the robot says of it when it starts.
    """

    task: Task
    instruction: str
    seed: int
    source: Source
    notes: Mapping[str, str] = field(default_factory=dict[str, str])


def find_tasks(known: Mapping[str, Task], names: Iterable[str]) -> tuple[Task, ...]:
    """The tasks of these names, in their order. Raises UserError for an unknown one."""
    names = tuple(names)
    for name in names:
        if name not in known:
            raise UserError(f"task {name}: no such task{suggest(name, known)}")
    return tuple(known[name] for name in names)
