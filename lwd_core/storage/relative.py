"""Places as tables and files store them: relative to the root they lie under.

A stored place names a thing within its own root (the landing zone, the lake, the policies), so that a home
that was moved or copied is whole and reaches nothing of the old one. What lies outside the root, as a log
ingested from elsewhere, keeps its full address. Pure: nothing is read.
"""

import os
import re

from lwd_core.errors import UserError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,80}")


def plain(name: str) -> bool:
    """Whether a name may be a folder's: others every reader of paths decodes in its own way."""
    return bool(_PLAIN.fullmatch(name) and name.strip("."))


def relative(place: str) -> bool:
    """Whether a stored place is relative to its root: neither a URL nor a path from ``/``."""
    return not place.startswith("/") and not _SCHEME.match(place)


def below(root: str, place: str) -> str | None:
    """``place`` (a path or URL in full) relative to ``root``; None where it does not lie below it.

    ``root`` itself gives the empty text. Links are not followed: two names of one folder are two places.
    """
    root, place = _full(root), _full(place)
    if place == root:
        return ""
    head = root.rstrip("/") + "/"
    return place.removeprefix(head) if place.startswith(head) else None


def stored(root: str, place: str) -> str:
    """What to store for ``place``: its path within ``root`` where it lies below, else its full address."""
    inside = below(root, place)
    return inside if inside else _full(place)


def resolve(root: str, place: str) -> str:
    """The full address of a stored place: below ``root`` where it is relative, else as it was stored.

    Raises UserError for a relative one that leads out of the root.
    """
    if not relative(place):
        return _full(place)
    if ".." in place.split("/"):
        raise UserError(f"{place!r}: leads out of {root}; the row that says so was not written here")
    return f"{_full(root).rstrip('/')}/{place}" if place else _full(root)


def _full(place: str) -> str:
    """A local path absolute and without ``.``, ``..`` and doubled slashes; a URL without one at its end."""
    if _SCHEME.match(place):
        return place.rstrip("/")
    return os.path.abspath(place)
