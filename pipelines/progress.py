"""What has been done already, asked of Dagster's own records: finished steps, and the finished part of one
that was cut short."""

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType

from lwd_core.errors import UserError
from pipelines.profile import Profile

#: Tags of the runs a driver starts.
STEP, PROFILE, PROFILE_DIGEST = "lwd/step", "lwd/profile", "lwd/profile_digest"
_ALIVE = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True)
class Records:
    """The runs of one profile's driver in one Dagster instance."""

    instance: dg.DagsterInstance
    plan: Profile

    def require_same_profile(self) -> None:
        """A home belongs to one profile: two in one lake would train on each other's days."""
        for run in self.instance.get_runs():
            before = run.tags.get(PROFILE_DIGEST)
            if before and before not in self.plan.digests:
                raise UserError(
                    f"this home was made with profile {run.tags.get(PROFILE)} ({before}), not with "
                    f"{self.plan.name} ({self.plan.digest}); choose another --home or remove it"
                )

    def bury_the_dead(self) -> None:
        """Runs of a driver that was killed look alive for ever; say that they are not."""
        for run in self.instance.get_runs(dg.RunsFilter(statuses=_ALIVE)):
            if STEP in run.tags:
                self.instance.report_run_canceled(run, message="the process that drove it ended")

    def done(self, step: str) -> bool:
        """Whether a run of the step succeeded."""
        return bool(self._runs(step, [dg.DagsterRunStatus.SUCCESS]))

    def left(
        self,
        step: str,
        assets: Iterable[dg.AssetsDefinition],
        checks: Iterable[dg.AssetChecksDefinition],
    ) -> list[dg.AssetKey]:
        """Those of a step's assets that no earlier run of it has made and checked.

        What is computed together is done together or not at all, and an asset whose blocking check
        did not pass is not done.
        """
        made: set[dg.AssetKey] = set()
        passed: set[dg.AssetCheckKey] = set()
        for run in self._runs(step):
            for record in self.instance.all_logs(
                run.run_id,
                of_type={DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION},
            ):
                event = record.get_dagster_event()
                if event.is_step_materialization:
                    made.add(event.step_materialization_data.materialization.asset_key)
                elif event.asset_check_evaluation_data.passed:
                    passed.add(event.asset_check_evaluation_data.asset_check_key)
        blocking = {spec.key for definition in checks for spec in definition.check_specs if spec.blocking}
        left = []
        for definition in assets:
            wanted = {key for key in blocking if key.asset_key in definition.keys}
            if not (definition.keys <= made and wanted <= passed):
                left += sorted(definition.keys)
        return left

    def _runs(self, step: str, statuses: list[dg.DagsterRunStatus] | None = None) -> list[dg.DagsterRun]:
        tags = {STEP: step, PROFILE_DIGEST: self.plan.digests}
        return list(self.instance.get_runs(dg.RunsFilter(tags=tags, statuses=statuses)))
