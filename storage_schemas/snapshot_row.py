"""A row of a snapshot, described once: one control tick, from the lake to a batch.

Each column says where it comes from, what becomes of it at a lower frame rate, how it stands in an episode's
sample and what a batch takes of it. Selecting, resampling, building, checking, loading and the documentation
all follow ``ROW``. A nullable column of ``steps`` becomes part of a batch by an entry here; as a tensor of
samples whose episodes say nothing of it is left out, snapshots from before stay what they were.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from storage_schemas.tables import BOOL, F32, I64, STEPS
from storage_schemas.vocabulary import Actor


class Merge(StrEnum):
    """What one frame has of the ticks it stands for: itself and those up to the next frame."""

    FIRST = "its own"
    SUM = "the sum"
    ANY = "whether any is true"
    ALL = "whether all are true"
    SINCE = "whether any is true since the frame before"


class Take(StrEnum):
    """What a transition has of a column. RETURN is Σ γ^i x over the window of ``n_step`` chunks."""

    START = "at its start"
    BOOTSTRAP = "where its window bootstraps"
    CHUNK = "of each frame of its chunk, 0 where masked"
    RETURN = "the discounted sum over its window"


class Width(StrEnum):
    """Widths that differ per embodiment; a snapshot has the largest, the rest is 0."""

    STATE = "S"
    ACTION = "D"


@dataclass(frozen=True)
class FromSteps:
    """A column of ``steps``; with ``word``, whether it holds that word."""

    column: str
    word: str = ""


@dataclass(frozen=True)
class FromLabels:
    """Values of the layer that the spec's ``labels`` name in this field.

    Where they name none: the episode's ``otherwise``, on its last action.
    """

    field: str
    otherwise: str


@dataclass(frozen=True)
class FromFrames:
    """Told by a row's camera frames. Left out of samples without cameras, and where it is true of all."""


@dataclass(frozen=True)
class Use:
    """A column of a batch that a row's column makes."""

    name: str
    take: Take
    meaning: str


@dataclass(frozen=True)
class RowColumn:
    """One column of a row.

    ``width``: numbers a row holds, 0 for a single one without an axis. ``per_action``: of rows with an action
    only, T of R. ``masked``: 0 where the row isn't valid, whatever was last known. ``absent``: the value in
    memory where a sample says none. ``statistics``: the manifest holds its moments. ``held``: a loader keeps
    it in memory. ``batch``: what a batch has of it.
    """

    name: str
    type: pa.DataType
    meaning: str
    source: FromSteps | FromLabels | FromFrames
    merge: Merge = Merge.FIRST
    width: Width | int = 0
    per_action: bool = False
    masked: bool = False
    absent: float = 0
    statistics: bool = False
    held: bool = True
    batch: tuple[Use, ...] = ()

    @property
    def optional(self) -> bool:
        """Whether samples may lack it: those whose episodes say nothing of it, and those of before."""
        if isinstance(self.source, FromSteps):
            return STEPS.column(self.source.column).nullable
        return isinstance(self.source, FromFrames)

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of one row's value, by their letters or width."""
        return (str(self.width),) if self.width else ()

    def shape(self, state: int, action: int) -> tuple[int, ...]:
        """Axes of one row's value, for these widths of state and action."""
        if self.width is Width.STATE:
            return (state,)
        if self.width is Width.ACTION:
            return (action,)
        return (int(self.width),) if self.width else ()

    def takes(self, take: Take) -> bool:
        """Whether a batch has it so."""
        return any(use.take is take for use in self.batch)


@dataclass(frozen=True)
class BatchColumn:
    """One column of a batch: B samples, with more axes by their letters."""

    name: str
    type: pa.DataType
    axes: tuple[str, ...]
    meaning: str


ROW: tuple[RowColumn, ...] = (
    RowColumn(
        "state",
        F32,
        "observation at each tick, 0 where it is not valid",
        FromSteps("state"),
        width=Width.STATE,
        masked=True,
        statistics=True,
        batch=(
            Use("state", Take.START, "observation the chunk starts from"),
            Use("next_state", Take.BOOTSTRAP, "observation its window bootstraps from"),
        ),
    ),
    RowColumn(
        "action",
        F32,
        "executed action, 0 where it is not valid",
        FromSteps("action"),
        width=Width.ACTION,
        per_action=True,
        masked=True,
        statistics=True,
        batch=(Use("action", Take.CHUNK, "executed; 0 where the mask is"),),
    ),
    RowColumn(
        "reward",
        F32,
        "reward of each tick",
        FromLabels("reward", otherwise="success"),
        Merge.SUM,
        per_action=True,
        batch=(Use("reward", Take.RETURN, "Σ γ^i r over the window"),),
    ),
    RowColumn(
        "human",
        BOOL,
        "a person chose the action",
        FromSteps("actor", Actor.HUMAN),
        Merge.ANY,
        per_action=True,
        batch=(Use("human", Take.START, "a person chose the chunk"),),
    ),
    RowColumn("valid", BOOL, "false where a feature was missing or stale", FromSteps("valid"), Merge.ALL),
    RowColumn(
        "gap", BOOL, "true where recording was interrupted before the row", FromSteps("gap"), Merge.SINCE
    ),
    RowColumn(
        "seen",
        BOOL,
        "false where a camera of the spec that the embodiment has shows nothing fresh and whole",
        FromFrames(),
        absent=True,
    ),
    RowColumn("t_ns", I64, "time of the tick, ns since epoch", FromSteps("t_ns"), held=False),
)

#: What a batch says of each transition beside its rows.
OF_TRANSITIONS = (
    BatchColumn("mask", F32, ("H",), "1 on frames of the chunk that count"),
    BatchColumn("discount", F32, (), "γ^frames to the bootstrap, 0 after a terminal"),
    BatchColumn("frame", I64, (), "row of its start within the episode"),
    BatchColumn("next_frame", I64, (), "row bootstrapped from"),
)

#: What a batch says of each transition's episode.
OF_EPISODES = (
    BatchColumn("episode", I64, (), "place in the manifest"),
    BatchColumn("instruction", I64, (), "into the loader's `instructions`"),
    BatchColumn("task", I64, (), "into the loader's `tasks`"),
    BatchColumn("source", I64, (), "into `storage_schemas.vocabulary.Source`"),
    BatchColumn("policy", I64, (), "into the loader's `policies`, -1 where none ran"),
    BatchColumn("success", BOOL, (), "whether the episode succeeded"),
    BatchColumn("action_dim_mask", F32, ("D",), "1 on dims the embodiment has"),
)


def uses() -> Iterator[tuple[RowColumn, Use]]:
    """What a batch has of rows, and of which column."""
    return ((column, use) for column in ROW for use in column.batch)


def batch_columns() -> tuple[BatchColumn, ...]:
    """Every column of a batch."""
    return (*(_in_batch(column, use) for column, use in uses()), *OF_TRANSITIONS, *OF_EPISODES)


def _in_batch(column: RowColumn, use: Use) -> BatchColumn:
    axes = ("H",) if use.take is Take.CHUNK else ()
    kind = F32 if use.take is Take.RETURN else column.type
    return BatchColumn(use.name, kind, (*axes, *column.axes), use.meaning)
