"""A label layer from rows that somebody has: a person's table, another program's."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError, did_you_mean
from lwd_core.labels.labeller import OURS, SAID, LayerRun, run_labellers
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS
from storage_schemas.vocabulary import LabelKind


@dataclass(frozen=True)
class _Given:
    layer_id: str
    kind: LabelKind
    rows: pa.Table

    def label(self, lake: Lake, episodes: pa.Table) -> pa.Table:
        return self.rows.filter(pc.is_in(self.rows["episode_id"], value_set=episodes["episode_id"]))


def write_layer(lake: Lake, layer_id: str, kind: LabelKind | str, rows: pa.Table, *, now_ns: int) -> LayerRun:
    """Add rows (``episode_id`` and any of step, check, value, text, detail) to a layer, ``name@version``.

    Episodes that have rows in it already are left alone: what should say something else is another version.
    Raises `UserError` for a layer, kind, column or episode there can't be.
    """
    name, _, version = layer_id.partition("@")
    if not name or not version:
        raise UserError(f"label layer {layer_id!r}: is called name@version, such as grip.slips@1")
    if name in OURS:
        raise UserError(f"label layer {layer_id}: {name} is the platform's own; choose another name")
    if kind not in tuple(LabelKind):
        raise UserError(f"label layer {layer_id}: no kind {kind!r}; there are {', '.join(LabelKind)}")
    if "episode_id" not in rows.column_names:
        raise UserError(f"label layer {layer_id}: its rows have no column episode_id; add it")
    for column in rows.column_names:
        if column not in SAID:
            raise UserError(
                f"label layer {layer_id}: no column {column!r}{did_you_mean(column, SAID)}; "
                f"a label has {', '.join(SAID)}"
            )
    try:
        rows = rows.cast(pa.schema([LABELS.schema.field(column) for column in rows.column_names]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise UserError(f"label layer {layer_id}: {error}; see the columns of the table labels") from error
    ids = pc.unique(rows["episode_id"]).to_pylist()
    there = lake.read(
        "episodes", columns=["episode_id"], where="episode_id IN (SELECT unnest(?))", params=(ids,)
    )["episode_id"].to_pylist()
    if missing := sorted(set(ids) - set(there)):
        raise UserError(f"label layer {layer_id}: no episode {missing[0]} in the lake; leave its rows out")
    given = _Given(layer_id, LabelKind(kind), rows)
    where = "episode_id IN (SELECT unnest(?))"
    return run_labellers(lake, [given], now_ns=now_ns, where=where, params=(ids,))[0]
