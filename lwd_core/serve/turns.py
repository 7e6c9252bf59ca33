"""Robots that wait at the same time are asked for together, as the fleet's attempts are.

While the policy plans for some, the others gather. Who comes to an idle server waits for the rest of the
connected robots, but no longer than a bound. A batch that fails is asked again one by one, so that what one
robot sent fails that robot alone.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from lwd_core.errors import UserError
from lwd_core.fleet.batching import Request, planned
from lwd_core.fleet.robot import Chunk
from lwd_core.serve.figures import Served


@dataclass(frozen=True)
class Planned:
    """A chunk (H, D) and how it came about: seconds the request waited and the policy took, how many robots
    it was asked for together."""

    chunk: Chunk
    waited_s: float
    took_s: float
    together: int


@dataclass(frozen=True, eq=False)
class _Waiter:
    request: Request
    seed: tuple[int, ...]
    since: float
    answer: "asyncio.Future[Planned]"


class Turns:
    """Takes requests and answers them in batches of at most ``most``, one at a time, in ``pool``.

    ``wait_s``: how long a request waits for others at most while nothing is planned; ``expected``: how many
    robots may be about to ask.
    """

    def __init__(
        self, pool: Executor, tally: Served, *, most: int, wait_s: float, expected: Callable[[], int]
    ) -> None:
        self._pool, self._tally, self._most, self._wait_s = pool, tally, most, wait_s
        self._expected = expected
        self._waiting: deque[_Waiter] = deque()
        self._asked: list[_Waiter] = []
        self._came = asyncio.Event()

    async def plan(self, request: Request, seed: tuple[int, ...]) -> Planned:
        """The chunk for a request, its noise by ``seed`` alone.

        Raises `UserError` for what this robot sent, and whatever the policy itself fails with.
        """
        waiter = _Waiter(request, seed, time.perf_counter(), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._came.set()
        return await waiter.answer

    async def run(self) -> None:
        """Answer until cancelled; who waits then is told that the server stops."""
        try:
            while True:
                await self._gather()
                await self._turn()
        finally:
            for waiter in (*self._asked, *self._waiting):
                if not waiter.answer.done():
                    waiter.answer.set_exception(UserError("the server stops; ask another one, or later"))

    async def _turn(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        self._asked = batch
        begin = time.perf_counter()
        answers = await asyncio.get_running_loop().run_in_executor(self._pool, _answers, batch)
        took = time.perf_counter() - begin
        self._tally.batches += 1
        self._tally.infer.add(took)
        for waiter, answer in zip(batch, answers, strict=True):
            if waiter.answer.done():  # whoever asked was cancelled
                continue
            if isinstance(answer, Exception):
                waiter.answer.set_exception(answer)
            else:
                waiter.answer.set_result(Planned(answer, begin - waiter.since, took, len(batch)))

    async def _gather(self) -> None:
        """Until somebody waits, and then until enough do or the first has waited long enough."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        end = self._waiting[0].since + self._wait_s
        while len(self._waiting) < min(self._most, self._expected()):
            left = end - time.perf_counter()
            if left <= 0:
                return
            self._came.clear()
            try:
                async with asyncio.timeout(left):
                    await self._came.wait()
            except TimeoutError:
                return


def _answers(batch: list[_Waiter]) -> list[Chunk | Exception]:
    try:
        chunks = planned(
            [waiter.request for waiter in batch], [np.random.default_rng(waiter.seed) for waiter in batch]
        )
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [answer for waiter in batch for answer in _answers([waiter])]
    return [_sound(waiter, chunk) for waiter, chunk in zip(batch, chunks, strict=True)]


def _sound(waiter: _Waiter, chunk: Chunk) -> Chunk | Exception:
    if np.isfinite(chunk).all():
        return chunk
    return UserError(
        f"policy {waiter.request.policy.policy_id}: it proposes what is no number; stop the robot, and roll "
        "the policy back"
    )
