"""An existing snapshot: opened, checked, its facts at hand."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from lwd_core.errors import UserError
from lwd_core.snapshots.spec import SnapshotSpec
from lwd_core.storage.location import Location, open_location
from storage_schemas.snapshot import MANIFEST, Manifest, Member, Moments


@dataclass(frozen=True)
class Snapshot:
    """One frozen training set. Equal digests mean equal bytes."""

    place: Location
    digest: str
    manifest: Manifest

    @classmethod
    def open(cls, root: str, digest: str = "", *, verify: bool = True) -> Self:
        """Open ``<root>/<digest>``, given as the folder or in two parts; the beginning of a digest will do.

        UserError where there is none, or several begin so; it names each shard that is missing or, with
        ``verify``, whose bytes aren't those built.
        """
        if not digest:
            root, _, digest = root.rstrip("/").rpartition("/")
            root = root or "."
        place = open_location(root)
        digest = _full(place, digest)
        try:
            data = place.read(digest, MANIFEST)
        except FileNotFoundError:
            raise UserError(f"{root}: no snapshot {digest}; `lwd snapshot build` makes one") from None
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise UserError(
                f"snapshot {digest}: {MANIFEST} is damaged (its digest is {found}); build it again"
            )
        try:
            manifest = Manifest.from_bytes(data)
        except ValueError as e:
            raise UserError(f"snapshot {digest}: {e}") from e
        snapshot = cls(place, digest, manifest)
        faults = snapshot.faults(content=verify)
        if faults:
            raise UserError(f"snapshot {digest}: {'; '.join(faults)}; build it again from its spec")
        return snapshot

    def __repr__(self) -> str:
        counts = self.manifest.counts
        return (
            f"Snapshot({self.digest[:12]}: {self.manifest.name}, {counts['episodes']} episodes, "
            f"{counts['steps']} steps)"
        )

    def faults(self, *, content: bool = True) -> list[str]:
        """What is wrong with the shards, one text each; ``content`` also hashes their bytes."""
        faults = []
        for shard in self.manifest.shards:
            path = self.path(shard.name)
            try:
                size = self.place.fs.size(path)
            except FileNotFoundError:
                faults.append(f"{shard.name} is missing")
                continue
            if size != shard.bytes:
                faults.append(f"{shard.name} has {size} bytes instead of {shard.bytes}")
            elif content and _sha256(self.place, path) != shard.sha256:
                faults.append(f"{shard.name} is damaged (other bytes than were built)")
        return faults

    def path(self, name: str) -> str:
        """Where one of its files lies."""
        return self.place.path(self.digest, name)

    @cached_property
    def spec(self) -> SnapshotSpec:
        """The question it answers."""
        return SnapshotSpec.parse(dict(self.manifest.spec), where=f"snapshot {self.digest}")

    @property
    def episodes(self) -> tuple[Member, ...]:
        """Its episodes; a batch's ``episode`` counts in this order."""
        return self.manifest.episodes

    @cached_property
    def instructions(self) -> list[str]:
        """Distinct instructions, sorted; a batch's ``instruction`` counts in it."""
        return sorted({m.instruction for m in self.episodes})

    @cached_property
    def tasks(self) -> list[str]:
        """Distinct tasks, sorted; a batch's ``task`` counts in it."""
        return sorted({m.task for m in self.episodes})

    @cached_property
    def policies(self) -> list[str]:
        """Distinct policy ids, sorted; a batch's ``policy`` counts in it, -1 where none ran."""
        return sorted({m.policy_id for m in self.episodes if m.policy_id})

    @property
    def stats(self) -> dict[str, dict[str, np.ndarray]]:
        """Norm statistics of the train split: ``stats["state"]["mean"]`` and so on, float32 vectors.

        UserError if it holds several embodiments; ask ``stats_of`` for each then.
        """
        if len(self.manifest.stats) != 1:
            names = ", ".join(self.manifest.stats)
            raise UserError(f"snapshot {self.digest}: statistics are per embodiment ({names}); name one")
        return self.stats_of(next(iter(self.manifest.stats)))

    @cached_property
    def frame_sizes(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Height and width of each camera's pictures, by embodiment; not known of snapshots of before."""
        told = self.manifest.counts.get("frame_sizes", {})
        return {
            name: {c: (size[0], size[1]) for c, size in cameras.items()} for name, cameras in told.items()
        }

    def stats_of(self, embodiment: str) -> dict[str, dict[str, np.ndarray]]:
        """Norm statistics of one embodiment."""
        if embodiment not in self.manifest.stats:
            raise UserError(f"snapshot {self.digest}: no statistics of embodiment {embodiment!r}")
        return {name: _arrays(moments) for name, moments in self.manifest.stats[embodiment].items()}


def _arrays(moments: Moments) -> dict[str, np.ndarray]:
    names = ("mean", "std", "min", "max", "q01", "q99")
    return {name: np.asarray(getattr(moments, name), np.float32) for name in names}


def _full(place: Location, digest: str) -> str:
    if len(digest) == 64:
        return digest
    try:
        names = [p.rstrip("/").rsplit("/", 1)[-1] for p in place.fs.ls(place.root, detail=False)]
    except FileNotFoundError:
        names = []
    there = [n for n in names if len(n) == 64]
    found = [n for n in there if n.startswith(digest)]
    if not found:
        has = f"there are {len(there)}, `lwd snapshot list` names them" if there else "it holds none"
        raise UserError(f"{place.root}: no snapshot {digest!r}; {has}")
    if len(found) > 1:
        raise UserError(f"{place.root}: {len(found)} snapshots begin with {digest!r}; give more of it")
    return found[0]


def _sha256(place: Location, path: str) -> str:
    with place.fs.open(path, "rb") as stream:
        if not place.remote:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 23):
            digest.update(chunk)
        return digest.hexdigest()
