"""Sparse reward from the outcome: 1 on the last step of a success, 0 everywhere else."""

from lwd_core.labels.function import FunctionLabeller
from lwd_core.labels.said import Said
from lwd_core.lake.episode import Episode
from storage_schemas.vocabulary import LabelKind, Outcome


def sparse_reward(episode: Episode) -> Said:
    """The default reward, stored as sparsely as it is: 1 on the last step of a success.

    One row an episode, on its last step; a step without a row has reward 0. An episode of unknown outcome
    gets reward 0 with the detail saying why, so that a snapshot may block it.
    """
    unknown = episode.outcome == Outcome.UNKNOWN
    return Said(
        step=len(episode) - 1,
        value=float(episode.outcome == Outcome.SUCCESS),
        detail="outcome unknown" if unknown else None,
    )


SPARSE_REWARD = FunctionLabeller(sparse_reward, "reward.sparse", 1, LabelKind.REWARD, followed=False)
