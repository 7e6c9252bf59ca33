"""Who else hears of a run: experiment trackers, each in a thread of its own that a run never waits for.

A package adds one by the entry point ``lwd.reporters``, a class that implements `RunReporter`. Which are
told is the setting ``reporters``: a run is the same whoever listens.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, Protocol

from lwd_core.errors import UserError
from lwd_core.plugins import Door
from lwd_core.redact import redacted

End = Literal["finished", "stopped", "failed"]
Figures = tuple[int, dict[str, float]]
#: Figures that wait for a tracker which can't be reached; later ones are lost, and counted.
MOST_WAITING = 10_000
#: How often one figure is tried before it is lost: it may be the one the tracker refuses.
TRIES = 3
#: How long a run's end waits for trackers to take the rest, seconds.
PATIENCE = 30.0


@dataclass(frozen=True)
class RunFacts:
    """What a reporter is told of a run before its figures.

    ``identity``: digest of its configuration; the same where a run goes on, whose first ``update`` updates
    are done. ``config``: plain values without secrets. ``folder``: the run's, for files of the reporter's
    own; None in a bucket.
    """

    run: str
    identity: str
    update: int
    config: Mapping[str, Any]
    folder: Path | None


class RunReporter(Protocol):
    """Tells one tracker. A member of the door is a class that is made without arguments.

    All three are called from one thread, never at once. What they raise is said to a person and stops
    nothing: a `UserError` of ``begin`` means in vain, anything else is tried again with the next figures.
    """

    def begin(self, facts: RunFacts) -> None:
        """Open a new run, or go on with the one of this identity."""
        ...

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """``update`` counts those done; metrics are means since the last call."""
        ...

    def end(self, how: End) -> None:
        """Close it. ``stopped`` goes on later."""
        ...


REPORTERS: Door[Any] = Door(
    "lwd.reporters",
    {
        "mlflow": "lwd_core.training.trackers:MlflowReporter",
        "wandb": "lwd_core.training.trackers:WandbReporter",
        "trackio": "lwd_core.training.trackers:TrackioReporter",
    },
    needs=("begin", "log", "end"),
    kind="reporter",
)


def reporters(names: str) -> dict[str, RunReporter]:
    """The reporters of a comma-separated list. Raises UserError for one that is none or lacks its package."""
    wanted = dict.fromkeys(name.strip() for name in names.split(",") if name.strip())
    return {name: REPORTERS.made(name) for name in wanted}


class Listener:
    """One reporter behind a queue: `log` returns at once, nothing it raises or waits for reaches a run."""

    def __init__(self, name: str, reporter: RunReporter, facts: RunFacts) -> None:
        self._name, self._reporter, self._facts = name, reporter, facts
        self._queue: SimpleQueue[Figures | End] = SimpleQueue()
        self._given = self._taken = 0
        self._in_vain = self._complained = False
        self._thread = threading.Thread(target=self._work, name=f"reporter {name}", daemon=True)
        self._thread.start()

    def log(self, update: int, metrics: dict[str, float]) -> None:
        """Leave figures for the thread."""
        if self._given - self._taken < MOST_WAITING:
            self._queue.put((update, dict(metrics)))
        self._given += 1

    def close(self, how: End, patience: float = PATIENCE) -> None:
        """Let it take what waits, for so many seconds at most, and say what it did not take."""
        self._queue.put(how)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._say(f"no answer for {patience:g} s; the run ends without it")
        if lost := self._given - self._taken:
            self._say(f"{lost} of {self._given} figures were not taken; metrics.jsonl of the run has all")

    def _work(self) -> None:
        waiting: deque[Figures] = deque()
        begun, tries, how = self._tried(self._reporter.begin, self._facts), 0, None
        while how is None and not self._in_vain:
            match self._queue.get():
                case str() as end:
                    how = end
                case figures:
                    waiting.append(figures)
            begun = begun or self._tried(self._reporter.begin, self._facts)
            while begun and waiting:
                tries += 1
                taken = self._tried(self._reporter.log, *waiting[0])
                if not taken and tries < TRIES:
                    break
                waiting.popleft()
                self._taken += taken
                tries = 0
        if begun and how:
            self._tried(self._reporter.end, how)

    def _tried(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Whether it went well. What did not is said once."""
        try:
            call(*arguments)
        except UserError as error:
            self._in_vain = call == self._reporter.begin
            self._say(str(error))
        except (Exception, SystemExit) as error:  # whatever a stranger's client raises
            if not self._complained:
                self._say(f"{type(error).__name__}: {error}; tried again with the next figures")
            self._complained = True
        else:
            return True
        return False

    def _say(self, what: str) -> None:
        line = " ".join(redacted(what).split())
        print(f"reporter {self._name}: {line}", file=sys.stderr)


@contextmanager
def listening(
    chosen: Mapping[str, RunReporter],
    facts: RunFacts,
    stopped: type[Exception],
    patience: float = PATIENCE,
) -> Generator[list[Listener]]:
    """The reporters, begun; in the end they hear whether it was well, ``stopped`` or another error."""
    listeners = [Listener(name, reporter, facts) for name, reporter in chosen.items()]
    how: End = "failed"
    try:
        yield listeners
        how = "finished"
    except stopped:
        how = "stopped"
        raise
    finally:
        for listener in listeners:
            listener.close(how, patience)
