"""What Q is worth where it counts: the chunks it likes best and least, executed in simulation."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from lwd_core.assessment.verdict import ALL
from lwd_core.fleet.evaluate import evaluate
from lwd_core.fleet.workcells import DEFAULT
from lwd_core.policies.inputs import Randomness, Shown, drawn
from lwd_core.policies.intervals import Rate, wilson
from lwd_core.policies.pixels import BLIND, pixels, sizes_of
from lwd_core.policies.scenes import Purpose, scene_seeds
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.learner import LearnerConfig
from lwd_core.rl.policy import FlowPolicy, PolicyConfig
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import policy_of
from lwd_core.training.values import TrainedValue, has_critic
from storage_schemas.vocabulary import Words


def simulate(
    checkpoint: Checkpoint,
    settings: Settings,
    scenes: int,
    *,
    tasks: Sequence[str] = (),
    first: int = 0,
    purpose: Purpose = Purpose.SELECTION,
    of: int = 8,
    robot: str = DEFAULT,
    words: Words = Words.USUAL,
    camera_size: int = 0,
    told: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, dict[str, Rate]]:
    """Success by who chooses each chunk, then by task (``all`` first), with Wilson's intervals.

    ``policy`` acts as it would on a robot, ``reference`` is what it was kept near to; ``best`` and ``worst``
    take of ``of`` chunks of the reference, where the data vouches for Q, the one Q likes most and least. All
    meet the same ``scenes`` of each task (by default all of the run's) from the ``first``-th of their range
    on: that of selection, since what one learns here decides what one does next. ``told(who, done, total)``
    hears of every episode. A run without a critic has its policy alone. ``robot`` and ``words``: the type of
    robot that does it, and how it is told. Pictures are of ``camera_size`` pixels a side, by default of the
    size it learned from. UserError for a task the robot does not have.
    """
    found, seeds = {}, scene_seeds(purpose, scenes, first=first)
    tasks = tasks or Snapshot.open(settings.snapshots, checkpoint.about["config"]["offline"]).tasks
    for who, policy in contenders(checkpoint, of).items():
        rows = evaluate(
            policy,
            tasks,
            seeds,
            now_ns=time.time_ns(),
            robot=robot,
            words=words,
            camera_size=camera_size or _camera_size(checkpoint),
            progress=lambda done, total, who=who: told(who, done, total),
        ).to_pylist()
        own = {task: [row for row in rows if row["task"] == task] for task in tasks}
        found[who] = {name: _rate(some) for name, some in {ALL: rows, **own}.items()}
    return found


def _camera_size(checkpoint: Checkpoint) -> int:
    """Pixels a side of the pictures its cameras showed; 0 where it had none, or they were all sorts."""
    shown = {size for sizes in sizes_of(checkpoint.about["embodiments"]).values() for size in sizes}
    height, width = shown.pop() if len(shown) == 1 else (0, 0)
    return height if height == width else 0


def _rate(rows: Sequence[dict]) -> Rate:
    return wilson(sum(row["success"] for row in rows), len(rows))


class Acting:
    """A policy that was never signed, as the simulated robots ask it."""

    def __init__(
        self,
        name: str,
        model: FlowPolicy,
        encoder: InstructionEncoder,
        sizes: Mapping[str, Collection[tuple[int, int]]] = MappingProxyType({}),
    ):
        self.policy_id, self._model, self._encoder, self._sizes = name, model.eval(), encoder, sizes
        self._vision = model.config.field.encoder.vision

    @property
    def cameras(self) -> tuple[str, ...]:
        """See ``fleet.robot.RobotPolicy``."""
        return self._vision.cameras if self._vision else ()

    @property
    def sizes(self) -> Mapping[str, Collection[tuple[int, int]]]:
        """See ``fleet.robot.RobotPolicy``."""
        return self._sizes

    def act(
        self,
        states: npt.NDArray[np.float32],
        instructions: list[str],
        generator: Randomness,
        frames: Sequence[Shown] | None = None,
        embodiment: str = "",
    ) -> npt.NDArray[np.float32]:
        """See ``fleet.robot.RobotPolicy``."""
        noise = drawn(generator, self._model.noise_shape, len(states))
        with torch.inference_mode():
            told = self._encoder(instructions)
            seen = BLIND
            if self._vision:
                seen = pixels(frames, len(states), self._vision, self.policy_id, self._sizes)
            state, noisy = torch.from_numpy(states), torch.from_numpy(noise)
            return self._model.answer(state, instructions, told, noisy, seen._asdict(), embodiment).numpy()


def contenders(checkpoint: Checkpoint, of: int) -> dict[str, Acting]:
    """Who chooses, by name; see `simulate`."""
    policy, modules = policy_of(checkpoint), checkpoint.state["learner"]["modules"]
    encoder = InstructionEncoder(
        dict(zip(checkpoint.about["instructions"], checkpoint.state["embeddings"], strict=True))
    )
    models = {"policy": policy}
    if has_critic(checkpoint):
        config = TrainConfig.parse(checkpoint.about["config"], addresses=False)
        learner = cast(LearnerConfig, config.learner.made)
        alone = PolicyConfig(policy.config.field, learner.reference.steps)
        choosing = replace(alone, best_of=of, critic=replace(TrainedValue(checkpoint).shape, atoms=0))
        for who, shape in {"reference": alone, "best": choosing, "worst": choosing}.items():
            models[who] = FlowPolicy(shape, policy.normaliser)
            models[who].field.load_state_dict(modules["reference"])
            critic = models[who].critic
            if critic is not None:
                critic.load_state_dict({name: modules["critic"][name] for name in critic.state_dict()})
            if critic is not None and who == "worst":  # what Q likes least is what −Q likes most
                for last in (critic.q_heads.weights[-1], critic.q_heads.biases[-1]):
                    last.data.neg_()
    sizes = sizes_of(checkpoint.about["embodiments"])
    return {who: Acting(who, model, encoder, sizes) for who, model in models.items()}
