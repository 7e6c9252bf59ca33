"""What the page works on: a lake, its catalogues, and the few episodes that are open."""

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwd_core.errors import UserError
from lwd_core.labels.registry import VALUES
from lwd_core.lake.episode import Episode
from lwd_core.lake.some_partitions import SomePartitions
from lwd_core.lake.store import Lake
from lwd_core.logs.embodiment import load_embodiments
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import resolve
from lwd_core.studio.catalogue import Catalogue, Catalogues
from lwd_core.studio.strips import CARDS, FILMS, CameraFilm, Remembered, Strip, films, strips

_OPEN = 4  # episodes with all their steps in memory


class NotThere(UserError):
    """The lake has no such episode, or it has been erased."""


class Desk:
    """A lake as the page sees it. Whatever is remembered of episodes is forgotten when the lake changes:
    one that was erased is in no memory of ours either."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogues = Catalogues(Lake.open(settings.lake))
        self.lake = Lake.open(settings.lake)
        self.lock = threading.RLock()  # one query of the lake at a time
        self._secret = secrets.token_bytes(32)
        self._number = 0
        self._forget()

    def newest(self) -> Catalogue:
        """The newest catalogue."""
        found = self.catalogues.newest()
        with self.lock:
            if found.number != self._number:
                self._number = found.number
                self._forget()
        return found

    def episode(self, episode_id: str) -> Episode:
        """An episode by its whole id, with its steps once they were asked for. Raises `NotThere`."""
        catalogue = self.newest()
        with self.lock:
            if episode_id in self._episodes:
                return self._episodes[episode_id]
            row = catalogue.row(episode_id)
            absent = NotThere(f"episode {episode_id}: the lake has none of this id; it may have been erased")
            if row is None:
                raise absent
            (card,) = catalogue.cards(_row(row), ("day", "site"))
            near = self._near(card["day"], card["site"])
            found = near.episodes("episode_id = ?", (episode_id,))
            if not found:
                raise absent
            (only,) = found
            if only.embodiment is None:
                known = load_embodiments(self.settings.embodiments).get(only.facts["embodiment"])
                only = Episode(near, only.facts, known)
            return self._episodes.keep(episode_id, only)

    def films(self, episode_id: str) -> list[CameraFilm]:
        """The episode's cameras. Raises `NotThere`."""
        with self.lock:
            episode = self.episode(episode_id)  # after which nothing is of an earlier catalogue
            return self._films.get(episode_id) or self._films.keep(episode_id, films(episode))

    def strips(self, ids: Sequence[str]) -> dict[str, Strip]:
        """A few frames of each of these episodes that the lake has."""
        catalogue = self.newest()
        with self.lock:
            wanted = [one for one in dict.fromkeys(ids) if one not in self._strips]
            rows = [row for one in wanted if (row := catalogue.row(one)) is not None]
            if rows:
                cards = catalogue.cards(_row(*rows), ("episode_id", "day", "site", "steps"))
                near = SomePartitions(self.lake, {(card["day"], card["site"]) for card in cards})
                for episode, strip in strips(near, cards).items():
                    self._strips.keep(episode, strip)
            return {one: self._strips[one] for one in ids if one in self._strips}

    def has_run(self, layer: str) -> bool:
        """Whether the run whose critic said a layer of values is at hand, so that its law can be shown."""
        run = layer.removeprefix(VALUES).partition("@")[0].rpartition(".")[0]
        return bool(run) and open_location(self.settings.checkpoints).exists(run)

    def log_file(self, episode_id: str) -> Path | None:
        """The raw log of an episode, where it is a file on this machine."""
        with self.lock:
            uri = self.episode(episode_id).log_uri
        path = resolve(self.settings.landing, uri) if uri else "://"
        return Path(path) if "://" not in path and os.path.isfile(path) else None

    def log_token(self, episode_id: str) -> str:
        """What the address of an episode's raw log holds, so that nobody guesses it."""
        return hmac.new(self._secret, episode_id.encode(), hashlib.sha256).hexdigest()[:32]

    def _near(self, day: str, site: str) -> SomePartitions:
        """One partition of the lake; whoever goes from episode to episode stays in it for a while."""
        name = f"{day} {site}"
        return self._parts.get(name) or self._parts.keep(name, SomePartitions(self.lake, [(day, site)]))

    def _forget(self) -> None:
        self._episodes = Remembered[Episode](_OPEN)
        self._films = Remembered[list[CameraFilm]](FILMS)
        self._strips = Remembered[Strip](CARDS)
        self._parts = Remembered[SomePartitions](_OPEN)


def _row(*rows: int) -> Any:
    import numpy as np

    return np.array(rows, np.int32)
