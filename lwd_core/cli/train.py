"""Train one stage from a configuration file, or follow the fleet while it runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from typer.core import TyperGroup

from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._output import AsJson, say_json
from lwd_core.cli.main import EXIT_STOPPED
from lwd_core.interrupt import stopped
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

if TYPE_CHECKING:
    from lwd_core.training.checkpoint import Checkpoint
    from lwd_core.training.config import TrainConfig


class RunByDefault(TyperGroup):
    """``lwd train run.yaml`` is ``lwd train run run.yaml``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0].startswith("-"))
        return super().parse_args(ctx, args if named or not args else ["run", *args])


Report = Annotated[
    str | None,
    Option(help="Who else hears the figures: mlflow, wandb, trackio, …; default: the setting reporters."),
]
app = typer.Typer(cls=RunByDefault, no_args_is_help=True, help=__doc__)


@app.command()
def run(
    config: Annotated[str, Argument(help="YAML file; docs/algorithms.md explains its fields.")],
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Train one stage from a configuration file; again, it resumes or does nothing.

    Example: lwd train run my-run.yaml
    """
    from lwd_core.training.config import TrainConfig

    settings = reporting(report)
    _train(TrainConfig.load(config), as_json, settings)


@app.command()
def online(
    run: Annotated[str, Option(help="Name of the run; the same name goes on where it was.")] = "online",
    follow: Annotated[
        bool, Option("--follow", help="Keep asking the lake; else: what it holds at the start.")
    ] = False,
    ratio: Annotated[float | None, Option(help="Offline share of a batch; default: half.")] = None,
    updates: Annotated[int, Option(help="Learner updates.", min=1)] = 5_000,
    publish_every: Annotated[int, Option(help="Updates between two releases.", min=1)] = 50,
    poll_every: Annotated[int, Option(help="Batches between two looks at the lake.", min=1)] = 50,
    channel: Annotated[Channel, Option(help="Where the releases go.")] = Channel.PRODUCTION,
    config: Annotated[
        Path | None, Option(help="YAML file with other fields, over production's own run.")
    ] = None,
    report: Report = None,
    as_json: AsJson = False,
) -> None:
    """Learn online from the policy in production: fleet episodes and old data, 1:1, release after release.

    Needs somebody to take logs in: `make ui`, or `lwd ingest --follow`. SIGTERM or Ctrl-C saves the state;
    the same command goes on from there. Example: lwd train online --follow --publish-every 100
    """
    from lwd_core.training.config import read_config
    from lwd_core.training.online import Publisher, online_config

    never = updates + 1
    settings = reporting(report)
    over = {
        "updates": updates,
        "checkpoint_every": publish_every,
        "poll_every": poll_every if follow else never,
        "log_every": publish_every,
        **({} if ratio is None else {"online_share": 1 - ratio}),
        **(read_config(config) if config else {}),
    }
    chosen = online_config(settings, run, over)
    publisher = Publisher(
        settings,
        channel,
        told=lambda checkpoint, release: typer.echo(
            f"update {checkpoint.about['update']}: {release.policy_id} on {release.channel}, "
            f"drawn from version {checkpoint.about['drawn'][-1][1]['episodes']} of episodes",
            err=as_json,
        ),
    )
    _train(chosen, as_json, settings, publisher)


def reporting(report: str | None) -> Settings:
    """The settings, with other reporters where some are named. Raises `UserError` for one there isn't."""
    from lwd_core.training.reporting import reporters

    settings = Settings() if report is None else Settings(reporters=report)
    reporters(settings.reporters)
    return settings


def _train(
    config: "TrainConfig",
    as_json: bool,
    settings: Settings,
    publish: "Callable[[Checkpoint], None]" = lambda _: None,
) -> None:
    from lwd_core.training.reporters import Terminal
    from lwd_core.training.run import Interrupted, train

    try:
        with Terminal(config.updates) as terminal:
            result = train(config, terminal, settings, publish=publish)
    except Interrupted as notice:
        typer.echo(notice, err=True)
        raise typer.Exit(stopped() or EXIT_STOPPED) from notice
    end = "finished before, nothing was trained" if result.before else "finished"
    typer.echo(f"run {config.run}: {end}, {config.updates} updates", err=True)
    if as_json:
        say_json({"checkpoint": result.checkpoint, "digest": result.digest, "metrics": result.metrics})
    else:
        typer.echo(result.checkpoint)
