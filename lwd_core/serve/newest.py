"""The policy that a new episode takes: the newest of a channel, looked for while robots act."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, cast

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded, PolicySource
from lwd_core.fleet.refusals import Refusals
from storage_schemas.vocabulary import Channel

if TYPE_CHECKING:
    from lwd_core.policies.inference import Policy

#: Seconds between two looks at the channel, as robots that follow one themselves wait.
EVERY_S = 2.0


class NothingToRun(UserError):
    """There is no policy that may be run now."""


class OnePolicy:
    """A `PolicySource` of one policy, on no channel: it has no release and does not expire."""

    def __init__(self, policy: "Policy", now_ns: int) -> None:
        self._loaded = Loaded(policy, "", 0, now_ns)

    def newest(self, channel: Channel, now_ns: int) -> Loaded:
        """See `PolicySource`."""
        return self._loaded


class Newest:
    """Follows ``source`` and holds what a new episode is to take.

    A release that does not act, tried before a robot gets it, is not taken: what there was goes on, and it is
    tried again more and more seldom.
    ``say`` is told what is taken and what is wrong, each once.
    """

    def __init__(
        self,
        source: PolicySource,
        channel: Channel,
        say: Callable[[str], None],
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._source, self._channel, self._say, self._now = source, channel, say, now
        self._held: Loaded | None = None
        self._sound: Loaded | None = None
        self._told: set[str] = set()
        self._refusals = Refusals()

    def take(self) -> Loaded:
        """What an episode that begins now runs. Raises `NothingToRun`."""
        if self._held is None or self._held.expired(self._now()):
            raise NothingToRun(
                f"no policy to run on channel {self._channel}: none is released, or what is does not verify "
                "or has expired, as the server's log says; `lwd policy publish` or `lwd policy refresh`, "
                "and ask again"
            )
        return self._held

    def look(self) -> None:
        """Look once. Takes as long as reading and loading a policy does."""
        try:
            found = self._source.newest(self._channel, self._now())
            if found is not None and (self._sound is None or self._sound.policy is not found.policy):
                if self._refusals.waits(found.release_id, self._now()):
                    return
                try:
                    _try(cast("Policy", found.policy))
                except Exception:
                    self._refusals.add(found.release_id, self._now())
                    raise
        except Exception as problem:  # robots go on with what there is, as long as it may be run
            self._tell(f"channel {self._channel}: {problem}")
            return
        if found is not None and (self._held is None or self._held.release_id != found.release_id):
            self._say(f"policy {found.policy.policy_id} is what new episodes run")
        self._held = found
        self._sound = found or self._sound

    async def run(self, pool: Executor, every_s: float = EVERY_S) -> None:
        """Look again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every_s)
            await loop.run_in_executor(pool, self.look)

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._say(problem)


def _try(policy: "Policy") -> None:
    """Act once on nothing: torch sets itself up, and what can't act is found out before robots hear of it."""
    sizes = {camera: min(policy.sizes.get(camera, ()), default=(64, 64)) for camera in policy.cameras}
    shown = {camera: np.zeros((*size, 3), np.uint8) for camera, size in sizes.items()}
    for embodiment, width in policy.widths.items():
        state = np.zeros(width, np.float32)
        chunk = policy.act(state, policy.instructions[0], np.random.default_rng(0), shown, embodiment)
        if not np.isfinite(chunk).all():
            raise UserError(f"policy {policy.policy_id}: it proposes what is no number; roll it back")
