"""The layers of a lake: what there is, and taking one out again."""

from dataclasses import dataclass

from lwd_core.errors import UserError, suggest
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS


@dataclass(frozen=True)
class Layer:
    """One label layer. ``unlabelled`` counts the lake's episodes without a label of it."""

    layer_id: str
    kind: str
    episodes: int
    rows: int
    unlabelled: int


@dataclass(frozen=True)
class Dropped:
    """What was taken out of a layer."""

    layer_id: str
    episodes: int
    rows: int


def layers(lake: Lake) -> list[Layer]:
    """The lake's layers, by id."""
    found = lake.sql(
        "SELECT layer_id, kind, count(DISTINCT episode_id) FILTER (replaced_ns IS NULL) AS episodes, "
        "count(*) FILTER (replaced_ns IS NULL) AS rows, "
        "(SELECT count(*) FROM episodes) - count(DISTINCT episode_id) FILTER (replaced_ns IS NULL) "
        "AS unlabelled FROM labels GROUP BY ALL ORDER BY ALL"
    )
    return [Layer(**row) for row in found.to_pylist()]


def drop_layer(lake: Lake, layer_id: str) -> Dropped:
    """Take all rows of a layer out of the newest version, in one commit; older versions still hold them.

    Raises `UserError` where there is no such layer.
    """
    there = layers(lake)
    found = next((layer for layer in there if layer.layer_id == layer_id), None)
    if found is None:
        known = suggest(layer_id, [layer.layer_id for layer in there])
        raise UserError(f"layer {layer_id}: there is none of that id{known}")
    lake.replace("labels", LABELS.schema.empty_table(), {"layer_id": [layer_id]})
    return Dropped(layer_id, found.episodes, found.rows)
