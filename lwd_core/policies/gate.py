"""The gate before a release: a policy that is clearly worse than its parent does not pass.

The gate reads ``evaluations`` and decides nothing on a hunch: without episodes the answer is no. It looks
at scenes of the selection range only: a figure that is reported must not have chosen what it reports on.
"""

from dataclasses import asdict, dataclass

from lwd_core.lake.store import Lake
from lwd_core.policies.intervals import Rate, difference, wilson
from lwd_core.policies.scenes import Purpose, seed_range

#: SQL: how a policy was told what to do; before it was written down, in the usual way.
_TOLD = "coalesce(words, 'usual')"


@dataclass(frozen=True)
class GateVerdict:
    """The answer with what it rests on."""

    passed: bool
    reason: str
    candidate: Rate
    baseline: Rate | None

    @property
    def evidence(self) -> dict[str, object]:
        """The verdict as JSON-ready values, stored with the release."""
        return {"rule": "a 95% interval of the difference that lies below zero refuses", **asdict(self)}


def success_rate(
    lake: Lake, policy_id: str, purpose: Purpose = Purpose.EVALUATION, *, like: str | None = None
) -> Rate:
    """Success over the episodes of a policy in scenes of one range.

    ``like``: only where it was told what to do in the way in which this other policy was.
    """
    alike = f"AND {_TOLD} IN (SELECT {_TOLD} FROM evaluations WHERE policy_id = ?)" if like else ""
    row = lake.sql(
        "SELECT count(*) FILTER (success) AS successes, count(*) AS trials "
        f"FROM evaluations WHERE policy_id = ? AND seed >= ? AND seed < ? {alike}",
        (policy_id, *seed_range(purpose), *([like] if like else [])),
    ).to_pylist()[0]
    return wilson(row["successes"], row["trials"])


def gate(lake: Lake, candidate: str, baseline: str | None) -> GateVerdict:
    """Compare a candidate with the policy it would replace (None: the channel is empty)."""
    ours = success_rate(lake, candidate, Purpose.SELECTION)
    if ours.trials == 0:
        return GateVerdict(False, "the candidate was never judged in selection scenes", ours, None)
    if baseline is None:
        return GateVerdict(True, "nothing to replace", ours, None)
    theirs = success_rate(lake, baseline, Purpose.SELECTION, like=candidate)
    if theirs.trials == 0:
        return GateVerdict(True, "the policy it replaces was never judged like this", ours, theirs)
    if difference(ours, theirs)[1] < 0:
        return GateVerdict(False, f"success {ours} is clearly below {theirs}", ours, theirs)
    return GateVerdict(True, f"success {ours} against {theirs}", ours, theirs)
