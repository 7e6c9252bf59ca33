"""What a policy bundle consists of.

    <policies>/<policy_id>/manifest.json         PolicyManifest, canonical JSON
                           weights.safetensors   network, normaliser, known instructions
                           signature.json        key id and ed25519 signature over manifest.json

``policy_id`` is the head of the manifest's SHA-256, and the manifest holds the digest of
the weights: the id names the bytes.

A policy on a backbone trained elsewhere holds what it learned, and names the backbone; that lies beside the
policies, once for all that share it:

    <policies>/bases/<base_id>/<name>            the backbone's files
                               base.json         names and digests; written last
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from storage_schemas.canonical import canonical_json, digest

MANIFEST, WEIGHTS, SIGNATURE = "manifest.json", "weights.safetensors", "signature.json"
#: 2 is a policy on a base; without one the format is 1 still, which older robots read.
FORMAT_VERSION, BASED_VERSION = 1, 2
POLICY_ID_LENGTH = 24
BASES, BASE_MANIFEST = "bases", "base.json"


@dataclass(frozen=True)
class Lineage:
    """Where a policy came from; enough to walk back to raw logs."""

    stage: str
    checkpoint: str
    train_step: int
    snapshots: tuple[str, ...]
    parent: str | None = None


@dataclass(frozen=True)
class Base:
    """A backbone trained elsewhere: ``kind`` of checkpoint (smolvla, pi0, …), its ``files`` by name with
    their SHA-256 (weights, configuration, tokenizer), and the ``position_ids`` rule its pictures are read
    by, empty where there is one only."""

    kind: str
    files: Mapping[str, str]
    position_ids: str = ""

    @property
    def base_id(self) -> str:
        """Names the files: whatever else is said of them, the same bytes are stored once."""
        return digest(dict(self.files))

    def to_dict(self) -> dict[str, object]:
        """Plain values; ``Base(**value)`` takes them back."""
        return {"kind": self.kind, "files": dict(self.files), "position_ids": self.position_ids}


@dataclass(frozen=True)
class PolicyManifest:
    """Everything about a policy but its weights.

    ``network`` builds the module; ``instructions`` are the texts whose embeddings travel
    in the weights, so that a robot needs no sentence encoder for them; ``config`` is the
    training configuration; ``base`` the backbone that the weights were learned on and lack.
    """

    network: dict[str, object]
    embodiments: dict[str, dict[str, int]]
    instructions: tuple[str, ...]
    config: dict[str, object]
    lineage: Lineage
    weights_sha256: str
    format_version: int = FORMAT_VERSION
    base: Base | None = None

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        value = asdict(replace(self, base=None))
        del value["base"]
        if self.base is not None:
            value |= {"base": self.base.to_dict(), "format_version": BASED_VERSION}
        return canonical_json(value)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "PolicyManifest":
        """Rebuild from parsed JSON; TypeError or KeyError where a field is wrong."""
        lineage = dict(value["lineage"])
        lineage["snapshots"] = tuple(lineage["snapshots"])
        parts: dict[str, Any] = {**value, "lineage": Lineage(**lineage)}
        parts["instructions"] = tuple(value["instructions"])
        parts["base"] = Base(**value["base"]) if value.get("base") else None
        return cls(**parts)
