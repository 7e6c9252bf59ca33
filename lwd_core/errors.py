"""What a user is meant to see as a line, not as a traceback."""

from collections.abc import Iterable


class UserError(Exception):
    """Bad input or a bad environment, in one clear line.

    The message names the file, the field and the remedy. The command line prints it and
    exits with code 2.
    """


class StorageError(UserError, OSError):
    """The lake's own disk or bucket failed; no log is to blame, and nothing half-written is kept."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: which known one is near. Empty where none is."""
    from difflib import get_close_matches  # only who errs waits for it

    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def suggest(name: str, known: Iterable[str]) -> str:
    """The same, and where none is near all that are known."""
    names = sorted(known)
    return did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"
