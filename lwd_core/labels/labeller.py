"""What a labeller is, and how its run becomes a layer.

A layer is added, never edited: an episode that already has rows in a layer is left alone, so running a
labeller twice changes nothing, and one that should say something else needs a new version and thereby a
new layer.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError
from lwd_core.labels.said import SAID
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LabelKind

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

#: What every label copies from its episode.
COPIED = ("episode_id", "log_id", "site", "day")
ASKED = (*COPIED, "steps", "task", "embodiment")
#: What is committed at once: at most so many labels and seconds are lost where a run is ended.
ROWS_A_COMMIT, SECONDS_A_COMMIT = 250_000, 30.0

#: Reasons that are told.
REASONS = 20


@dataclass(frozen=True)
class Labelled:
    """What was said of some episodes: rows of ``SAID``, and why nothing can be said of others."""

    rows: pa.Table
    failed: Mapping[str, str] = field(default_factory=dict[str, str])


class Labeller(Protocol):
    """Reads episodes, says something about each."""

    @property
    def layer_id(self) -> str:
        """``name@version``."""
        ...

    @property
    def kind(self) -> LabelKind: ...

    @property
    def description(self) -> str:
        """One line for a person."""
        ...

    @property
    def source_digest(self) -> str | None:
        """What tells a changed labeller from the one that made a layer; None: nothing does."""
        ...

    def label(
        self, lake: "Lake", episodes: pa.Table, embodiments: Mapping[str, Embodiment]
    ) -> Iterator[Labelled]:
        """Label ``episodes`` (rows with the columns ``ASKED``), many at a time.

        Every episode gets at least one row in one batch, or a reason why not; one that is gone meanwhile gets
        neither. An episode without rows is seen again by the next run.
        """
        ...


@dataclass
class LayerRun:
    """What one run added: episodes, rows; those it could not label, with the reason; of how many in all."""

    layer_id: str
    total: int
    episodes: int = 0
    rows: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])

    def reasons(self) -> list[str]:
        """A line for every reason why episodes failed, the most frequent first."""
        counts = Counter(self.failed.values())
        first = {reason: episode for episode, reason in reversed(self.failed.items())}
        return [
            f"{n} episodes failed, {first[reason]} first: {reason}"
            for reason, n in counts.most_common(REASONS)
        ]


def run_labellers(
    lake: "Lake",
    labellers: Iterable[Labeller],
    *,
    now_ns: int,
    embodiments: Mapping[str, Embodiment] | None = None,
    where: str | None = None,
    params: tuple[object, ...] = (),
    progress: Callable[[LayerRun], None] = lambda _: None,
) -> list[LayerRun]:
    """Let each labeller label the episodes it has not labelled yet; an episode that fails is counted.

    ``where`` is an SQL condition over ``episodes`` (a day, a site). Many episodes are one commit, so a run
    that is ended goes on where it was. Raises ``UserError`` where a labeller is not the one that made its
    layer so far.
    """
    labellers = list(labellers)
    for labeller in labellers:
        _require_same_source(lake, labeller)
    runs: list[LayerRun] = []
    for labeller in labellers:
        episodes = _unlabelled(lake, labeller.layer_id, where, params)
        run = LayerRun(labeller.layer_id, episodes.num_rows)
        runs.append(run)
        pending: list[pa.Table] = []
        since, heard = time.monotonic(), set[str]()
        try:
            for batch in labeller.label(lake, episodes, embodiments or {}) if run.total else ():
                pending.append(batch.rows)
                run.failed |= batch.failed
                spoken = pc.unique(batch.rows.column("episode_id")).to_pylist()
                heard.update(spoken, batch.failed)
                run.episodes += len(spoken)
                run.rows += batch.rows.num_rows
                waited = time.monotonic() - since
                if sum(rows.num_rows for rows in pending) >= ROWS_A_COMMIT or waited >= SECONDS_A_COMMIT:
                    _commit(lake, labeller, pending, episodes, now_ns)
                    pending, since = [], time.monotonic()
                progress(run)
        finally:  # also of a run that is interrupted
            _commit(lake, labeller, pending, episodes, now_ns)
        for episode_id in _still_there(lake, set(episodes.column("episode_id").to_pylist()) - heard):
            run.failed[episode_id] = "the labeller said nothing of it"
    return runs


def _still_there(lake: "Lake", ids: set[str]) -> list[str]:
    """Those that are still in the lake: an erasure or other bytes at the address may have taken some."""
    if not ids:
        return []
    found = lake.read(
        "episodes", columns=["episode_id"], where="list_contains(?, episode_id)", params=[[*ids]]
    )
    return sorted(found.column("episode_id").to_pylist())


def _unlabelled(lake: "Lake", layer_id: str, where: str | None, params: tuple[object, ...]) -> pa.Table:
    from lwd_core.lake.query import condition  # DuckDB; definitions load without

    asked = f"{condition(where)} AND " if where else ""
    return lake.sql(
        f"SELECT {', '.join(ASKED)} FROM episodes WHERE {asked} episode_id NOT IN "
        "(SELECT episode_id FROM labels WHERE layer_id = ?) ORDER BY day, site, episode_id",
        (*params, layer_id),
    )


def _require_same_source(lake: "Lake", labeller: Labeller) -> None:
    if labeller.source_digest is None:
        return
    others = lake.sql(
        "SELECT count(DISTINCT episode_id) AS episodes, count(source_digest) AS by_function FROM labels "
        "WHERE layer_id = ? AND source_digest IS DISTINCT FROM ?",
        (labeller.layer_id, labeller.source_digest),
    ).to_pylist()[0]
    if not others["episodes"]:
        return
    if not others["by_function"]:
        raise UserError(
            f"layer {labeller.layer_id}: no function made what it says of {others['episodes']} episodes; "
            "choose another name"
        )
    raise UserError(
        f"layer {labeller.layer_id}: its function has changed since it labelled {others['episodes']} "
        f"episodes; raise its version, or take them out with `lwd label drop {labeller.layer_id}`"
    )


def _commit(
    lake: "Lake", labeller: Labeller, pending: list[pa.Table], episodes: pa.Table, now_ns: int
) -> None:
    if not any(rows.num_rows for rows in pending):
        return
    said = pa.concat_tables(pending)
    rows = said.select([name for name in SAID if name in said.column_names]).join(
        episodes.select(COPIED), keys="episode_id", join_type="inner"
    )
    constants = {
        "layer_id": pa.scalar(labeller.layer_id),
        "kind": pa.scalar(str(labeller.kind)),
        "created_ns": pa.scalar(now_ns, pa.int64()),
        "source_digest": pa.scalar(labeller.source_digest, pa.string()),
    }
    for name, value in constants.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    # Replace and not append: two runs at the same time then still end in one set of rows.
    ids = pc.unique(said.column("episode_id")).to_pylist()
    lake.replace("labels", rows, {"layer_id": [labeller.layer_id], "episode_id": ids})
