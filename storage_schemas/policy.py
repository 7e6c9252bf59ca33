"""What a policy bundle consists of.

    <policies>/<policy_id>/manifest.json         PolicyManifest, canonical JSON
                           weights.safetensors   network, normaliser, known instructions
                           signature.json        key id and ed25519 signature over manifest.json

``policy_id`` is the head of the manifest's SHA-256, and the manifest holds the digest of
the weights: the id names the bytes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from storage_schemas.canonical import canonical_json

MANIFEST, WEIGHTS, SIGNATURE = "manifest.json", "weights.safetensors", "signature.json"
FORMAT_VERSION = 1
POLICY_ID_LENGTH = 24


@dataclass(frozen=True)
class Lineage:
    """Where a policy came from; enough to walk back to raw logs."""

    stage: str
    checkpoint: str
    train_step: int
    snapshots: tuple[str, ...]
    parent: str | None = None


@dataclass(frozen=True)
class PolicyManifest:
    """Everything about a policy but its weights.

    ``network`` builds the module; ``instructions`` are the texts whose embeddings travel
    in the weights, so that a robot needs no sentence encoder for them; ``config`` is the
    training configuration.
    """

    network: dict[str, object]
    embodiments: dict[str, dict[str, int]]
    instructions: tuple[str, ...]
    config: dict[str, object]
    lineage: Lineage
    weights_sha256: str
    format_version: int = FORMAT_VERSION

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(asdict(self))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PolicyManifest":
        """Rebuild from parsed JSON; TypeError or KeyError where a field is wrong."""
        lineage = dict(value["lineage"])
        lineage["snapshots"] = tuple(lineage["snapshots"])
        parts: dict[str, Any] = {**value, "lineage": Lineage(**lineage)}
        parts["instructions"] = tuple(value["instructions"])
        return cls(**parts)
