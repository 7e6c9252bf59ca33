"""The one resource: where things lie, which profile is in force, and the lake, opened when asked for."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import dagster as dg

from lwd_core.settings import Settings
from pipelines.partitions import Cell
from pipelines.profile import Profile, load_profile

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake
    from storage_schemas.embodiment import Embodiment


class Platform(dg.ConfigurableResource):
    """Places come from ``LWD_*`` variables; ``profile`` is a name or a path, empty for ``LWD_PROFILE``."""

    profile: str = ""

    @property
    def settings(self) -> Settings:
        """The places."""
        return Settings()

    @property
    def plan(self) -> Profile:
        """The profile in force."""
        return load_profile(self.profile or None)

    def lake(self) -> "Lake":
        """The episode lake, made if it isn't there. Imported here: definitions load without it."""
        from lwd_core.lake.store import Lake

        return Lake.open(self.settings.lake, create=True)

    def embodiments(self) -> "dict[str, Embodiment]":
        """The robot types known here."""
        from lwd_core.logs.embodiment import load_embodiments

        return load_embodiments(self.settings.embodiments)

    def landed(self, wanted: Iterable[Cell]) -> list[str]:
        """Folders of the landing zone that hold something of these days and sites."""
        from lwd_core.storage.location import open_location

        landing = open_location(self.settings.landing)
        return [landing.path(cell.site, cell.day) for cell in wanted if landing.exists(cell.site, cell.day)]

    def now_ns(self) -> int:
        """The platform's clock; everything below takes time as an argument."""
        return time.time_ns()
