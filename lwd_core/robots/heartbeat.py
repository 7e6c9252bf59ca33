"""What a robot last said of itself: ``<robots>/<robot id>/heartbeat.json``, signed by the robot.

The store stamps the file by its own clock: the difference is how far the robot's clock is off, to within the
time the write took and the resolution of the store's stamps (a second in a bucket).
"""

from dataclasses import asdict, dataclass, fields

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lwd_core.errors import UserError
from lwd_core.policies.keys import key_id, public_key
from lwd_core.policies.signed_file import NotSigned, read_signed, write_signed
from lwd_core.robots.enrolment import Enrolment, folder_of
from lwd_core.settings import Settings

FILE = "heartbeat.json"


@dataclass(frozen=True)
class Heartbeat:
    """``sent_ns`` by the robot's clock. ``spool_…``: logs that wait to be uploaded; ``dropped_…``: those that
    went for want of room since it was enrolled. ``doing``: a few words."""

    robot_id: str
    sent_ns: int
    policy_id: str | None = None
    release_id: str | None = None
    channel: str = ""
    doing: str = ""
    paused: bool = False
    spool_logs: int = 0
    spool_bytes: int = 0
    dropped_logs: int = 0
    dropped_bytes: int = 0
    disk_free_bytes: int = 0
    software: str = ""


@dataclass(frozen=True)
class Heard:
    """A heartbeat, and when the store had it, by the store's clock."""

    beat: Heartbeat
    stored_ns: int

    @property
    def clock_offset_s(self) -> float:
        """How far the robot's clock runs ahead of the store's; the write's own time counts against it."""
        return (self.beat.sent_ns - self.stored_ns) / 1e9


def beat(settings: Settings, said: Heartbeat, key: Ed25519PrivateKey) -> None:
    """Tell the platform. Raises OSError where the line is down."""
    write_signed(folder_of(settings, said.robot_id), FILE, "heartbeat", asdict(said), key)


def read_heartbeat(settings: Settings, robot: Enrolment) -> Heard | None:
    """The robot's last one; None before the first. Raises UserError for one that it did not sign."""
    place, key = folder_of(settings, robot.robot_id), public_key(robot.key.encode())
    try:
        values = read_signed(place, FILE, "heartbeat", {key_id(key): key})
        if values is None:
            return None
        known = {one.name for one in fields(Heartbeat)}
        said = Heartbeat(**{name: value for name, value in values.items() if name in known})
        stored = place.fs.modified(place.path(FILE))
    except (NotSigned, TypeError) as error:
        raise UserError(f"{error}; it is not from the robot that was enrolled") from error
    except FileNotFoundError:
        return None
    return Heard(said, round(stored.timestamp() * 1e9))
