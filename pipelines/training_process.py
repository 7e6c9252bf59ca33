"""Training in a process of its own, as Dagster Pipes starts it: here, in a pod, on a GPU machine.

The orchestrator hands in a training configuration; progress, losses and the checkpoint go back
as Pipes messages. Nothing of Dagster's server is imported here, and nothing of torch by whoever
starts this.
"""

import os
import sys
import threading
import time

from dagster_pipes import PipesContext, open_dagster_pipes

from lwd_core.cli.main import EXIT_STOPPED, EXIT_USER_ERROR, complain
from lwd_core.errors import UserError


def main() -> None:
    """Run one training configuration and report the checkpoint it ended in."""
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    with open_dagster_pipes() as context:
        try:
            train(context)
        except UserError as error:
            complain(str(error))
            sys.exit(EXIT_USER_ERROR)


def train(context: PipesContext) -> None:
    """Run, and say what came of it."""
    from lwd_core.training.config import TrainConfig
    from lwd_core.training.run import Interrupted
    from lwd_core.training.run import train as run_training

    config = TrainConfig.parse(context.get_extra("config"))
    try:
        result = run_training(config, PipesReporter(context))
    except Interrupted as notice:
        context.log.info(str(notice))
        sys.exit(EXIT_STOPPED)
    context.report_asset_materialization(
        metadata={
            "checkpoint": str(result.checkpoint),
            "digest": result.digest,
            **result.metrics,
        },
        data_version=result.digest,
    )


class PipesReporter:
    """A training reporter that speaks to the orchestrator."""

    def __init__(self, context: PipesContext) -> None:
        self._context = context

    def log(self, update: int, metrics: dict[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()) if "loss" in name)
        self._context.log.info(f"update {update}: {shown}")


def end_with_parent(parent: int, every_s: float = 0.5) -> None:
    """A killed orchestrator must not leave a trainer behind that its successor would race."""
    while os.getppid() == parent:
        time.sleep(every_s)
    os._exit(1)


if __name__ == "__main__":
    main()
