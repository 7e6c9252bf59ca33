"""The outcome as a layer, so that it can be compared with what other labellers say."""

from dataclasses import dataclass

import pyarrow as pa

from lwd_core.lake.store import Lake
from storage_schemas.vocabulary import LabelKind


@dataclass(frozen=True)
class RecordedOutcome:
    """What the episode itself says: a person's verdict or the robot's own event."""

    layer_id: str = "outcome.recorded@1"
    kind: LabelKind = LabelKind.OUTCOME

    def label(self, lake: Lake, episodes: pa.Table) -> pa.Table:
        """One row an episode: ``text`` the outcome, ``detail`` who said so."""
        return pa.table(
            {
                "episode_id": episodes.column("episode_id"),
                "text": episodes.column("outcome"),
                "detail": episodes.column("outcome_from"),
            }
        )
