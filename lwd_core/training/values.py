"""What a trained critic expects along episodes, as a label layer."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.features.extractor import extractor_of
from lwd_core.features.table import FeatureTable
from lwd_core.labels.function import FunctionLabeller
from lwd_core.labels.registry import VALUES
from lwd_core.lake.episode import Episode
from lwd_core.loader.images import Decoder, FrameIndex, files_of
from lwd_core.rl import divl
from lwd_core.rl.encoders import Observation, VisionConfig
from lwd_core.rl.instruction import InstructionEncoder
from lwd_core.rl.learner import LearnerConfig
from lwd_core.rl.networks import CriticConfig
from lwd_core.snapshots.frames import FrameTable, RowFrames
from lwd_core.storage.location import Location
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig, algorithm_of
from lwd_core.training.run import policy_of
from storage_schemas.tables import FRAME
from storage_schemas.vocabulary import LabelKind


def has_critic(checkpoint: Checkpoint) -> bool:
    """Whether the run learned LWD's values; SFT and other algorithms do not."""
    return algorithm_of(checkpoint.about["config"]) == "lwd"


def learned_value(checkpoint: Checkpoint, lake: Location) -> FunctionLabeller:
    """V of a run's critic at every step: the quantile it bootstraps with, in reward units.

    A layer a run and checkpoint: another training is another layer. Frames are those of ``lake``.
    """
    critic = TrainedValue(checkpoint)

    def value(episode: Episode) -> np.ndarray:
        """What the critic expects along the episode."""
        vision = critic.vision
        images, there = shown(lake, vision, list(episode["frames"])) if vision else (None, None)
        found = critic(torch.as_tensor(episode["state"]), images, episode.instruction, there).numpy()
        # of a state that is not all numbers nothing is expected, nor of what is not seen
        blind = np.zeros(len(found), bool) if there is None else unseen(there)
        return np.where(np.isfinite(found) & ~blind, found, np.nan)

    name = f"{VALUES}{checkpoint.about['config']['run']}.{checkpoint.digest[:8]}"
    return FunctionLabeller(value, name, 1, LabelKind.PROGRESS, followed=False)


def unseen(there: Tensor) -> np.ndarray:
    """(T,) rows at which a camera shows nothing, but does elsewhere; of (T, C), where they do. All, where no
    camera ever does."""
    return (~there & (there.any(0) | ~there.any())).any(1).numpy()


def shown(
    lake: Location, vision: VisionConfig, frames: list[list[dict[str, Any]] | None]
) -> tuple[Tensor, Tensor]:
    """What the cameras showed at each of an episode's rows, as the network takes it: pictures
    (T, C, height, width, 3) u8, or their features (T, C, F) f32; (T, C) bool, whether they did."""
    told = pa.array([None if frame is None else list(frame) for frame in frames], pa.list_(FRAME))
    table = FrameTable()
    tensors = table.tensors(RowFrames.of(told, np.arange(len(frames)), vision.cameras))
    return decoded(lake, vision, vision.cameras, table.uris, tensors)


def decoded(
    lake: Location,
    vision: VisionConfig,
    cameras: Sequence[str],
    names: Sequence[str],
    tensors: Mapping[str, np.ndarray],
) -> tuple[Tensor, Tensor]:
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
    if vision.pretrained is not None:
        table = FeatureTable(lake, extractor_of(vision))
        features, there = table.shown(index, making=True).at(np.zeros_like(rows), rows)
        return torch.as_tensor(features), torch.as_tensor(there)
    images = torch.empty((len(rows), len(vision.cameras), vision.height, vision.width, 3), dtype=torch.uint8)
    files = files_of(lake)
    decoder = Decoder(index, files, vision.height, vision.width)
    there = decoder.decode(np.zeros_like(rows), rows, images.numpy())
    files.close()
    return images, torch.as_tensor(there)


class TrainedValue:
    """V of a run's critic, from what a robot observes."""

    def __init__(self, checkpoint: Checkpoint):
        config = TrainConfig.parse(checkpoint.about["config"], addresses=False)
        self._settings = cast(LearnerConfig, config.learner.made)
        learner = self._settings.learner(policy_of(checkpoint), config.critic)
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
    def __call__(
        self, states: Tensor, images: Tensor | None, instruction: str, there: Tensor | None = None
    ) -> Tensor:
        """(T, S) raw states and what cameras showed, as `shown` tells it, to (T,) values."""
        return divl.bootstrap(self._settings.divl, self._v(states, images, instruction, there))[0]

    @torch.no_grad()
    def law(
        self, states: Tensor, images: Tensor | None, instruction: str, there: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same to (T, K) probabilities of the K values that come with them.

        UserError for an expectile, which has no law.
        """
        if self._settings.divl.value == "expectile":
            raise UserError("value: an expectile has no law; only its values can be shown")
        v = self._v(states, images, instruction, there)
        return v.softmax(-1), self._settings.divl.support.values(v)

    def _v(self, states: Tensor, images: Tensor | None, instruction: str, there: Tensor | None) -> Tensor:
        embedding = self._encoder([instruction]).expand(len(states), -1)
        state = self._normaliser.state(self._normaliser.entering(states))
        observation = Observation(state, embedding, images, there)
        return self._critic.v(self._critic.features(observation))
