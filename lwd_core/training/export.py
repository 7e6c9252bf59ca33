"""From a checkpoint to a policy bundle: what a robot needs of it, and no more."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lwd_core.lake.store import Lake
from lwd_core.policies.bundle import Bundle
from lwd_core.policies.inference import save_policy
from lwd_core.training.checkpoint import Checkpoint
from lwd_core.training.run import policy_of
from storage_schemas.policy import Lineage


def export_policy(
    checkpoint: Checkpoint, policies: str, key: Ed25519PrivateKey, *, parent: str | None = None
) -> Bundle:
    """Sign and write the checkpoint's policy below ``policies``; the same checkpoint gives the same bundle.

    Where the lake was followed the bundle says which table versions were drawn from, batch by batch.
    ``parent`` is the id of the policy its training started from.
    """
    about = checkpoint.about
    config = about["config"]
    drawn = {"drawn": about["drawn"]} if about.get("drawn") else {}
    embeddings = checkpoint.state["embeddings"]
    return save_policy(
        policies,
        policy_of(checkpoint),
        dict(zip(about["instructions"], embeddings, strict=True)),
        embodiments=about["embodiments"],
        config={**config, **drawn},
        lineage=Lineage(
            stage=config["stage"],
            checkpoint=checkpoint.digest,
            train_step=about["update"],
            snapshots=tuple(d for d in (config["offline"], config["online"]) if d),
            parent=parent,
        ),
        key=key,
    )


def parent_of(lake: Lake, checkpoint: Checkpoint) -> str | None:
    """Id of the policy a checkpoint's training started from, where that was entered."""
    rows = lake.read(
        "policies", columns=["policy_id"], where="checkpoint = ?", params=(checkpoint.about["init"] or "",)
    ).to_pylist()
    return rows[0]["policy_id"] if rows else None
