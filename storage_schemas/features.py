"""Features of camera frames by a pretrained backbone, in files beside the frames.

    <lake>/features/<backbone>@<digest>/<day>/<site>/<shard>.parquet   of frames/<day>/<site>/<shard>.tar

The digest is that of the backbone's weights and settings, the size frames are scaled to and the version of
that preprocessing: another of these is another layer. A file also says it in its schema's metadata.
"""

from collections.abc import Mapping

import pyarrow as pa

from storage_schemas.columns import Column
from storage_schemas.tables import I32, I64, STRING

FOLDER = "features"
#: Of a file's schema: the layer it belongs to, in full.
DIGEST = "lwd.backbone"


def feature_columns(width: int) -> tuple[Column, ...]:
    """Columns of a file of features of so many numbers."""
    return (
        Column("offset", I64, "First byte of the frame in its shard, as in `steps`.", unit="bytes"),
        Column("size", I32, "Bytes of the frame.", unit="bytes"),
        Column("frame", pa.binary(), "SHA-256 of the frame's bytes."),
        Column(
            "features",
            pa.list_(pa.field("element", pa.float16(), nullable=False), width),
            "What the backbone makes of the picture; null where there is none.",
            nullable=True,
        ),
        Column("fault", STRING, "Why there are none: what is wrong with the frame.", nullable=True),
    )


def feature_schema(width: int, facts: Mapping[str, str]) -> pa.Schema:
    """The same as an Arrow schema, with facts of the backbone in its metadata."""
    return pa.schema([column.field for column in feature_columns(width)], metadata=dict(facts))
