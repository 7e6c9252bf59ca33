"""Which home is meant: `lwd.open`."""

import os
from pathlib import Path

from lwd_core.errors import UserError, did_you_mean
from lwd_core.home.home import Home, Place
from lwd_core.settings import FILE, PLACES, Settings, from_file
from lwd_core.storage.location import open_location


def open(home: Place | None = None, *, create: bool = False) -> Home:
    """Open a home: the folder or bucket that `lwd init`, the demo or ``create=True`` made.

    By default that of ``LWD_HOME`` and the settings of `lwd`. The address of a lake within a home, or of a
    lake alone, will do. Raises `UserError` where there is none.
    """
    if home is None:
        settings = Settings()
    else:
        root = str(Path(home).expanduser()) if "://" not in str(home) else str(home).rstrip("/")
        settings = _settings(root)
        if not create and not open_location(settings.lake).exists("tables"):
            if "://" not in root and os.path.isfile(root):
                raise UserError(
                    f"{root}: a file, not a home; name the folder, or `lake.ingest` takes a log in"
                )
            if not open_location(root).exists("tables"):
                raise UserError(
                    f"{root}: no lake there{_beside(root)}; lwd.open({root!r}, create=True) makes one"
                )
            above, _, name = root.rpartition("/")
            settings = _settings(above if above and name == "lake" else root, lake=root)
    found = Home.open(settings.lake, create=create)
    found.settings = settings
    return found


def _settings(home: str, **given: str) -> Settings:
    """The settings of one home: places of the environment are those of the home it names, if any."""
    if open_location(home).root == open_location(Settings().home).root:
        return Settings(**given)
    file = Path(home, FILE)
    said = from_file(file, set(Settings.model_fields)) if "://" not in home and file.is_file() else {}
    places = {name: f"{home}/{name}" for name in (*PLACES, *([] if "://" in home else ["keys"]))}
    return Settings(**{**places, **said, "home": home, **given})


def _beside(root: str) -> str:
    above = Path(root).absolute().parent
    if "://" in root or not above.is_dir():
        return ""
    homes = [d.name for d in above.iterdir() if (d / "tables").is_dir() or (d / "lake" / "tables").is_dir()]
    return did_you_mean(Path(root).name, homes)
