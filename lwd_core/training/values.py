"""What a trained critic expects along episodes, as a label layer."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lwd_core.lake.store import Lake
from lwd_core.rl import divl
from lwd_core.rl.encoders import Observation
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.learner import Learner
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import policy_of
from storage_schemas.vocabulary import LabelKind


def has_critic(checkpoint: Checkpoint) -> bool:
    """Whether the run learned values at all; SFT does not."""
    return "critic" in checkpoint.state["learner"]["modules"]


@dataclass(frozen=True)
class LearnedValue:
    """V of a run's critic at every step: the quantile it bootstraps with, in reward units."""

    checkpoint: Checkpoint
    kind: LabelKind = LabelKind.PROGRESS

    @property
    def layer_id(self) -> str:
        """Run and checkpoint: another training is another layer."""
        return f"value.{self.checkpoint.about['config']['run']}.{self.checkpoint.digest[:8]}@1"

    def label(self, lake: Lake, episodes: pa.Table) -> pa.Table:
        """One row a step: ``value``."""
        critic = _Critic(self.checkpoint)
        told = dict(
            zip(
                episodes.column("episode_id").to_pylist(),
                episodes.column("instruction").to_pylist(),
                strict=True,
            )
        )
        parts = []
        for episode_id, instruction in told.items():
            steps = lake.read(
                "steps", columns=["step", "state"], where="episode_id = ? ORDER BY step", params=(episode_id,)
            )
            states = np.array(steps.column("state").to_pylist(), np.float32)
            parts.append(
                pa.table(
                    {
                        "episode_id": pa.repeat(episode_id, steps.num_rows),
                        "step": steps.column("step").combine_chunks(),
                        "value": critic(torch.from_numpy(states), instruction).numpy().astype(np.float64),
                    }
                )
            )
        return pa.concat_tables(parts)


class _Critic:
    def __init__(self, checkpoint: Checkpoint):
        self._config = TrainConfig.parse(checkpoint.about["config"])
        learner = Learner(self._config.learner, policy_of(checkpoint), self._config.critic)
        learner.critic.load_state_dict(checkpoint.state["learner"]["modules"]["critic"])
        self._critic, self._normaliser = learner.critic.eval(), learner.policy.normaliser
        known = zip(checkpoint.about["instructions"], checkpoint.state["embeddings"], strict=True)
        self._encoder = InstructionEncoder(dict(known))

    @torch.no_grad()
    def __call__(self, states: Tensor, instruction: str) -> Tensor:
        """(T, S) raw states to (T,) values."""
        embedding = self._encoder([instruction]).expand(len(states), -1)
        observation = Observation(self._normaliser.state(states), embedding)
        v = self._critic.v(self._critic.features(observation))
        return divl.bootstrap(self._config.learner.divl, v)[0]
