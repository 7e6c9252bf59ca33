"""Features of a small lake's frames, made by hand."""

from collections.abc import Container

import numpy as np
import pyarrow as pa

from lwd_core.features import files
from lwd_core.lake.store import Lake
from storage_schemas.features import feature_schema

LAYER = "grey@0123"


def with_features(lake: Lake, without: Container[int] = (3,)) -> None:
    """Of each frame a direction, turned a little by the step that saw it; none of some steps."""
    rows = lake.sql(
        'SELECT f.shard AS shard, f."offset" AS place, f.size AS size, episode_id, step FROM '
        "(SELECT episode_id, step, unnest(frames) AS f FROM steps) ORDER BY ALL"
    ).to_pylist()
    schema = feature_schema(4, {})
    for shard in {row["shard"] for row in rows}:
        own = [row for row in rows if row["shard"] == shard]
        turned = np.array([row["step"] for row in own]) / 10
        values = np.stack([np.cos(turned), np.sin(turned), 0 * turned, 0 * turned + 1], axis=1)
        missing = pa.array([row["step"] in without for row in own])
        numbers = pa.array(values.astype(np.float16).reshape(-1))
        kind = schema.field("features").type
        columns = {
            "offset": pa.array([row["place"] for row in own], pa.int64()),
            "size": pa.array([row["size"] for row in own], pa.int32()),
            "frame": pa.array([f"frame of step {row['step'] // 20}".encode() for row in own], pa.binary()),
            "features": pa.FixedSizeListArray.from_arrays(numbers, type=kind, mask=missing),
            "fault": pa.array(["no picture" if row["step"] in without else None for row in own], pa.string()),
        }
        rows_of = pa.Table.from_arrays(list(columns.values()), schema=schema)
        files.write(lake.place, files.path_of(LAYER, shard), schema, [rows_of])
