"""Whether a snapshot would come out as the one there is: a night that finds nothing new trains nothing."""

from lwd_core.lake.store import Lake
from lwd_core.snapshots.select import pin, selected
from lwd_core.snapshots.spec import SnapshotSpec
from storage_schemas.vocabulary import SnapshotState


def unchanged(lake: Lake, spec: SnapshotSpec) -> str | None:
    """Digest of the newest snapshot of the spec's name, if a new one would hold the same episodes; else None.

    A digest also names the versions of the tables it was read at, so that building again after any commit
    gives another one. Logs and label layers are never edited: the same episodes are the same content.
    """
    rows = lake.sql(
        "SELECT digest, spec, state FROM snapshots WHERE name = ? ORDER BY created_ns DESC LIMIT 1",
        (spec.name,),
    ).to_pylist()
    if not rows or rows[0]["state"] != SnapshotState.VALID or rows[0]["spec"] != spec.to_json():
        return None
    digest = rows[0]["digest"]
    members = lake.sql("SELECT episode_id FROM snapshot_members WHERE digest = ?", (digest,)).to_pylist()
    now = {row["episode_id"] for row in selected(lake, spec, pin(lake, spec))}
    return digest if now == {row["episode_id"] for row in members} else None
