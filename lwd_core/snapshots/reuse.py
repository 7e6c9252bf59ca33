"""Whether a snapshot would come out as the one there is: a night that finds nothing new trains nothing."""

import json

from lwd_core.errors import UserError
from lwd_core.lake import query
from lwd_core.lake.store import Lake
from lwd_core.snapshots.discount import resolved
from lwd_core.snapshots.rule import may_change
from lwd_core.snapshots.select import pin, selected
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.vocabulary import SnapshotState


def reusable(lake: Lake, spec: SnapshotSpec) -> str | None:
    """Digest of the newest snapshot of the spec's name, if a new one would hold the same episodes; else None.

    A digest also names the versions of the tables it was read at, so that building again after any commit
    gives another one. Logs and label layers are never edited: the same episodes are the same content, unless
    their logs were remapped since, people judge them otherwise, or nobody can tell any more.
    """
    rows = lake.sql(
        "SELECT digest, spec, state, versions FROM snapshots WHERE name = ? ORDER BY created_ns DESC LIMIT 1",
        (spec.name,),
    ).to_pylist()
    if not rows or rows[0]["state"] != SnapshotState.VALID:
        return None
    found = selected(lake, spec, pin(lake, spec))
    if rows[0]["spec"] != resolved(spec, found).to_json():
        return None
    digest = rows[0]["digest"]
    members = lake.sql("SELECT episode_id FROM snapshot_members WHERE digest = ?", (digest,))
    ids = sorted(members["episode_id"].to_pylist())
    now = {row["episode_id"]: row["reading"] for row in found}
    if sorted(now) != ids:
        return None
    versions = json.loads(rows[0]["versions"])
    if may_change(spec.labels.reward) and versions.get("labels") != lake.version("labels"):
        return None
    try:
        if may_change(spec.labels.outcome):
            before = {row["episode_id"]: row["success"] for row in selected(lake, spec, versions)}
            if before != {row["episode_id"]: row["success"] for row in found}:
                return None
        then = lake.read(
            "episodes",
            columns=["episode_id", "reading"],
            where="list_contains(?, episode_id)",
            params=[ids],
            versions={"episodes": versions["episodes"]},
        ).to_pylist()
    except (UserError, query.Wrong):  # that version is gone
        return None
    return digest if now == {row["episode_id"]: row["reading"] for row in then} else None
