"""Run many attempts at once and ask each policy for all of them together.

An attempt is a generator: it yields a request when it needs an action chunk, is sent the chunk,
executes it whole, and returns its result. Attempts meet at their requests, so the ticks between
cost no coordination and the network sees one batch.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from lwd_core.fleet.robot import Chunk, RobotPolicy, State
from lwd_core.policies.inputs import Randomness, Shown

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What a policy needs to know to plan. ``frames`` are what its cameras show, for one that has some;
    ``embodiment`` whose state it is."""

    policy: RobotPolicy
    state: State
    instruction: str
    frames: Shown | None = None
    embodiment: str = ""


@dataclass(frozen=True)
class Pause:
    """Nothing to do before ``until_ns``."""

    until_ns: int


# is sent a chunk for a request and None after a pause
Attempt = Generator[Request | Pause, Any, T]


def run_together(
    attempts: Iterable[Attempt[T]],
    *,
    lanes: int,
    generator: np.random.Generator,
    now: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """Run attempts, at most ``lanes`` at a time, and yield their results as they end.

    A lane takes the next attempt when its own has ended. The order of everything, and so every
    number drawn from ``generator``, depends on the arguments alone, unless attempts pause: then also
    on the clock. Closing the iterator closes the attempts under way.
    """
    queue = iter(attempts)
    running: list[_Waiting[T]] = []
    try:
        fresh = list(islice(queue, lanes))
        while fresh or running:
            for attempt in fresh:
                yield from _advance(attempt, None, running)
            fresh = []
            clock = now()
            ready = [w for w in running if not (isinstance(w.on, Pause) and w.on.until_ns > clock)]
            if running and not ready:
                sleep(max(0.0, min(w.on.until_ns for w in running if isinstance(w.on, Pause)) - clock) / 1e9)
                continue
            running = [w for w in running if w not in ready]
            for waiting, chunk in _answered(ready, generator):
                yield from _advance(waiting.attempt, chunk, running)
            fresh = list(islice(queue, lanes - len(running)))
    finally:
        for waiting in running:
            waiting.attempt.close()


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[T]):
    attempt: Attempt[T]
    on: Request | Pause


def _advance(attempt: Attempt[T], answer: Chunk | None, running: list[_Waiting[T]]) -> Iterator[T]:
    """Answer an attempt; it goes on in ``running``, or its result is yielded."""
    try:
        on = attempt.send(answer)
    except StopIteration as end:
        yield end.value
    else:
        running.append(_Waiting(attempt, on))


def _answered(
    ready: list[_Waiting[T]], generator: np.random.Generator
) -> Iterator[tuple[_Waiting[T], Chunk | None]]:
    """Each attempt, in order, with its chunk (H, D), or None after a pause."""
    chunks = iter(planned([w.on for w in ready if isinstance(w.on, Request)], generator))
    return ((w, next(chunks) if isinstance(w.on, Request) else None) for w in ready)


def planned(requests: Sequence[Request], randomness: Randomness) -> list[Chunk]:
    """A chunk (H, D) for each request, in order: one call for each policy in use and type of robot.

    ``randomness``: one source for all, or one for each request.
    """
    chunks: dict[int, Chunk] = {}
    together = dict[tuple[int, str], list[int]]()
    for i, request in enumerate(requests):
        together.setdefault((id(request.policy), request.embodiment), []).append(i)
    for (_, embodiment), rows in together.items():
        policy = requests[rows[0]].policy
        states = np.stack([requests[i].state for i in rows]).astype(np.float32)
        shown = [requests[i].frames or {} for i in rows] if policy.cameras else None
        own = randomness if isinstance(randomness, np.random.Generator) else [randomness[i] for i in rows]
        plans = policy.act(states, [requests[i].instruction for i in rows], own, shown, embodiment)
        chunks.update(zip(rows, plans, strict=True))
    return [chunks[i] for i in range(len(requests))]
