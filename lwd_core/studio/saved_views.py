"""Filters that people gave a name: a file of the home, shared by everybody who opens it."""

import json
from typing import Any, cast

from lwd_core.errors import UserError
from lwd_core.storage.location import Location

_FILE = "views.json"
_LONGEST = 4_000


class SavedViews:
    """``name`` to ``query`` (what stands in the page's address), who saved it."""

    def __init__(self, place: Location) -> None:
        self._place = place

    def all(self) -> dict[str, dict[str, str]]:
        """By name. Raises `UserError` where the file is none of ours."""
        try:
            found: Any = json.loads(self._place.read(_FILE))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UserError(
                f"{self._place.path(_FILE)}: not JSON ({error}); mend it or move it away"
            ) from error
        if not _are_views(found):
            raise UserError(f"{self._place.path(_FILE)}: these are no saved views; mend it or move it away")
        return found

    def save(self, name: str, query: str, by: str) -> None:
        """Under a name, in place of what had it."""
        name = name.strip()
        if not 0 < len(name) <= 100 or len(query) > _LONGEST:
            raise UserError("saved view: give it a name of at most 100 characters")
        self._write(self.all() | {name: {"query": query, "by": by}})

    def drop(self, name: str) -> None:
        """Nothing where there is none of the name."""
        views = self.all()
        if views.pop(name, None) is not None:
            self._write(views)

    def _write(self, views: dict[str, dict[str, str]]) -> None:
        with self._place.write(_FILE) as file:
            file.write(json.dumps(views, ensure_ascii=False, indent=2, sort_keys=True).encode())


def _are_views(found: Any) -> bool:
    """Names, each with texts."""
    if not isinstance(found, dict):
        return False
    views = cast("dict[str, Any]", found).values()
    return all(
        isinstance(view, dict)
        and all(isinstance(cast("dict[str, Any]", view).get(name), str) for name in ("query", "by"))
        for view in views
    )
