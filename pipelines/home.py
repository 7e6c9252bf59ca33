"""A home: one folder with everything a run of the platform leaves behind, and the variables that name it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lwd_core.errors import UserError
from lwd_core.settings import Settings

#: Beside this package, in a clone and in an installed wheel.
DAGSTER_HOME = Path(__file__).parents[1] / "dagster_home"
#: Name of a shipped profile, or path of a YAML file.
PROFILE = "LWD_PROFILE"


def enter(home: str, profile: str | None = None) -> Path:
    """Point this process and its children at ``home``; return it. Raises UserError if it can't be written.

    The profile a home was first entered with is noted there: whoever comes later works with the same.
    """
    root = Path(home).absolute()
    state = root / "dagster"
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"home {root}: cannot be written ({error.strerror}); choose another with --home"
        ) from error
    if not os.access(state, os.W_OK):
        raise UserError(f"home {root}: cannot be written; choose another with --home")
    os.environ["LWD_HOME"] = str(root)
    os.environ["DAGSTER_HOME"] = str(Path(Settings().dagster or DAGSTER_HOME).absolute())
    os.environ["DAGSTER_STATE_DIR"] = str(state)
    note = state / "profile"
    if profile:
        os.environ[PROFILE] = profile
        if not note.exists():
            note.write_text(str(Path(profile).absolute()) if "." in profile else profile)
    elif note.exists() and not os.environ.get(PROFILE):
        os.environ[PROFILE] = note.read_text().strip()
    return root


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the home for one driver; the kernel lets go when the process ends, however it ends."""
    with (root / ".driver.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"home {root}: another run works in it; wait for it or use --home") from error
        yield
