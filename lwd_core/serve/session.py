"""One robot's connection: which episode it is in, and the policy of that episode.

An episode begins

1. with a connection's first observation,
2. with one that says ``reset: true``,
3. with the first observation after a pause: openpi's own client says nothing when its episode ends,
4. an hour after it began, at the latest: nobody runs for ever what was released long ago.

It runs one policy from its beginning to its end: the newest at its beginning.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded

RULE = (
    "an episode begins with a connection's first observation, with one that says reset: true, with the first "
    "after {pause:g} s without any, and after {longest:g} s; a new release is taken only then"
)
LONGEST_S = 3600.0
#: Names whose episodes are counted: more robots than a server has in its life.
_NAMES = 4096
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass
class Session:
    """``name`` is what the robot calls itself, else its connection's number. ``episode`` and ``answers``
    (within it) count from 1; ``since`` and ``last`` are seconds of the server's clock."""

    name: str
    episode: int = 0
    answers: int = 0
    since: float = 0.0
    last: float = 0.0
    loaded: Loaded | None = None
    busy: bool = False
    complained: bool = False

    def seed(self, seed: int) -> tuple[int, ...]:
        """Of the noise of the answer after these: nobody else's, and the same in every run."""
        own = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big")
        return seed, own, self.episode, self.answers


@dataclass
class Episodes:
    """Begins episodes: ``take`` gives what a new one runs."""

    take: Callable[[], Loaded]
    pause_s: float = 30.0
    longest_s: float = LONGEST_S
    _counts: "OrderedDict[str, int]" = field(default_factory=lambda: OrderedDict[str, int]())

    @property
    def rule(self) -> str:
        """When an episode begins, for a robot's metadata."""
        return RULE.format(pause=self.pause_s, longest=self.longest_s)

    def policy(self, session: Session, now: float, *, anew: bool) -> Loaded:
        """What this observation is answered by; begins an episode where it is time. Raises `NothingToRun`."""
        held = session.loaded
        due = anew or now - session.last > self.pause_s or now - session.since > self.longest_s
        session.last = now
        if held is not None and not due:
            return held
        session.loaded = None
        taken = self.take()
        number = self._counts.pop(session.name, 0) + 1
        self._counts[session.name] = number
        if len(self._counts) > _NAMES:
            self._counts.popitem(last=False)
        session.loaded, session.episode, session.answers, session.since = taken, number, 0, now
        return taken


def robot_name(said: str) -> str:
    """The name of a robot in an address. Raises UserError for one that is none."""
    if not _NAME.fullmatch(said):
        raise UserError(
            "robot: a name is 64 letters, digits, _, . and - at most; connect to ws://…/?robot=NAME"
        )
    return said
