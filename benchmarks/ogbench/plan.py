"""Which curves there are, and what each rests on."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lwd_core import config_file
from lwd_core.errors import UserError
from storage_schemas.canonical import digest

#: The run of one update that the others start from: networks as they are born.
BORN = "born"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SingleTask(_Part):
    """One of OGBench's single tasks, or the `point`, and how much play is made for it."""

    play: str
    task: str
    episodes: int = Field(ge=1)


class Contender(_Part):
    """What learns; ``learner``, ``critic`` (over the plan's) and ``n_step`` as in a training configuration.

    reward: 1 at the "goal", the platform's own, or the "cost" of −1 a step until there, OGBench's.
    agent: of QAM's released code, which then learns in the peers' environment: its settings over the plan's.
    """

    title: str
    reward: Literal["goal", "cost"] = "goal"
    agent: dict[str, Any] | None = None
    learner: dict[str, Any] = {}
    critic: dict[str, Any] = {}
    n_step: int = 1

    @property
    def released(self) -> bool:
        """Whether it is QAM's released code."""
        return self.agent is not None


class Comparison(_Part):
    """One of the YAML files beside this module; ``full.yaml`` says what each field is."""

    tasks: dict[str, SingleTask]
    shard: int = Field(ge=1, le=9, description="at ten episodes OGBench's script keeps some for validation")
    control_hz: float
    chunk: int
    gamma: float
    updates: int
    every: int
    trials: int
    worlds: int
    official: dict[str, Any]
    training: dict[str, Any]
    learners: dict[str, Contender]

    def agent(self, learner: str) -> dict[str, Any]:
        """Settings of the released code."""
        own = self.learners[learner].agent or {}
        return {**self.official, **own, "horizon_length": self.chunk, "discount": self.gamma}

    def run(self, name: str, learner: str, seed: int, snapshot: str) -> dict[str, Any]:
        """A training configuration: of a learner, or of the networks all of them start from."""
        value = {**self.training, "run": name, "seed": seed, "offline": snapshot}
        if learner == BORN:
            return {**value, "stage": "sft", "updates": 1}
        contender = self.learners[learner]
        return {
            **value,
            "stage": "offline",
            "init": f"{BORN}-{seed}",
            "updates": self.updates,
            "checkpoint_every": self.every,
            "log_every": self.every,
            "learner": contender.learner,
            "critic": {**self.training.get("critic", {}), **contender.critic},
            "n_step": contender.n_step,
        }

    def identity(self, task: str, learner: str) -> str:
        """Digest of all that a curve depends on but its seed."""
        told: dict[str, Any] = self.model_dump(mode="json")
        del told["worlds"]
        del told["learners"]
        own = self.learners[learner].model_dump(mode="json", exclude={"title"}, exclude_defaults=True)
        told.pop("training" if self.learners[learner].released else "official")
        return digest({**told, "tasks": told["tasks"][task], "learner": own})


def load_comparison(name: str) -> Comparison:
    """A comparison by the name of its file. Raises UserError for one there is not."""
    path = Path(__file__).with_name(f"{name}.yaml")
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise UserError(f"plan {name!r}: no such file; use one of {known}")
    return Comparison.model_validate(config_file.read(path, "a comparison"))
