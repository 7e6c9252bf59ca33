"""The newest number a machine has seen on each release channel, kept over restarts.

A robot that forgot it would follow an older channel file that somebody put back. It lies beside the keys
the machine trusts: both say what it takes for true.
"""

import fcntl
import json
from pathlib import Path

from lwd_core.errors import UserError
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import stored
from storage_schemas.canonical import canonical_json

FILE = "seen.json"


class Seen:
    """``<keys>/seen.json``: numbers by releases folder and channel. They only ever rise."""

    def __init__(self, settings: Settings) -> None:
        self._folder = Path(settings.keys)
        # relative to the home, so that a home that is moved remembers
        self._releases = stored(settings.home, settings.releases)

    def number(self, channel: str) -> int | None:
        """The newest number seen; None before the first. Raises UserError where the file can't be read."""
        return self._read().get(self._releases, {}).get(channel)

    def raise_to(self, channel: str, number: int) -> None:
        """Remember a number unless a higher one is known. Raises UserError where it can't be kept."""
        known = self.number(channel)
        if known is not None and known >= number:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(self._folder / f".{FILE}.lock", "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                all_seen = self._read()
                own = all_seen.setdefault(self._releases, {})
                own[channel] = max(number, own.get(channel, number))
                with open_location(str(self._folder)).write(FILE) as file:
                    file.write(canonical_json(all_seen))
        except OSError as error:
            raise UserError(
                f"{self._folder / FILE}: can't be written ({error}), and a robot must remember the newest "
                "release it saw; make the folder of the keys writable"
            ) from error

    def _read(self) -> dict[str, dict[str, int]]:
        path = self._folder / FILE
        try:
            value = json.loads(path.read_bytes())
            return {place: {c: int(n) for c, n in own.items()} for place, own in value.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: can't be read ({error}); remove it to trust what the channels hold now"
            ) from error
