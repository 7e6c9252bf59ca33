"""From one message to its answer: what is asked, by which policy, in which episode."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

from lwd_core.errors import UserError
from lwd_core.extras import missing_extra
from lwd_core.fleet.batching import Request
from lwd_core.fleet.channel import Loaded
from lwd_core.serve.figures import Served
from lwd_core.serve.messages import BadMessage, pack, unpack
from lwd_core.serve.newest import Newest, NothingToRun
from lwd_core.serve.query import RESET, Query, begins_anew, named, query
from lwd_core.serve.session import Episodes, Session
from lwd_core.serve.turns import Turns

if TYPE_CHECKING:
    from lwd_core.policies.inference import Policy

#: Instructions that a robot is told of; a policy may know any number.
_TOLD = 256


class Answering:
    """Answers robots. ``words`` is where a sentence is understood, ``say`` is told of faults of ours."""

    def __init__(
        self,
        newest: Newest,
        turns: Turns,
        tally: Served,
        words: Executor,
        say: Callable[[str], None],
        *,
        pause_s: float,
        seed: int,
    ) -> None:
        self._newest, self._turns, self._tally, self._words, self._say = newest, turns, tally, words, say
        self._episodes = Episodes(newest.take, pause_s)
        self._seed = seed

    def about(self, loaded: Loaded | None = None) -> dict[str, object]:
        """What a robot is told first: what it must send, and what it can expect."""
        facts: dict[str, object] = {
            "server": f"lwd {version('lwd')}",
            "episodes": self._episodes.rule,
            "seed": self._seed,
            "latency_ms": self._tally.latency.quantiles(),
            "policy_id": None,
        }
        try:
            loaded = loaded or self._newest.take()
        except NothingToRun as problem:
            return facts | {"problem": str(problem)}
        policy = cast("Policy", loaded.policy)
        sizes = {camera: sorted(policy.sizes.get(camera, ())) for camera in policy.cameras}
        return facts | {
            "policy_id": policy.policy_id,
            "release_id": loaded.release_id,
            "state": dict(policy.widths),
            "cameras": list(policy.cameras),
            "pictures": {camera: [list(size) for size in known] for camera, known in sizes.items()},
            "chunk": policy.chunk,
            "instructions": list(policy.instructions[:_TOLD]),
        }

    async def answer(self, session: Session, message: str | bytes) -> bytes:
        """The answer to a robot's message. Raises `UserError`, which is one too."""
        if isinstance(message, str):
            raise BadMessage("message: text; send msgpack in a binary message, as openpi's client does")
        fields = named(unpack(message))
        anew = begins_anew(fields)
        loaded = self._episodes.policy(session, time.monotonic(), anew=anew)
        if anew and fields.keys() == {RESET}:
            return pack(self.about(loaded) | {"episode": session.episode})
        policy = cast("Policy", loaded.policy)
        asked = query(fields, policy)
        await self._understand(policy, asked)
        seed = session.seed(self._seed)
        session.answers += 1
        request = Request(loaded.policy, asked.state, asked.instruction, asked.frames, asked.embodiment)
        try:
            planned = await self._turns.plan(request, seed)
        except UserError:
            raise
        except Exception as fault:
            self._say(f"policy {policy.policy_id}: {type(fault).__name__}: {fault}")
            raise UserError(
                f"policy {policy.policy_id}: it failed here, which is no fault of this message; the server's "
                "log says how"
            ) from fault
        said: dict[str, object] = {
            "actions": planned.chunk,
            "policy_id": policy.policy_id,
            "release_id": loaded.release_id,
            "episode": session.episode,
            "server_timing": {
                "infer_ms": 1e3 * planned.took_s,
                "wait_ms": 1e3 * planned.waited_s,
                "robots": planned.together,
            },
        }
        return pack(said | ({"unused": list(asked.unused)} if asked.unused else {}))

    async def _understand(self, policy: "Policy", asked: Query) -> None:
        """Words a policy wasn't trained with take the sentence encoder's time, not the other robots'."""
        if asked.instruction in policy.instructions:
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._words, policy.understand, asked.instruction)
        except ImportError as error:
            missing = missing_extra(error)
            if missing is None:
                raise
            some = ", ".join(repr(text) for text in policy.instructions[:5])
            raise BadMessage(
                f"prompt: not among what policy {policy.policy_id} was trained with ({some}), and other "
                f"words need the sentence encoder where it is served: {missing}"
            ) from error
