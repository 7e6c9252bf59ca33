"""The policies table: which bundles exist, where they lie and where they came from.

A bundle's folder is named by its id, so a policy lies at ``<policies>/<policy_id>`` in every home.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from lwd_core.errors import UserError, did_you_mean
from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import Bundle
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import below, relative, resolve
from storage_schemas.canonical import canonical_json
from storage_schemas.policy import MANIFEST
from storage_schemas.tables import POLICIES
from storage_schemas.vocabulary import Channel


def register(lake: Lake, bundle: Bundle, *, now_ns: int) -> None:
    """Enter a bundle; entering it again changes nothing."""
    if lake.read(
        "policies", columns=["policy_id"], where="policy_id = ?", params=(bundle.policy_id,)
    ).num_rows:
        return
    lineage = bundle.manifest.lineage
    row = {
        "policy_id": bundle.policy_id,
        "uri": bundle.policy_id,
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


def find(lake: Lake, prefix: str) -> dict[str, Any]:
    """Return the row of the one policy whose id starts with ``prefix``. Raises UserError."""
    rows = lake.read("policies", where="starts_with(policy_id, ?)", params=(prefix,)).to_pylist()
    if not rows:
        meant = did_you_mean(prefix, Channel) or "; `lwd policy list` shows those there are"
        raise UserError(f"policy {prefix}: no such policy{meant}")
    if len(rows) > 1:
        raise UserError(f"policy {prefix}: {len(rows)} policies start like this; give more of the id")
    return rows[0]


def address(policies: str, row: Mapping[str, Any]) -> str:
    """Where the bundle of a row of ``policies`` lies: below the policies root of this home, nowhere else.

    Rows of older versions hold a full address. Where that leads out of this home (it was copied or moved) and
    the bundle is not here either, UserError names both places: another home's policies are not ours to use.
    """
    own = resolve(policies, row["policy_id"])
    foreign = not relative(row["uri"]) and below(policies, row["uri"]) is None
    if foreign and not open_location(own).exists(MANIFEST):
        raise UserError(
            f"policy {row['policy_id']}: lies at {row['uri']}, outside of {policies}; copy the folder there, "
            "or set LWD_POLICIES"
        )
    return own
