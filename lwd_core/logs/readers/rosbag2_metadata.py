"""rosbag2's metadata.yaml: what it says of the parts, believed only where the parts can't speak.

A killed recorder writes none, and an edited one may be wrong; it is what knows of a part or of messages
that are not there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

FILE = "metadata.yaml"
_LIMIT = 4 << 20
_NUMBERED = re.compile(r"(.*?)(\d+)(\.(?:db3|mcap)(?:\.zstd)?)")


@dataclass(frozen=True)
class Metadata:
    """``files``: messages by part, None where it doesn't say. ``custom``: what its user wrote into it."""

    files: Mapping[str, int | None] = field(default_factory=dict)
    messages: int | None = None
    packs_messages: bool = False
    custom: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None

    def missing(self, parts: Sequence[str]) -> list[str]:
        """What parts are missing beside those there, in words."""
        there = {PurePosixPath(p).name for p in parts}
        if self.files:
            return [
                f"part {name} is missing" + (f" ({count} messages)" if count else "")
                for name, count in self.files.items()
                if name not in there
            ]
        return [f"part {name} is missing" for name in _gaps(there)]


def read_metadata(folder: Path) -> Metadata:
    """The metadata of a recording's folder, empty where there is none."""
    path = folder / FILE
    if not path.is_file():
        return Metadata()
    text = path.read_bytes()[:_LIMIT].decode(errors="replace")
    packs = bool(re.search(r"compression_mode:\s*[\"']?message", text.lower()))
    try:
        tree = YAML(typ="safe").load(text)
        told = tree["rosbag2_bagfile_information"]
        files = {PurePosixPath(str(p)).name: None for p in told.get("relative_file_paths") or ()}
        files |= {PurePosixPath(str(f["path"])).name: _count(f) for f in told.get("files") or ()}
        custom = {str(k): str(v) for k, v in (told.get("custom_data") or {}).items()}
        return Metadata(files, _count(told), packs, custom)
    except Exception as e:  # a foreign document fails in as many ways as there are documents
        return Metadata(packs_messages=packs, fault=f"{FILE} cannot be read ({type(e).__name__})")


def _count(told: Mapping[str, Any]) -> int | None:
    count = told.get("message_count")
    return count if isinstance(count, int) and count >= 0 else None


def _gaps(names: set[str]) -> list[str]:
    """Names that a numbered series lacks; a recorder counts its parts from 0."""
    series: dict[tuple[str, str], set[int]] = {}
    for name in names:
        if part := _NUMBERED.fullmatch(name):
            series.setdefault((part[1], part[3]), set()).add(int(part[2]))
    return [
        f"{stem}{number}{end}"
        for (stem, end), numbers in sorted(series.items())
        if len(numbers) > 1 and max(numbers) < 10_000  # a date is no part's number
        for number in range(max(numbers))
        if number not in numbers
    ]
