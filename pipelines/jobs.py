"""Jobs: the ways the loop is walked, and the chores beside it."""

import dagster as dg

from pipelines.assets.installed import OTHER_KEYS
from pipelines.chores import compact_and_vacuum, ingest_unpartitioned, judge_canary, renew_channels

DATA = (
    "logs",
    "episodes",
    "steps",
    "segments",
    "rewards",
    "outcomes",
    "quality",
    "pictures",
    "features",
    *OTHER_KEYS,
)
LEARNING = ("training_snapshot", "checkpoint", "values", "policy", "evaluation", "release")


def _all(*names: str | dg.AssetKey) -> dg.AssetSelection:
    # a list of names would be read by a grammar, whose parser costs more to import than all of this
    return dg.AssetSelection.assets(*names)


fleet_day = dg.define_asset_job(
    "fleet_day",
    selection=_all("fleet_logs", *DATA),
    description="Simulated robots work a day; their logs become labelled episodes.",
)
ingest_day = dg.define_asset_job(
    "ingest_day", selection=_all(*DATA), description="Whatever landed of a day becomes labelled episodes."
)


@dg.job(description="What landed and belongs to no day and site of the graph, into the lake all the same.")
def ingest_rest() -> None:
    ingest_unpartitioned()


learning_round = dg.define_asset_job(
    "learning_round",
    selection=_all(*LEARNING),
    description="Snapshot, training, policy, evaluation, gate and release of one round.",
)
make_report = dg.define_asset_job(
    "make_report", selection=_all("report"), description="The report, made anew."
)


@dg.job(description="Promote the canary or roll it back, as its episodes decide.")
def canary_verdict() -> None:
    judge_canary()


@dg.job(description="Release channels signed anew, so that robots go on following them.")
def channel_renewal() -> None:
    renew_channels()


@dg.job(description="Compaction and vacuum of the lake.")
def upkeep() -> None:
    compact_and_vacuum()


JOBS = [
    fleet_day,
    ingest_day,
    ingest_rest,
    learning_round,
    make_report,
    canary_verdict,
    channel_renewal,
    upkeep,
]
