"""What has been received: raw logs as they lie in the landing zone or under any path."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO

from lwd_core.errors import UserError
from lwd_core.ingest.walk import Entry, entries, shown
from lwd_core.logs.folders import BESIDE_DB3, folder_logs
from lwd_core.logs.source import LogSource
from lwd_core.storage.location import Location, open_location
from lwd_core.storage.relative import below, plain, stored

DIGEST = ".sha256"
_BESIDE_BYTES = 400
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Origin:
    """Where logs come from, as a person says it of logs that don't say it by their place."""

    site: str | None = None
    day: str | None = None
    robot: str | None = None

    def __post_init__(self) -> None:
        """Raises ``UserError`` for what can't name a site or a day."""
        if self.site is not None and not plain(self.site):
            raise UserError(
                f"site {self.site!r}: no folder name; use letters, digits, dot, dash and underscore"
            )
        if self.day is not None and not is_day(self.day):
            raise UserError(f"day {self.day!r}: not a day; write it YYYY-MM-DD")
        if self.robot is not None and not self.robot.strip():
            raise UserError("robot '': a robot needs a name")


UNSAID = Origin()


def is_day(text: str) -> bool:
    """Whether a text is a day of the calendar, YYYY-MM-DD."""
    try:
        return bool(_DAY.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


@dataclass(frozen=True)
class LandedLog:
    """One raw log: a file, or a folder that is a log as a whole.

    ``uri`` is its full address, ``place`` the same as rows hold it: relative to the landing zone where it
    lies there. ``site``, ``day`` and ``robot`` come from its path in the landing zone, else from who named
    it; None where nobody said. ``problem`` is why it can't be read at all, ``note`` what its path
    can't name. ``mark`` keeps the frame shards of one reading apart from those of another.
    """

    uri: str
    bytes: int
    site: str | None = None
    day: str | None = None
    robot: str | None = None
    place: str = ""
    problem: str | None = field(default=None, compare=False)
    note: str | None = field(default=None, compare=False)
    mark: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", self.place or shown(self.uri))

    @property
    def source(self) -> LogSource:
        """The log to read."""
        return LogSource(self.uri)

    def claimed(self) -> str | None:
        """The digest the robot stated beside its log; None if it stated none."""
        beside = self._beside()
        if beside is None:
            return None
        words = beside.split()
        return words[0].lower() if words else ""

    def vouched(self) -> str:
        """The line below the digest, by which an enrolled robot vouches for its log; empty without."""
        lines = (self._beside() or "").splitlines()
        return lines[1] if len(lines) > 1 else ""

    def _beside(self) -> str | None:
        sidecar = self.uri + DIGEST
        if "://" in self.uri:
            place = open_location(self.uri)
            if not place.fs.isfile(sidecar):
                return None
            head = place.fs.cat_file(sidecar)[:_BESIDE_BYTES]
        elif os.path.isfile(sidecar):
            with open(sidecar, "rb") as stream:
                head = stream.read(_BESIDE_BYTES)
        else:
            return None
        return head.decode("ascii", "replace")


def receive(paths: Iterable[str], landing: str, origin: Origin = UNSAID) -> Iterator[LandedLog]:
    """Every raw log under the paths (files, folders, URLs), each once, in the order of names.

    A folder is one log from ``<site>/<day>/<robot>/<name>/`` of the landing zone down, and anywhere outside
    of it, where its format says so; it holds the files its format lists, the others are logs of their own.
    Hidden and temporary names are uploads under way. ``origin`` counts where the landing path doesn't say.
    Raises ``UserError`` for a path that isn't there.
    """
    seen: set[str] = set()
    landing = open_location(landing).root
    for path in paths:
        place = _normal(open_location(path))
        if not place.fs.exists(place.root):
            raise UserError(
                f"{shown(path)}: no such file or folder; name a log, a folder of logs or a bucket"
            )
        for uri, size, problem in _logs(place, landing):
            if uri in seen:
                continue
            seen.add(uri)
            said, note = origin_of(landing, uri)
            yield LandedLog(
                uri,
                size,
                said.site or origin.site,
                said.day or origin.day,
                said.robot or origin.robot,
                shown(stored(landing, uri)),
                problem or _beside(uri),
                note,
            )


def _normal(place: Location) -> Location:
    return place if place.remote else Location(os.path.abspath(place.root), place.fs)


def _logs(place: Location, landing: str) -> Iterator[tuple[str, int, str | None]]:
    """Address, bytes and problem of each log below a place."""
    found = {entry.name: entry for entry in entries(place)}

    def opened(name: str) -> BinaryIO:
        if found[name].problem:
            raise FileNotFoundError(name)
        return place.fs.open(f"{place.root}/{name}", "rb")

    def fit(folder: str) -> bool:
        return may_be_log(landing, f"{place.root}/{folder}" if folder else place.root)

    logs: dict[str, list[Entry]] = {}
    held: set[str] = set()
    for folder, names in folder_logs([name for name in found if name], opened, fit).items():
        full = [f"{folder}/{name}" if folder else name for name in names]
        held.update(full)
        logs[folder] = [found[name] for name in full]
    for name, entry in found.items():
        if name not in held:
            owner = next((name.removesuffix(e) for e in BESIDE_DB3 if name.endswith(e)), name)
            at = owner if owner in found and owner not in held else name
            # a database's log of changes is part of the database
            logs.setdefault(at, []).append(entry)
    if "" in found and not found[""].problem:  # a file that was named itself
        logs[""] = [Entry("", LogSource(place.root).size)]
    for name, parts in sorted(logs.items()):
        bad = [part for part in parts if part.problem]
        problem = bad[0].problem if bad else None
        if problem and len(parts) > 1:
            problem = (
                f"{len(bad)} of its {len(parts)} files can't be read, {shown(bad[0].name)} first: {problem}"
            )
        yield (f"{place.root}/{name}" if name else place.root), sum(part.size for part in parts), problem


def may_be_log(landing: str, folder: str) -> bool:
    """Whether a folder may be one log: none that robots share, or that the landing zone lies in."""
    inside = below(landing, folder)
    if inside is None:
        return below(folder, landing) is None
    return inside.count("/") >= 3


def _beside(uri: str) -> str | None:
    """What is wrong with the digest's place beside a local log."""
    if "://" in uri:
        return None
    try:
        found = os.stat(uri + DIGEST)
    except OSError:
        return None
    if stat.S_ISREG(found.st_mode):
        return None
    name = shown(os.path.basename(uri)) + DIGEST
    return (
        f"{name} beside it is no file, so that its digest can't be read; put it there as a file or remove it"
    )


def origin_of(landing: str, uri: str) -> tuple[Origin, str | None]:
    """What a path in the landing zone says: site, day and robot, each where it is one; and what is amiss."""
    parts = (below(landing, uri) or "").split("/")
    if len(parts) < 4:
        return UNSAID, None
    site, day, robot = (shown(part) for part in parts[:3])
    said = Origin(
        site if plain(site) else None, day if is_day(day) else None, robot if robot.strip() else None
    )
    odd = [f"{name} {text!r}" for name, text in zip(("site", "day", "robot"), parts, strict=False)
           if getattr(said, name) is None]  # fmt: skip
    return said, f"{' and '.join(odd)} of its path can't be taken: rename the folder" if odd else None
