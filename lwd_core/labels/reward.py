"""Sparse reward from the outcome: 1 on the last step of a success, 0 everywhere else."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.lake.store import Lake
from storage_schemas.vocabulary import LabelKind, Outcome


@dataclass(frozen=True)
class SparseReward:
    """The default reward, stored as sparsely as it is.

    One row an episode, on its last step; a step without a row has reward 0. An episode of
    unknown outcome gets reward 0 with the detail saying why, so that a snapshot may block it.
    """

    layer_id: str = "reward.sparse@1"
    kind: LabelKind = LabelKind.REWARD

    def label(self, lake: Lake, episodes: pa.Table) -> pa.Table:
        """One row an episode: ``step`` its last one, ``value`` 1 or 0."""
        outcome = episodes.column("outcome")
        return pa.table(
            {
                "episode_id": episodes.column("episode_id"),
                "step": pc.subtract(episodes.column("steps"), pa.scalar(1, pa.int32())),
                "value": pc.equal(outcome, Outcome.SUCCESS).cast(pa.float64()),
                "detail": pc.if_else(
                    pc.equal(outcome, Outcome.UNKNOWN), "outcome unknown", pa.scalar(None, pa.string())
                ),
            }
        )
