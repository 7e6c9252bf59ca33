"""A function of one episode as a labeller: the decorators ``label`` and ``check``."""

import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lwd_core.errors import StorageError, UserError
from lwd_core.labels import source
from lwd_core.labels.batches import Moved, each_batch
from lwd_core.labels.labeller import Labelled
from lwd_core.labels.said import LabelRows, WrongAnswer
from lwd_core.lake.episode import Episode
from lwd_core.plugins import theirs
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LabelKind

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
NAMED = "its name is letters, digits and _, in parts by dots, as acme.spill"


@dataclass(frozen=True)
class FunctionLabeller:
    """Says of each episode what its function answers; can be called as the function can.

    ``followed``: whether a change of the function is noticed; the platform's own are versioned by hand.
    """

    function: FunctionType
    name: str
    version: int
    kind: LabelKind
    followed: bool = True

    def __call__(self, episode: Episode) -> Any:
        return self.function(episode)

    @property
    def layer_id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def description(self) -> str:
        """The first line of the function's documentation."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    @property
    def source_digest(self) -> str | None:
        """What tells the function from a changed one. Raises `UserError` where its source isn't there."""
        return source.digest(self.function) if self.followed else None

    def label(
        self, lake: "Lake", episodes: pa.Table, embodiments: Mapping[str, Embodiment]
    ) -> Iterator[Labelled]:
        """Ask the function about each episode; what it raises is why that one can't be labelled."""
        yield from each_batch(lake, episodes, embodiments, self._answers)

    def _answers(self, episodes: list[Episode]) -> Labelled:
        rows, failed = LabelRows(self.kind, self.name), {}
        for episode in episodes:
            try:
                with theirs():
                    answer = self.function(episode)
                rows.add(episode.id, len(episode), answer)
            except (Moved, StorageError):
                raise
            except (UserError, WrongAnswer) as error:
                failed[episode.id] = str(error)
            except Exception as error:  # whatever another's function raises
                failed[episode.id] = f"{type(error).__name__}: {error} ({self._line(error)})"
        return Labelled(rows.table(), failed)

    def _line(self, error: Exception) -> str:
        """The last line of the function's own file on the way to the error."""
        file = self.function.__code__.co_filename
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
        return f"{Path(file).name}:{lines[-1]}" if lines else Path(file).name


def label(
    name: str, *, version: int, kind: str = LabelKind.ANNOTATION
) -> Callable[[FunctionType], FunctionLabeller]:
    """Make a function of an `Episode` a label layer ``name@version``.

    What it may return: a number, bool or text for the episode; a number or text a step, as an array; segments
    ``(first step, last step, text)``; None for nothing; a dict of these by name. ``kind`` is ``annotation``,
    ``progress``, ``phase``, ``reward`` (a number for the last step or one a step: what a snapshot may be
    rewarded by) or ``outcome`` (a bool, or success, failure, unknown).

    A function that should say something else gets a new ``version``. Raises `UserError`.
    """
    if kind not in set(LabelKind) - {LabelKind.QUALITY}:
        kinds = ", ".join(sorted(set(LabelKind) - {LabelKind.QUALITY}))
        raise UserError(f"label {name}: kind {kind!r} is none; it is one of {kinds}, and checks have @check")
    return partial(_made, name=name, version=version, kind=LabelKind(kind))


def check(name: str, *, version: int) -> Callable[[FunctionType], FunctionLabeller]:
    """Make a function of an `Episode` a check, whose verdicts are the layer ``name@version``.

    It returns True where the episode passes, False where it fails, None where it can't tell, or a `Finding`
    with the number and words it rests on; or a dict of these, by name. A snapshot leaves out what failed:
    ``labels: {blocking: [name@version]}``. Raises `UserError`.
    """
    return partial(_made, name=name, version=version, kind=LabelKind.QUALITY)


def _made(function: FunctionType, *, name: str, version: int, kind: LabelKind) -> FunctionLabeller:
    what = "check" if kind is LabelKind.QUALITY else "label"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(f"{what} {name!r}: {NAMED}")
    if not isinstance(version, int) or version < 1:
        raise UserError(f"{what} {name}: version {version!r} is none; it is 1, 2, 3, …")
    return FunctionLabeller(function, name, version, kind)
