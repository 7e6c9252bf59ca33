"""Where a run's figures go: the run's folder, TensorBoard, a terminal."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lwd_core.storage.location import Location

METRICS = "metrics.jsonl"


class Reporter(Protocol):
    """Takes a run's figures as they come."""

    def log(self, update: int, metrics: dict[str, float]) -> None:
        """``update`` counts those done; metrics are means since the last call."""
        ...


class Metrics:
    """metrics.jsonl in the run's folder: one JSON object a line."""

    def __init__(self, run: Location, update: int):
        """Keeps what is there up to ``update``, where the run goes on."""
        self._run = run
        self._lines = [row for row in read_metrics(run) if row["update"] <= update]

    def log(self, update: int, metrics: dict[str, float]) -> None:
        self._lines.append({"update": update, **metrics})
        with self._run.write(METRICS) as file:
            file.write("".join(f"{json.dumps(line)}\n" for line in self._lines).encode())


class TensorBoard:
    """Event files in a local folder."""

    def __init__(self, folder: Path, update: int):
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=update + 1)

    def log(self, update: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, update)
        self._writer.flush()


class Terminal:
    """A progress bar with the time left and the newest losses; a context, so that it gives the line back."""

    def __init__(self, total: int):
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("training", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def log(self, update: int, metrics: dict[str, float]) -> None:
        losses = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name.endswith("loss"))
        self._progress.update(self._task, completed=update, description=losses or "training")


class Several:
    """All of several reporters."""

    def __init__(self, reporters: Sequence[Reporter]):
        self._reporters = reporters

    def log(self, update: int, metrics: dict[str, float]) -> None:
        for reporter in self._reporters:
            reporter.log(update, metrics)


def read_metrics(run: Location) -> list[dict[str, float]]:
    """The lines of a run's metrics.jsonl; none if there is no such file."""
    try:
        return [json.loads(line) for line in run.read(METRICS).splitlines()]
    except FileNotFoundError:
        return []
