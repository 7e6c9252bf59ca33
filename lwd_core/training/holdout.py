"""What a run has learned, told by episodes it did not learn from."""

from itertools import islice
from typing import cast

import torch
from torch import Tensor

from lwd_core.errors import UserError
from lwd_core.rl import divl, flow
from lwd_core.rl.batch import Batch, Noise
from lwd_core.rl.flow import ConditionedFlow
from lwd_core.rl.learner import Learner, LearnerConfig
from lwd_core.rl.policy import FlowPolicy
from lwd_core.settings import Settings
from lwd_core.snapshots.snapshot import Snapshot
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.config import TrainConfig
from lwd_core.training.data import Data
from lwd_core.training.factory import widths
from lwd_core.training.run import film_of, policy_of
from lwd_core.training.values import has_critic
from lwd_core.training.workers import Share
from storage_schemas.vocabulary import Split, Stage


def batch_means(
    checkpoint: Checkpoint,
    settings: Settings,
    *,
    snapshot: str = "",
    split: str = Split.HOLDOUT,
    batches: int = 20,
) -> dict[str, float]:
    """Means over batches of a split of the run's offline snapshot, or of the one named.

    Always the policy's flow-matching loss; of a run with a critic also the losses of Q and V against
    targets of its own, Q of the data and how much better by Q the policy's chunks are than the reference's.
    The same numbers every time. UserError if the split is empty or another policy's data is named.
    """
    value = {**checkpoint.about["config"], "stage": Stage.OFFLINE, "online": None}
    value |= {"offline": snapshot or value["offline"], "init": value["init"] or value["run"], "follow": None}
    config = TrainConfig.parse(value, addresses=False)
    film = film_of(config, checkpoint, settings)
    snapshots = [Snapshot.open(settings.snapshots, config.offline)]
    data = Data(config, snapshots, Share(), film=film, split=split)
    policy = policy_of(checkpoint)
    _fits(policy, data, config.offline)
    noise = Noise(torch.Generator().manual_seed(0))
    learner = None
    if has_critic(checkpoint):
        learner = cast(LearnerConfig, config.learner.made).learner(policy, config.critic)
        learner.load_state_dict(checkpoint.state["learner"])
    sums: dict[str, float] = {}
    for _, batch in islice(data.batches(policy.normaliser), batches):
        found = _cloning(policy, batch, noise)
        if learner is not None:
            found |= _values(learner, batch) | learner.diagnose(batch, noise)
        for name, number in found.items():
            sums[name] = sums.get(name, 0.0) + float(number) / batches
    return sums


@torch.no_grad()
def _cloning(policy: FlowPolicy, batch: Batch, noise: Noise) -> dict[str, Tensor]:
    width = batch.action.shape[1]
    _, info = flow.flow_matching_loss(
        ConditionedFlow.of(policy.field, batch.observation, batch.dim_mask),
        batch.action,
        batch.mask,
        noise.normal(batch, width),
        noise.uniform(batch, 1),
    )
    return info


@torch.no_grad()
def _values(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    critic, target, config = learner.critic, learner.target, learner.config.divl
    features = critic.features(batch.observation)
    following, _ = divl.bootstrap(config, critic.v(critic.features(batch.next_observation)))
    replay = target.q(target.features(batch.observation), batch.action).amin(0)
    _, of_v = divl.value_loss(config, critic.v(features), replay)
    q = critic.q(features, batch.action)
    _, of_q = divl.q_loss(q, divl.td_target(batch.reward, batch.discount, following))
    return {"value_loss": of_v["value_loss"], **of_q}


def _fits(policy: FlowPolicy, data: Data, digest: str) -> None:
    have, need = widths(policy, data.snapshots[0].manifest)
    if have != need:
        raise UserError(
            f"snapshot {digest}: holds (state, action) of {need}, the policy takes {have}; name another"
        )
