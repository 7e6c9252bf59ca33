"""What an enrolled robot says to the platform between episodes, and what it hears: paused, another channel.

A robot without a key of its own says nothing and follows its own settings.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded
from lwd_core.fleet.link import over_the_line
from lwd_core.fleet.outbox import Outbox
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.seen import Seen
from lwd_core.policies.keys import robot_key, trusted_keys
from lwd_core.robots.desired import Desired, read_desired
from lwd_core.robots.heartbeat import Heartbeat, beat
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel

_EVERY_NS = 15 * 10**9


class CheckIn:
    """One robot's. ``complain`` hears what can't be believed, each once, and that the line is down."""

    def __init__(self, settings: Settings, spec: RobotSpec, complain: Callable[[str], None]) -> None:
        self._settings, self._spec, self._complain = settings, spec, complain
        self._seen = Seen(settings)
        self._wanted, self._heard = Desired(spec.robot_id), False
        self._told: set[str] = set()
        self._last: tuple[int, Heartbeat] | None = None

    @property
    def wanted(self) -> Desired:
        """What was heard last."""
        return self._wanted

    @property
    def channel(self) -> Channel:
        """The channel to follow now."""
        return Channel(self._wanted.channel or self._spec.channel)

    def __call__(self, now_ns: int, held: Loaded | None, outbox: Outbox, doing: str) -> Desired:
        """Say how it stands, if that is another than before or some time ago, and hear what is wanted.

        ``now_ns`` is true time. Where the line is down, what was heard last goes on.
        """
        key = robot_key(self._settings.keys, self._spec.robot_id)  # a robot may be enrolled while it works
        if key is None:
            return self._wanted
        spool = outbox.folder
        waiting = outbox.waiting()
        said = Heartbeat(
            self._spec.robot_id,
            now_ns + self._spec.clock_offset_ns,
            held.policy.policy_id if held else None,
            held.release_id or None if held else None,
            str(self.channel),
            doing,
            self._wanted.paused,
            len(waiting),
            sum(log.stat().st_size for log in waiting),
            *outbox.dropped,
            _free(spool),
            self._spec.software,
        )
        try:
            with over_the_line():
                self._hear()
                said = replace(said, channel=str(self.channel), paused=self._wanted.paused)
                if self._news(said):
                    beat(self._settings, said, key)
                    self._last = now_ns, said
        except OSError as problem:
            self._once(f"no line to the platform: {problem}")
        return self._wanted

    def _hear(self) -> None:
        """Take what is wanted, unless it is older than what was seen before.

        What can't be believed may have been a pause: a robot that has heard nothing else since it started
        rests.
        """
        name, problem = f"desired of {self._spec.robot_id}", ""
        try:
            seen = self._seen.number(name)
        except UserError as error:
            seen = None
            self._once(str(error))
        try:
            wanted = read_desired(self._settings, self._spec.robot_id, trusted_keys(self._settings.keys))
            if seen is not None and wanted.number < seen:
                problem = f"{name}: number {seen} was seen before, an older one was put back"
        except UserError as error:
            wanted, problem = self._wanted, str(error)
        if problem:
            self._once(problem)
            if not self._heard:
                self._wanted = replace(self._wanted, paused=True, why=problem)
            return
        self._wanted, self._heard = wanted, True
        try:
            if wanted.number:
                self._seen.raise_to(name, wanted.number)
        except UserError as error:
            self._once(str(error))

    def _news(self, said: Heartbeat) -> bool:
        if self._last is None:
            return True
        at, before = self._last
        same = replace(said, sent_ns=0, disk_free_bytes=0) == replace(before, sent_ns=0, disk_free_bytes=0)
        return not same or not at <= said.sent_ns - self._spec.clock_offset_ns < at + _EVERY_NS

    def _once(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._complain(problem)


def _free(folder: Path) -> int:
    """Bytes; none where the folder is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
