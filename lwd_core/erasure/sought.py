"""What an erasure looks for, kept until it is found nowhere: the rows that it is taken from are going."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

from lwd_core.erasure.search import Needles
from lwd_core.errors import StorageError
from lwd_core.lake.store import Lake

SOUGHT = ".sought.json"


def seek(lake: Lake, token: str, what: Needles) -> None:
    """Keep what is looked for, under the name of the erasure's plan."""
    said = {
        "episodes": [_hidden(episode) for episode in what.ids],
        "needles": [piece.hex() for piece in what.pieces],
        "numbers": [run.hex() for run in what.numbers],
    }
    if what.pieces or what.numbers:
        with lake.place.write("erasures", token + SOUGHT) as stream:
            stream.write(json.dumps(said).encode())


def with_sought(lake: Lake, what: Needles) -> Needles:
    """The same, and what earlier erasures of these episodes looked for and were not seen to be rid of."""
    pieces, numbers = dict.fromkeys(what.pieces), dict.fromkeys(what.numbers)
    for said in _sought(lake, what.ids).values():
        pieces |= dict.fromkeys(bytes.fromhex(piece) for piece in said["needles"])
        numbers |= dict.fromkeys(bytes.fromhex(run) for run in said["numbers"])
    return Needles(what.ids, tuple(pieces), tuple(numbers))


def absent(lake: Lake, episodes: Collection[str]) -> None:
    """Forget what was looked for: to be called once a search found it nowhere but where it is kept."""
    hidden = {_hidden(episode) for episode in episodes}
    for name, said in _sought(lake, episodes).items():
        if hidden.issuperset(said["episodes"]):
            lake.place.remove(name)


def read_note(lake: Lake, name: str) -> dict[str, Any]:
    """What an erasure wrote down. Raises `StorageError` where it is damaged."""
    try:
        return json.loads(lake.place.read(name))
    except ValueError as error:
        raise StorageError(
            f"{lake.path(name)}: a damaged note of an erasure ({error}); restore it from a backup, or remove "
            "it and erase the same episodes again"
        ) from error


def _sought(lake: Lake, episodes: Collection[str]) -> dict[str, dict[str, Any]]:
    """By file: what earlier erasures of one of the episodes looked for and were not seen to be rid of."""
    folder, hidden = lake.path("erasures"), {_hidden(episode) for episode in episodes}
    if not lake.place.exists("erasures"):
        return {}
    names = [lake.place.relative(path) for path in lake.fs.find(folder) if path.endswith(SOUGHT)]
    said = {name: read_note(lake, name) for name in sorted(names)}
    return {name: one for name, one in said.items() if not hidden.isdisjoint(one["episodes"])}


def _hidden(episode: str) -> str:
    return hashlib.sha256(episode.encode()).hexdigest()
