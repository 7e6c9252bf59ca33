"""What gave rows their meaning: the embodiment file as it was, and the reader with its version."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from lwd_core.storage.location import Location
from storage_schemas.canonical import canonical_json
from storage_schemas.embodiment import Embodiment

FOLDER = "embodiments"


@dataclass(frozen=True)
class Meaning:
    """Digest of what the embodiment file meant; format and version of the reader. None: not known."""

    embodiment_digest: str | None
    reader_version: str | None

    @classmethod
    def of(cls, embodiment: Embodiment | None, log_format: str, reader: str = "") -> "Meaning":
        """What a log of a format means that is read by an embodiment today.

        ``reader`` is the package whose reader it was, with its version; empty for this one.
        """
        if embodiment is None:
            return cls(None, None)
        return cls(embodiment.digest, f"{log_format}@{reader or _version()}")

    @property
    def reading(self) -> str | None:
        """Short name of the two; None where they are not known."""
        if self.embodiment_digest is None:
            return None
        return hashlib.sha256(f"{self.embodiment_digest} {self.reader_version}".encode()).hexdigest()[:16]


def keep(place: Location, embodiment: Embodiment) -> None:
    """Keep what an embodiment file meant in the lake, by its digest; it is an embodiment file itself."""
    if (place.root, embodiment.digest) not in _kept:
        name = f"{embodiment.digest}.json"
        if not place.exists(FOLDER, name):
            with place.write(FOLDER, name) as stream:
                stream.write(canonical_json(embodiment.meaning))
        _kept.add((place.root, embodiment.digest))


#: What this process knows to be there.
_kept: set[tuple[str, str]] = set()


@cache
def _version() -> str:
    return version("lwd")
