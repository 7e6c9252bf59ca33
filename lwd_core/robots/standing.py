"""How every enrolled robot stands: what is wanted of it, what it said last, and what differs."""

from collections.abc import Mapping
from dataclasses import dataclass

from lwd_core.errors import UserError
from lwd_core.policies.keys import trusted_keys
from lwd_core.robots.desired import Desired, read_desired
from lwd_core.robots.enrolment import Enrolment, enrolled
from lwd_core.robots.heartbeat import Heard, read_heartbeat
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

#: A robot that said nothing for so long is offline.
SILENT_S = 300.0


@dataclass(frozen=True)
class RobotNow:
    """One robot. ``problem``: why its files can't be believed. ``desired_policy``: what its channel holds."""

    robot_id: str
    enrolment: Enrolment | None
    wanted: Desired
    received: Heard | None
    desired_policy: str | None
    problem: str
    now_ns: int

    @property
    def silent_s(self) -> float | None:
        """Seconds since it said something, by the store's clock."""
        return None if self.received is None else max(0.0, (self.now_ns - self.received.stored_ns) / 1e9)

    @property
    def doubt(self) -> str:
        """Why its word may not be of now: what it signed can be put back by whoever may write there."""
        ahead = self.received.clock_offset_s if self.received else 0.0
        if abs(ahead) <= SILENT_S:
            return ""
        where = "ahead of" if ahead > 0 else "behind"
        return (
            f"what it said last is {abs(ahead):.0f} s {where} the store's clock; set the robot's, or find "
            "out who put an older heartbeat back"
        )

    @property
    def state(self) -> str:
        """``revoked``, ``unsound``, ``never seen``, ``offline``, ``paused`` or ``online``."""
        if self.problem:
            return "unsound"
        if self.enrolment and self.enrolment.revoked_ns is not None:
            return "revoked"
        if self.received is None or self.silent_s is None:
            return "never seen"
        if self.silent_s > SILENT_S:
            return "offline"
        return "paused" if self.received.beat.paused else "online"

    @property
    def pending(self) -> str:
        """What is wanted and not so yet."""
        said = self.received.beat if self.received else None
        if said is None:
            return ""
        found: list[str] = []
        if said.paused != self.wanted.paused:
            found.append("pause" if self.wanted.paused else "resume")
        if self.desired_policy and said.policy_id != self.desired_policy:
            found.append(f"policy {self.desired_policy[:8]}")
        return ", ".join(found)

    def row(self) -> dict[str, object]:
        """Plain values, for a table or JSON."""
        said = self.received.beat if self.received else None
        return {
            "robot_id": self.robot_id,
            "site": self.enrolment.site if self.enrolment else "",
            "group": self.enrolment.group if self.enrolment else "",
            "state": self.state,
            "silent_s": None if self.silent_s is None else round(self.silent_s, 1),
            "doing": said.doing if said else "",
            "channel": said.channel if said else self.wanted.channel or "",
            "policy_id": said.policy_id if said else None,
            "desired_policy_id": self.desired_policy,
            "pending": self.pending,
            "spool_logs": said.spool_logs if said else None,
            "spool_bytes": said.spool_bytes if said else None,
            "dropped_logs": said.dropped_logs if said else None,
            "disk_free_bytes": said.disk_free_bytes if said else None,
            "clock_offset_s": round(self.received.clock_offset_s, 2) if self.received else None,
            "why": self.problem or self.doubt or self.wanted.why,
        }


def standings(settings: Settings, channels: Mapping[str, str], now_ns: int) -> tuple[RobotNow, ...]:
    """Every robot that is enrolled, or has been. ``channels``: policy id by release channel, as it is now."""
    trusted = trusted_keys(settings.keys)
    found: list[RobotNow] = []
    for robot_id, one in enrolled(settings).items():
        wanted, received, problem = Desired(robot_id), None, one if isinstance(one, str) else ""
        if isinstance(one, Enrolment):
            try:
                wanted = read_desired(settings, robot_id, trusted)
                received = read_heartbeat(settings, one)
            except (UserError, PermissionError, IsADirectoryError) as error:
                problem = str(error)
        follows = received.beat.channel if received else ""
        channel = wanted.channel or follows or str(Channel.PRODUCTION)
        desired = channels.get(channel) or channels.get(str(Channel.PRODUCTION))
        enrolment = one if isinstance(one, Enrolment) else None
        found.append(RobotNow(robot_id, enrolment, wanted, received, desired, problem, now_ns))
    return tuple(found)
