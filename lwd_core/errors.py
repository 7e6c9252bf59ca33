"""What a user is meant to see as a line, not as a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input or a bad environment, in one clear line.

    The message names the file, the field and the remedy. The command line prints it and
    exits with code 2.
    """


class StorageError(UserError, OSError):
    """The lake's own disk or bucket failed; no log is to blame, and nothing half-written is kept."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` where one of the known names is near; else nothing."""
    near = get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""
