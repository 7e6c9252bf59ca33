"""What a labeller is, and how its run becomes a layer.

A layer is added, never edited: an episode that already has rows in a layer is left
alone, so running a labeller twice changes nothing, and a labeller that should say
something else needs a new version and thereby a new layer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS
from storage_schemas.vocabulary import LabelKind

#: What a labeller gives; the rest of a label's columns is copied from its episode.
SAID = ("episode_id", "step", "check", "value", "text", "detail")
#: Layers of our own labellers, by the name before the version; a label of theirs follows from rows.
OURS = ("reward.sparse", "outcome.recorded", "quality")
#: What every label copies from its episode.
COPIED = ("episode_id", "log_id", "site", "day")


def derived(layer_id: str) -> bool:
    """Whether a layer was computed from an episode's rows, so that other rows need other labels."""
    name = layer_id.partition("@")[0]
    return name in OURS or name.startswith("value.")


class Labeller(Protocol):
    """Reads episodes, says something about each."""

    @property
    def layer_id(self) -> str:
        """``name@version``."""
        ...

    @property
    def kind(self) -> LabelKind: ...

    def label(self, lake: Lake, episodes: pa.Table) -> pa.Table:
        """Return rows of any of the ``SAID`` columns (at least ``episode_id``), for these episodes.

        Every episode must get at least one row: an episode without rows counts as not
        labelled and is seen again by the next run.
        """
        ...


@dataclass(frozen=True)
class LayerRun:
    """What one run added."""

    layer_id: str
    episodes: int
    rows: int


def run_labellers(
    lake: Lake,
    labellers: Iterable[Labeller],
    *,
    now_ns: int,
    where: str | None = None,
    params: tuple[object, ...] = (),
) -> list[LayerRun]:
    """Let each labeller label the episodes it has not labelled yet.

    ``where`` is an SQL condition over ``episodes`` (a day, a site). One commit a layer.
    """
    runs: list[LayerRun] = []
    for labeller in labellers:
        episodes = _unlabelled(lake, labeller.layer_id, where, params)
        rows = 0
        if episodes.num_rows:
            said = labeller.label(lake, episodes)
            labels = _as_labels(said, episodes, labeller, now_ns)
            rows = labels.num_rows
            # Replace and not append: two runs at the same time then still end in one set of rows.
            ids = episodes.column("episode_id").to_pylist()
            lake.replace("labels", labels, {"layer_id": [labeller.layer_id], "episode_id": ids})
        runs.append(LayerRun(labeller.layer_id, episodes.num_rows, rows))
    return runs


def _unlabelled(lake: Lake, layer_id: str, where: str | None, params: tuple[object, ...]) -> pa.Table:
    condition = f"({where}) AND " if where else ""
    return lake.sql(
        f"SELECT * FROM episodes WHERE {condition} episode_id NOT IN "
        "(SELECT episode_id FROM labels WHERE layer_id = ?) ORDER BY episode_id",
        (*params, layer_id),
    )


def _as_labels(said: pa.Table, episodes: pa.Table, labeller: Labeller, now_ns: int) -> pa.Table:
    """Complete the labeller's rows to the labels schema."""
    spoken_of = pc.unique(said.column("episode_id"))
    silent = pc.invert(pc.is_in(episodes.column("episode_id"), value_set=spoken_of))
    if pc.any(silent).as_py():
        missing = episodes.filter(silent).column("episode_id")[0].as_py()
        raise ValueError(f"labeller {labeller.layer_id} said nothing of episode {missing}")
    joined = said.join(episodes.select(COPIED), keys="episode_id", join_type="inner")
    n = joined.num_rows
    constants: dict[str, pa.Array] = {
        "layer_id": pa.repeat(labeller.layer_id, n),
        "kind": pa.repeat(str(labeller.kind), n),
        "created_ns": pa.repeat(pa.scalar(now_ns, pa.int64()), n),
    }
    columns = []
    for field in LABELS.schema:
        if field.name in constants:
            columns.append(constants[field.name])
        elif field.name in joined.column_names:
            columns.append(joined.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(n, field.type))
    return pa.table(columns, schema=LABELS.schema)
