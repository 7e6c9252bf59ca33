"""Run many attempts at once and ask each policy for all of them together.

An attempt is a generator: it yields a request when it needs an action chunk, is sent the chunk,
executes it whole, and returns its result. Attempts meet at their requests, so the ticks between
cost no coordination and the network sees one batch.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from lwd_core.fleet.robot import Chunk, Policy, State

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What a policy needs to know to plan."""

    policy: Policy
    state: State
    instruction: str


Attempt = Generator[Request, Chunk, T]


def run_together(
    attempts: Iterable[Attempt[T]], *, lanes: int, generator: np.random.Generator
) -> Iterator[T]:
    """Run attempts, at most ``lanes`` at a time, and yield their results as they end.

    A lane takes the next attempt when its own has ended. The order of everything, and so every
    number drawn from ``generator``, depends on the arguments alone. Closing the iterator closes the
    attempts under way.
    """
    queue = iter(attempts)
    running: list[tuple[Attempt[T], Request]] = []
    try:
        fresh = list(islice(queue, lanes))
        while fresh or running:
            for attempt in fresh:
                yield from _advance(attempt, None, running)
            ready, running = running, []
            for (attempt, _), chunk in zip(ready, _plan(ready, generator), strict=True):
                yield from _advance(attempt, chunk, running)
            fresh = list(islice(queue, lanes - len(running)))
    finally:
        for attempt, _ in running:
            attempt.close()


def _advance(
    attempt: Attempt[T], chunk: Chunk | None, running: list[tuple[Attempt[T], Request]]
) -> Iterator[T]:
    """Send a chunk; the attempt goes on in ``running``, or its result is yielded."""
    try:
        request = next(attempt) if chunk is None else attempt.send(chunk)
    except StopIteration as end:
        yield end.value
    else:
        running.append((attempt, request))


def _plan(ready: list[tuple[Attempt[T], Request]], generator: np.random.Generator) -> list[Chunk]:
    """One chunk (H, D) a request: one call for each policy in use."""
    chunks: list[Chunk | None] = [None] * len(ready)
    policies = {id(request.policy): request.policy for _, request in ready}
    for key, policy in policies.items():
        rows = [i for i, (_, request) in enumerate(ready) if id(request.policy) == key]
        states = np.stack([ready[i][1].state for i in rows]).astype(np.float32)
        plans = policy.act(states, [ready[i][1].instruction for i in rows], generator)
        for i, plan in zip(rows, plans, strict=True):
            chunks[i] = plan
    return [chunk for chunk in chunks if chunk is not None]
