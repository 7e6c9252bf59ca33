"""Train one stage from a configuration file; again, it resumes or does nothing."""

from typing import Annotated

import typer


def train(
    config: Annotated[str, typer.Argument(help="JSON file; docs/algorithms.md explains its fields.")],
) -> None:
    """Train one stage from a configuration file; again, it resumes or does nothing."""
    from lwd_core.training.config import TrainConfig
    from lwd_core.training.reporters import Terminal
    from lwd_core.training.run import Interrupted
    from lwd_core.training.run import train as run

    settings = TrainConfig.load(config)
    with Terminal(settings.updates) as terminal:
        try:
            result = run(settings, terminal)
        except Interrupted as notice:
            typer.echo(notice, err=True)
            raise typer.Exit(143) from notice
    typer.echo(result.checkpoint)
