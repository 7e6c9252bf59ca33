"""What a trained critic expects along episodes, as a label layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.loader.images import Decoder, FrameIndex, files_of
from lwd_core.rl import divl
from lwd_core.rl.encoders import Observation, VisionConfig
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.learner import Learner
from lwd_core.rl.networks import CriticConfig
from lwd_core.snapshots.frames import FrameTable
from lwd_core.storage.location import Location
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.run import policy_of
from storage_schemas.vocabulary import LabelKind


def has_critic(checkpoint: Checkpoint) -> bool:
    """Whether the run learned values at all; SFT does not."""
    return "critic" in checkpoint.state["learner"]["modules"]


def has_value(checkpoint: Checkpoint) -> bool:
    """Whether it learned V as well, which a learner of Q alone does not."""
    return has_critic(checkpoint) and any(
        name.startswith("v_head.") for name in checkpoint.state["learner"]["modules"]["critic"]
    )


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
        critic = TrainedValue(self.checkpoint)
        vision = critic.vision
        columns = ["step", "state", *(["frames"] if vision else [])]
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
                "steps", columns=columns, where="episode_id = ? ORDER BY step", params=(episode_id,)
            )
            states = torch.from_numpy(np.array(steps.column("state").to_pylist(), np.float32))
            images = shown(lake.place, vision, steps.column("frames").to_pylist()) if vision else None
            value = critic(states, images, instruction).numpy().astype(np.float64)
            parts.append(
                pa.table(
                    {
                        "episode_id": pa.repeat(episode_id, steps.num_rows),
                        "step": steps.column("step").combine_chunks(),
                        # of a state that is not all numbers nothing is expected
                        "value": pa.array(value, mask=~np.isfinite(value)),
                    }
                )
            )
        return pa.concat_tables(parts)


def shown(lake: Location, vision: VisionConfig, frames: list[list[dict] | None]) -> Tensor:
    """What the cameras showed at each of an episode's rows: (T, C, height, width, 3) u8."""
    table = FrameTable(vision.cameras)
    tensors = table.tensors(frames)
    return decoded(lake, vision, vision.cameras, table.uris, tensors)


def decoded(
    lake: Location,
    vision: VisionConfig,
    cameras: Sequence[str],
    names: Sequence[str],
    tensors: Mapping[str, np.ndarray],
) -> Tensor:
    """As `shown`, from an episode's frame tensors (see ``storage_schemas.snapshot``) of these cameras, whose
    shards have these names. UserError where a camera the vision takes is not among them."""
    if missing := [camera for camera in vision.cameras if camera not in cameras]:
        raise UserError(
            f"cameras: the critic sees {', '.join(missing)}, the snapshot has {', '.join(cameras) or 'none'}"
        )
    columns = [list(cameras).index(camera) for camera in vision.cameras]
    at = (tensors[f"frame_{name}"][:, columns] for name in ("shard", "offset", "size"))
    index = FrameIndex(vision.cameras, tuple(names), np.zeros(1, np.int64), *at)
    rows = np.arange(len(index.shard))
    images = torch.empty((len(rows), len(vision.cameras), vision.height, vision.width, 3), dtype=torch.uint8)
    files = files_of(lake)
    Decoder(index, files, vision.height, vision.width).decode(np.zeros_like(rows), rows, images.numpy())
    files.close()
    return images


class TrainedValue:
    """V of a run's critic, from what a robot observes."""

    def __init__(self, checkpoint: Checkpoint):
        self._config = TrainConfig.parse(checkpoint.about["config"])
        learner = Learner(self._config.learner, policy_of(checkpoint), self._config.critic)
        learner.critic.load_state_dict(checkpoint.state["learner"]["modules"]["critic"])
        self._critic, self._normaliser = learner.critic.eval(), learner.policy.normaliser
        known = zip(checkpoint.about["instructions"], checkpoint.state["embeddings"], strict=True)
        self._encoder = InstructionEncoder(dict(known))

    @property
    def shape(self) -> CriticConfig:
        """Of the critic's network."""
        return self._critic.config

    @property
    def vision(self) -> VisionConfig | None:
        """The cameras it sees."""
        return self._critic.config.encoder.vision

    @torch.no_grad()
    def __call__(self, states: Tensor, images: Tensor | None, instruction: str) -> Tensor:
        """(T, S) raw states and (T, C, height, width, 3) u8 images to (T,) values."""
        embedding = self._encoder([instruction]).expand(len(states), -1)
        observation = Observation(self._normaliser.state(states), embedding, images)
        v = self._critic.v(self._critic.features(observation))
        return divl.bootstrap(self._config.learner.divl, v)[0]
