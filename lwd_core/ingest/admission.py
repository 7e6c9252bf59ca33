"""Whose logs the landing zone takes: refused ones, and those of them that would be taken today."""

from lwd_core.ingest.landing import LandedLog, origin_of
from lwd_core.lake.store import Lake
from lwd_core.robots.enrolment import Registry
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from lwd_core.storage.relative import below, resolve
from storage_schemas.vocabulary import LogState


def refusal(registry: Registry, landing: str, log: LandedLog, log_id: str) -> str | None:
    """Why whose log this is keeps it out of the lake; None if it doesn't. landing: the zone's root."""
    said, _ = origin_of(landing, log.uri)
    if said.robot is None and registry.alone and below(landing, log.uri) is not None:
        return "its place in the landing zone names no robot, and `enrolled_only` is set; see docs/fleet.md"
    if said.robot is None or not registry.asks(said.robot):
        return None
    return registry.refusal(said.robot, said.site, log_id, log.vouched())


def admitted(
    lake: Lake, settings: Settings, registry: Registry | None = None, robot_id: str | None = None
) -> frozenset[tuple[str, str]]:
    """(log_id, uri) of the logs, of one robot or all, that were refused for whose they are and would be taken
    by now: their robot was enrolled since, or enrolled anew. ``registry``: as it is now."""
    rows = lake.read(
        "logs",
        columns=["log_id", "uri", "bytes", "reason"],
        where=f"state = '{LogState.QUARANTINED}' AND starts_with(reason, 'robot ')",
    ).to_pylist()
    if not rows:
        return frozenset()
    registry = registry or Registry.of(settings)
    landing = open_location(settings.landing).root
    found: set[tuple[str, str]] = set()
    for row in rows:
        log = LandedLog(resolve(landing, row["uri"]), row["bytes"])
        robot = origin_of(landing, log.uri)[0].robot
        if robot is None or robot != (robot_id or robot) or not registry.refused(robot, row["reason"]):
            continue
        if refusal(registry, landing, log, row["log_id"]) is None:
            found.add((row["log_id"], row["uri"]))
    return frozenset(found)
