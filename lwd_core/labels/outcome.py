"""The outcome as a layer, so that it can be compared with what other labellers say."""

from lwd_core.labels.function import FunctionLabeller
from lwd_core.labels.said import Said
from lwd_core.lake.episode import Episode
from storage_schemas.vocabulary import LabelKind


def recorded_outcome(episode: Episode) -> Said:
    """How each episode ended, and who says so: a person's verdict or the robot's own event."""
    return Said(text=episode.outcome, detail=episode.facts["outcome_from"])


RECORDED_OUTCOME = FunctionLabeller(
    recorded_outcome, "outcome.recorded", 1, LabelKind.OUTCOME, followed=False
)
