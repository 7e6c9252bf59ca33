"""What a user is meant to see as a line, not as a traceback."""


class UserError(Exception):
    """Bad input or a bad environment, in one clear line.

    The message names the file, the field and the remedy. The command line prints it and
    exits with code 2.
    """


class StorageError(UserError, OSError):
    """The lake's own disk or bucket failed; no log is to blame, and nothing half-written is kept."""
