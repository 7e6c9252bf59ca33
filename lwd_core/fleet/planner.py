"""A policy's actions, tick by tick, from a policy that thinks beside the loop and may be late.

Plans are asked for in a thread; until one is there the loop goes on by a stated rule, see `WhenLate`.
"""

import queue
import threading
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lwd_core.errors import UserError
from lwd_core.fleet.batching import Request
from lwd_core.fleet.pace import Timekeeper
from lwd_core.fleet.robot import Action, Chunk

_FIRST_NS = 60_000_000_000
_LATELY = 10  # answers by which it is judged how early to ask


class WhenLate(StrEnum):
    """What a robot does while its next plan is awaited.

    ``HOLD``: a plan is carried out whole, the next is asked for from where it ended, and the last command
    stands until it comes. ``SLOW``: the next is asked for early, and what is left of the old one is carried
    out at half the rate. ``CONTINUE``: the next is asked for early, the old one goes on, and of the new one
    what lies in the past is left out. ``BLEND``: as ``CONTINUE``; and of a tick that both plans speak of, the
    action goes from the old one's to the new one's, in equal steps over the ticks they share. Where nothing
    is left of the old plan, the last command stands.
    """

    HOLD = "hold"
    SLOW = "slow"
    CONTINUE = "continue"
    BLEND = "blend"


class Planner(Protocol):
    """A policy that thinks beside the loop."""

    def ask(self, request: Request) -> None:
        """Begin a plan; the answer to an earlier request is not wanted any more."""
        ...

    def answer(self, wait_ns: int = 0) -> Chunk | None:
        """The plan (H, D) once it is there; None before, after waiting so long. Raises what the policy
        raised."""
        ...

    def close(self) -> None:
        """No more plans."""
        ...


class ThreadPlanner:
    """Asks a policy in one thread; implements ``Planner``. ``seed``: of the policy's own randomness."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._asked: queue.SimpleQueue[tuple[int, Request] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, Chunk | BaseException]] = queue.SimpleQueue()
        self._current = 0
        # a daemon: a policy that hangs keeps no process alive
        self._thread = threading.Thread(target=self._think, name="lwd-planner", daemon=True)
        self._thread.start()

    def ask(self, request: Request) -> None:
        """Begin a plan."""
        self._current += 1
        self._asked.put((self._current, request))

    def answer(self, wait_ns: int = 0) -> Chunk | None:
        """The plan once it is there."""
        try:
            while True:
                number, found = self._answers.get(wait_ns > 0, wait_ns / 1e9)
                if number == self._current:
                    break
        except queue.Empty:
            return None
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        """Let the thread end with what it is at."""
        self._asked.put(None)

    def _think(self) -> None:
        while (asked := self._asked.get()) is not None:
            number, request = asked
            if number != self._current:
                continue
            try:
                self._answers.put((number, _planned(request, self._generator)))
            except BaseException as error:
                self._answers.put((number, error))


class PromptPlanner:
    """A policy whose thinking takes no time of the loop's, for simulated robots; implements ``Planner``."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._plan: Chunk | None = None

    def ask(self, request: Request) -> None:
        """Plan at once."""
        self._plan = _planned(request, self._generator)

    def answer(self, wait_ns: int = 0) -> Chunk | None:
        """What was planned last."""
        plan, self._plan = self._plan, None
        return plan

    def close(self) -> None:
        """Nothing to end."""


def _planned(request: Request, generator: np.random.Generator) -> Chunk:
    shown = [request.frames or {}] if request.policy.cameras else None
    states = request.state.astype(np.float32)[None]
    return request.policy.act(states, [request.instruction], generator, shown, request.embodiment)[0]


