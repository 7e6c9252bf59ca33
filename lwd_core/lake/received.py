"""What has been received: raw logs as they lie in the landing zone or under any path."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from lwd_core.errors import UserError
from lwd_core.lake.place import Place, open_place
from lwd_core.lake.rows import PLAIN
from lwd_core.logs.source import LogSource

DIGEST = ".sha256"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Received:
    """One raw log: a file, or a folder that is a log as a whole.

    ``site``, ``day`` and ``robot`` come from its path in the landing zone; None outside of it. ``mark`` keeps
    the frame shards of one reading apart from those of another.
    """

    uri: str
    bytes: int
    site: str | None = None
    day: str | None = None
    robot: str | None = None
    mark: str = ""

    @property
    def source(self) -> LogSource:
        """The log to read."""
        return LogSource(self.uri)

    def claimed(self) -> str | None:
        """The digest the robot stated beside its log; None if it stated none."""
        place, sidecar = open_place(self.uri), self.uri + DIGEST
        if not place.fs.exists(sidecar):
            return None
        words = place.fs.cat_file(sidecar)[:200].decode("ascii", "replace").split()
        return words[0].lower() if words else ""


def receive(paths: Iterable[str], landing: str) -> Iterator[Received]:
    """Every raw log under the paths (files, folders, URLs), each once, in the order of names.

    Hidden and temporary names are uploads under way. Raises ``UserError`` for a path that isn't there.
    """
    seen: set[str] = set()
    landing = open_place(landing).root
    for path in paths:
        place = open_place(path)
        if not place.fs.exists(place.root):
            raise UserError(f"{path}: no such file or folder; name a log, a folder of logs or a bucket")
        for uri, size in _logs(place, place.root):
            if uri in seen:
                continue
            seen.add(uri)
            yield Received(uri, size, *origin(uri, landing))


def _logs(place: Place, path: str) -> Iterator[tuple[str, int]]:
    fs = place.fs
    if fs.isfile(path):
        yield path, fs.size(path) or 0
        return
    found = fs.find(path, detail=True, withdirs=False)
    prefix = "s3://" if place.remote else ""
    whole: set[str] = set()
    for name in found:
        for mark in ("/meta/info.json", "/metadata.yaml"):  # a LeRobot set, a rosbag2 folder
            if name.endswith(mark):
                whole.add(name.removesuffix(mark))
    sizes: dict[str, int] = {}
    for name, info in found.items():
        if any(part.startswith(".") for part in PurePosixPath(name[len(path) :]).parts):
            continue
        if info.get("islink") or name.endswith((DIGEST, ".tmp")):
            continue
        owner = next((folder for folder in whole if name.startswith(folder + "/")), name)
        sizes[owner] = sizes.get(owner, 0) + (info.get("size") or 0)
    for name in sorted(sizes):
        yield prefix + name, sizes[name]


def origin(uri: str, landing: str) -> tuple[str | None, str | None, str | None]:
    """Site, day and robot of a log by its place in the landing zone; None outside of it."""
    if not uri.startswith(landing + "/"):
        return None, None, None
    parts = uri[len(landing) + 1 :].split("/")
    if len(parts) < 4:
        return None, None, None
    site, day, robot = parts[:3]
    plain = PLAIN.fullmatch(site) and site.strip(".")
    return (site if plain else None), (day if DAY.fullmatch(day) else None), robot
