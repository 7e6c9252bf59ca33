"""A snapshot on disk: manifest, shard files, and the sample of one episode.

    <root>/<digest>/manifest.json      canonical JSON; its SHA-256 is the digest, and the folder's name
    <root>/<digest>/train-000000.tar   WebDataset shard; member <episode_id>.safetensors is one episode
    <root>/<digest>/holdout-000000.tar

A sample holds the tensors that ``snapshot_row.ROW`` describes, of an episode of T actions and R rows (R =
T + 1 where the state after the last action was recorded, else T). In snapshots with C cameras also:

    frame_shard  I32 (R, C)   per camera of the spec: index into the manifest's frame_shards, -1 for none
    frame_offset I64 (R, C)   first byte of the JPEG in that shard
    frame_size   I32 (R, C)   bytes of the JPEG
    frame_age    I64 (R, C)   ns since the tick that first saw it, -1 for none; not in snapshots of before
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from storage_schemas.canonical import canonical_json

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Moments:
    """Statistics of a vector over the valid rows of the train split, one number a dimension.

    ``std`` is the population's. Quantiles interpolate linearly between the two nearest
    rows; ``quantile_rows`` says over how many rows they were taken.
    """

    count: int
    quantile_rows: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]


@dataclass(frozen=True)
class Shard:
    """One tar of a snapshot."""

    name: str
    split: str
    bytes: int
    sha256: str
    episodes: int
    steps: int


@dataclass(frozen=True)
class FrameShard:
    """One tar of camera frames in the lake that the snapshot points into."""

    uri: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Member:
    """One episode of a snapshot and where it came from.

    ``offset`` and ``bytes`` find its sample in the shard without reading tar headers.
    """

    episode_id: str
    log_id: str
    site: str
    day: str
    robot_id: str
    embodiment: str
    task: str
    instruction: str
    policy_id: str | None
    source: str
    outcome: str
    success: bool
    end: str
    buffer: str
    control_hz: float
    steps: int
    rows: int
    human_steps: int
    state_width: int
    action_width: int
    split: str
    shard: str
    index: int
    offset: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """Everything a snapshot is. Two snapshots with equal digests are equal, byte for byte."""

    name: str
    spec: Mapping[str, Any]
    versions: Mapping[str, int]
    state_width: int
    action_width: int
    counts: Mapping[str, Any]
    stats: Mapping[str, Mapping[str, Moments]]  # embodiment -> state, action
    shards: tuple[Shard, ...]
    frame_shards: tuple[FrameShard, ...]
    episodes: tuple[Member, ...]
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, UTF-8."""
        return canonical_json(asdict(self))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Read it back. ValueError names what is missing or of another format."""
        value = json.loads(data)
        raw = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if raw.get("format") != FORMAT:
            raise ValueError(f"manifest format {raw.get('format')!r}, this version reads {FORMAT}")
        try:
            raw["stats"] = {
                embodiment: {name: _moments(m) for name, m in parts.items()}
                for embodiment, parts in raw["stats"].items()
            }
            raw["shards"] = tuple(Shard(**s) for s in raw["shards"])
            raw["frame_shards"] = tuple(FrameShard(**s) for s in raw["frame_shards"])
            raw["episodes"] = tuple(Member(**e) for e in raw["episodes"])
            return cls(**raw)
        except (KeyError, TypeError, AttributeError) as e:
            raise ValueError(f"manifest: {e}") from e


def _moments(raw: dict[str, Any]) -> Moments:
    fields: dict[str, Any] = {
        k: tuple(cast("list[float]", v)) if isinstance(v, list) else v for k, v in raw.items()
    }
    return Moments(**fields)
