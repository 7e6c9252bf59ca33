"""Jobs: the three ways the loop is walked."""

import dagster as dg

DATA = ("logs", "episodes", "steps", "segments", "rewards", "outcomes", "quality")
LEARNING = ("training_snapshot", "checkpoint", "values", "policy", "evaluation", "release")

fleet_day = dg.define_asset_job(
    "fleet_day",
    selection=["fleet_logs", *DATA],
    description="Simulated robots work a day; their logs become labelled episodes.",
)
ingest_day = dg.define_asset_job(
    "ingest_day", selection=list(DATA), description="Whatever landed of a day becomes labelled episodes."
)
learning_round = dg.define_asset_job(
    "learning_round",
    selection=list(LEARNING),
    description="Snapshot, training, policy, evaluation, gate and release of one round.",
)
report_job = dg.define_asset_job("make_report", selection=["report"], description="The report, made anew.")

JOBS = [fleet_day, ingest_day, learning_round, report_job]
