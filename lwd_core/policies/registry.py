"""The policies table: which bundles exist and where they came from."""

import pyarrow as pa

from lwd_core.errors import UserError
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import Bundle
from storage_schemas.canonical import canonical_json
from storage_schemas.tables import POLICIES


def register(lake: Lake, bundle: Bundle, *, now_ns: int) -> None:
    """Enter a bundle; entering it again changes nothing."""
    if lake.read(
        "policies", columns=["policy_id"], where="policy_id = ?", params=(bundle.policy_id,)
    ).num_rows:
        return
    lineage = bundle.manifest.lineage
    row = {
        "policy_id": bundle.policy_id,
        "uri": bundle.uri,
        "stage": lineage.stage,
        "parent": lineage.parent,
        "checkpoint": lineage.checkpoint,
        "train_step": lineage.train_step,
        "snapshots": list(lineage.snapshots),
        "config": canonical_json(bundle.manifest.config).decode(),
        "created_ns": now_ns,
    }
    rows = pa.Table.from_pylist([row], schema=POLICIES.schema)
    lake.replace("policies", rows, {"policy_id": [bundle.policy_id]})


def find(lake: Lake, prefix: str) -> dict:
    """Return the row of the one policy whose id starts with ``prefix``. Raises UserError."""
    rows = lake.read("policies", where="starts_with(policy_id, ?)", params=(prefix,)).to_pylist()
    if not rows:
        raise UserError(f"policy {prefix}: no such policy; `lwd policy list` shows those there are")
    if len(rows) > 1:
        raise UserError(f"policy {prefix}: {len(rows)} policies start like this; give more of the id")
    return rows[0]