class Plans:
    """The actions of one episode's plans by the rule for late ones.

    ``ahead``: with how many ticks of a plan left the next is asked for; None: by how long answers took
    lately. Under ``HOLD`` it is 0. ``patience``: the share of a tick for which its answer is waited for.
    ``most_s``: a plan that takes longer is a fault. ``repeats`` says whether this tick's action is the one
    before, by ``SLOW``.
    """

    def __init__(
        self,
        planner: Planner,
        keeper: Timekeeper,
        period_ns: int,
        rule: WhenLate = WhenLate.HOLD,
        *,
        ahead: int | None = None,
        patience: float = 0.5,
        most_s: float = 5.0,
    ) -> None:
        self._planner, self._keeper, self._period = planner, keeper, period_ns
        self._rule, self._ahead = rule, ahead
        self._wait_ns, self._most_ns = round(patience * period_ns), round(most_s * 1e9)
        self._patient_ns = max(self._most_ns, _FIRST_NS)  # until there was a plan
        self._left: deque[npt.NDArray[np.float32]] = deque()
        self._length = 0
        self._asked_ns: int | None = None
        self._since = 0  # ticks of the old plan that began since the new one was asked for
        self._moving = False
        self._took: deque[int] = deque(maxlen=_LATELY)
        self._previous: Action | None = None
        self.repeats = False

    @property
    def wants(self) -> bool:
        """Whether `next` will ask for a plan, so that pictures are wanted."""
        return self._asked_ns is None and len(self._left) <= self._early

    @property
    def _early(self) -> int:
        if self._rule is WhenLate.HOLD or not self._length:
            return 0
        if self._ahead is not None:
            return min(self._ahead, self._length - 1)
        took = -(-max(self._took, default=0) // self._period)
        return max(1, min(took + 1, self._length - 1))

    def drop(self) -> None:
        """Somebody else drives: what was planned is not wanted any more."""
        self._left.clear()
        self._asked_ns, self._length, self._moving = None, 0, False
        self._previous = None
        self.repeats = False

    def next(self, request: Request | None) -> Action | None:
        """The action (D,) of this tick; None where there is none. ``request``: given when it `wants` one.

        Raises `UserError` for a plan that takes too long, or is empty.
        """
        if request is not None and self._asked_ns is None:
            self._planner.ask(request)
            self._asked_ns, self._since = self._keeper.monotonic_ns(), 0
        if self._asked_ns is not None:
            self._take(0 if self._left else self._wait_ns)
        slow = self._rule is WhenLate.SLOW and self._asked_ns is not None and self._left
        self.repeats = bool(slow) and self._previous is not None and not self.repeats
        if self.repeats:
            return self._previous
        if not self._left:
            self._since += self._rule in (WhenLate.CONTINUE, WhenLate.BLEND)
            return None
        self._since += self._asked_ns is not None
        self._moving = True
        self._previous = self._left.popleft().astype(np.float64)
        return self._previous

    def _take(self, wait_ns: int) -> None:
        """The new plan, if it is there."""
        assert self._asked_ns is not None
        chunk = self._planner.answer(wait_ns)
        took = self._keeper.monotonic_ns() - self._asked_ns
        if chunk is None:
            if took > self._patient_ns:
                raise UserError(f"the policy gave no plan in {took / 1e9:.1f} s; look after its machine")
            return
        if not len(chunk):
            raise UserError("the policy gave a plan of no actions; release another one")
        self._took.append(took)
        self._patient_ns = self._most_ns
        self._asked_ns, self._length = None, len(chunk)
        begun = self._since if self._moving and self._rule is not WhenLate.HOLD else 0
        fresh = chunk[begun:]
        self._left = deque(stitched(self._left, fresh) if self._rule is WhenLate.BLEND else fresh)
        self._since = 0


def stitched(old: Sequence[npt.NDArray[np.float32]], new: Chunk) -> Chunk:
    """What is left of a plan and the next one (H, D), which begin at the same tick, as one.

    Of n ticks that both have, the i-th (from 1) is i / (n + 1) the new one's.
    """
    shared = min(len(old), len(new))
    if not shared:
        return new
    share = (np.arange(1, shared + 1, dtype=np.float32) / (shared + 1))[:, None]
    both = (1 - share) * np.stack(list(old)[:shared]) + share * new[:shared]
    return np.concatenate([both, new[shared:]]).astype(np.float32)
