"""A lake as if it had a few partitions only.

Whoever knows where an episode lies is answered from the files that lie there: of a thousand partitions,
naming all files to DuckDB costs ten times what reading one does.
"""

from collections.abc import Collection
from urllib.parse import unquote

from lwd_core.lake import query
from lwd_core.lake.store import Lake
from storage_schemas.tables import LOGS, TABLES


class SomePartitions(Lake):
    """``days_and_sites`` of another lake, read only, at the versions that were the newest when they were
    first asked for. Tables that are not of episodes are there whole; so are the logs, whose day is the one
    they came on."""

    def __init__(self, lake: Lake, days_and_sites: Collection[tuple[str, str]]) -> None:
        super().__init__(lake.place)
        self._logs = lake._logs
        self._pinned: dict[str, int | None] = {}
        self._folders = tuple(f"/day={day}/site={site}/" for day, site in days_and_sites)

    def version(self, table: str) -> int | None:
        if table not in self._pinned:
            self._pinned[table] = super().version(table)
        return self._pinned[table]

    def _view(self, table: str, version: int | None) -> str:
        files = [] if version is None else self.files(table, version)
        if TABLES[table].partition and table != LOGS.name:
            files = [file for file in files if any(folder in unquote(file) for folder in self._folders)]
        return query.view(TABLES[table], files)
