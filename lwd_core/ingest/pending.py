"""What has landed and is not in the lake yet: the question that a missed notice can't falsify."""

from lwd_core.ingest.admission import admitted
from lwd_core.ingest.landing import origin_of, receive
from lwd_core.lake import addresses
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from storage_schemas.vocabulary import LogState


def waiting(lake: Lake, settings: Settings) -> dict[tuple[str, str], list[str]]:
    """Addresses of the logs in the landing zone that ``logs`` has no row of, by (day, site).

    A log that has changed its size since counts as new; so does one whose robot was enrolled since. Day and
    site are "" where a log's path ``<site>/<day>/<robot>/`` doesn't say them: it belongs to no partition. An
    absent landing zone holds nothing.
    """
    landing = settings.landing
    place = open_location(landing)
    if not place.exists():
        return {}
    rows = addresses.logs(lake, landing, where=f"state <> '{LogState.SUPERSEDED}'")
    again = admitted(lake, settings)
    known = {(row["uri"], row["bytes"]) for row in rows if (row["log_id"], row["uri"]) not in again}
    found: dict[tuple[str, str], list[str]] = {}
    for log in receive([landing], landing):
        if (log.place, log.bytes) not in known:
            said, _ = origin_of(place.root, log.uri)
            whole = said.site and said.day and said.robot
            found.setdefault((said.day or "", said.site or "") if whole else ("", ""), []).append(log.uri)
    return found
