"""A label layer from rows that somebody has: a person's table, another program's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.errors import UserError, suggest
from lwd_core.labels.labeller import Labelled, LayerRun, run_labellers
from lwd_core.labels.registry import OWN, layer_name
from lwd_core.labels.said import SAID
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Embodiment
from storage_schemas.tables import LABELS, PERSON
from storage_schemas.vocabulary import LabelKind


@dataclass(frozen=True)
class _Given:
    layer_id: str
    kind: LabelKind
    rows: pa.Table
    description: str = "given as rows"
    source_digest: str | None = None

    def label(
        self, lake: Lake, episodes: pa.Table, embodiments: Mapping[str, Embodiment]
    ) -> Iterator[Labelled]:
        yield Labelled(self.rows.filter(pc.is_in(self.rows["episode_id"], value_set=episodes["episode_id"])))


def write_layer(lake: Lake, layer_id: str, kind: LabelKind | str, rows: pa.Table, *, now_ns: int) -> LayerRun:
    """Add rows, ``episode_id`` and any other columns of ``SAID``, to a layer, ``name@version``.

    Episodes that have rows in it already are left alone: what should say something else is another version.
    Raises `UserError` for a layer, kind, column or episode there can't be.
    """
    where = f"label layer {layer_id}"
    name, _, version = layer_id.partition("@")
    if not name or not version:
        raise UserError(f"{where}: is called name@version, such as grip.slips@1")
    if layer_name(layer_id) in OWN:
        raise UserError(f"{where}: {name} is the platform's own; choose another name")
    if name.startswith(PERSON):
        raise UserError(f"{where}: people's layers are written by `lwd label set` and `lwd label import`")
    if kind not in tuple(LabelKind):
        raise UserError(f"{where}: no kind {kind!r}{suggest(kind, LabelKind)}")
    if "episode_id" not in rows.column_names:
        raise UserError(f"{where}: its rows have no column episode_id; add it")
    for column in rows.column_names:
        if column not in SAID:
            raise UserError(f"{where}: no column {column!r}{suggest(column, SAID)}")
    try:
        rows = pa.table({name: rows[name].cast(LABELS.schema.field(name).type) for name in rows.column_names})
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{where}: {error}; the page on tables says what its columns hold") from error
    ids = pc.unique(rows["episode_id"]).to_pylist()
    asked = "episode_id IN (SELECT unnest(?))"
    there = lake.read("episodes", columns=["episode_id"], where=asked, params=(ids,))[
        "episode_id"
    ].to_pylist()
    if missing := sorted({str(i) for i in ids} - set(there)):
        raise UserError(f"{where}: no episode {missing[0]} in the lake; leave its rows out")
    given = _Given(layer_id, LabelKind(kind), rows)
    return run_labellers(lake, [given], now_ns=now_ns, where=asked, params=(ids,))[0]
