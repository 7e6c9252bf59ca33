"""What a person at the terminal sees of a run: Dagster's log, told in short lines."""

import logging
import time

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

CONSOLE = Console(highlight=False)


class Narrator(logging.Handler):
    """Prints what assets say and how long they took; keeps a line with the overall progress below."""

    def __init__(self, total: int) -> None:
        super().__init__(logging.DEBUG)  # Dagster tells of finished steps at this level
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=CONSOLE,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=total)
        self._began = time.monotonic()

    def __enter__(self) -> "Narrator":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, text: str, style: str = "") -> None:
        """One line with the time since the start."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        CONSOLE.print(f"[dim]{minutes:02d}:{seconds:02d}[/dim] {escape(text)}", style=style, soft_wrap=True)

    def step(self, name: str, done: int) -> None:
        """A step begins; ``done`` are finished."""
        self._progress.update(self._task, description=name, completed=done)

    def emit(self, record: logging.LogRecord) -> None:
        """Tell what is worth telling of a log record."""
        meta = getattr(record, "dagster_meta", {})
        event, step = meta.get("dagster_event"), meta.get("step_key") or ""
        if event is None:
            if record.levelno < logging.INFO:
                return
            self.say(f"  {step}: {meta.get('orig_message') or record.getMessage()}", style="dim")
            return
        if event.event_type_value == "STEP_SUCCESS":
            seconds = event.event_specific_data.duration_ms / 1000
            self.say(f"  {step} done in {seconds:.1f} s")
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            found = event.event_specific_data
            if not found.passed:
                self.say(
                    f"  check {found.check_name} of {found.asset_key.to_user_string()} "
                    + ("warns" if found.severity is dg.AssetCheckSeverity.WARN else "failed"),
                    style="yellow",
                )

    def as_logger(self) -> dg.LoggerDefinition:
        """This handler as a Dagster logger."""

        def narrate(_context: dg.InitLoggerContext) -> logging.Logger:
            told = logging.Logger("lwd.narrator", logging.DEBUG)
            told.addHandler(self)
            return told

        return dg.LoggerDefinition(narrate, description="short lines for a person")
