"""Transitions as docs/snapshots.md defines them, one at a time: slow, meant to be read beside the text."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Episode:
    """What the definition speaks of. Lists of T actions; valid and gap also have the final row, if any."""

    reward: Sequence[float]
    human: Sequence[bool]
    valid: Sequence[bool]
    gap: Sequence[bool]
    terminated: bool

    @property
    def steps(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class Transition:
    frame: int
    boot: int
    mask: list[bool]
    human: bool
    reward: float
    discount: float


def transitions(e: Episode, *, chunk: int, n_step: int, gamma: float, stride: int) -> list[Transition]:
    found = []
    since_run_began = 0
    for t in range(e.steps):
        if t == 0 or e.gap[t] or e.human[t] != e.human[t - 1]:
            since_run_began = 0
        if since_run_began % stride == 0 and e.valid[t]:
            found.append(_from(e, t, chunk, n_step, gamma))
        since_run_began += 1
    return found


def _from(e: Episode, t: int, chunk: int, n_step: int, gamma: float) -> Transition:
    # the window: frame by frame until n chunks are full, the actor changes, recording stops, or the end
    frames = 1
    while (
        frames < n_step * chunk
        and t + frames < e.steps
        and not e.gap[t + frames]
        and e.human[t + frames] == e.human[t]
    ):
        frames += 1
    reward = sum(gamma**i * e.reward[t + i] for i in range(frames))
    terminal = e.terminated and t + frames == e.steps

    boot = t + frames
    if boot >= len(e.valid) or e.gap[boot]:
        boot -= 1
    while not e.valid[boot]:
        boot -= 1
    return Transition(
        frame=t,
        boot=boot,
        mask=[i < frames and e.valid[t + i] for i in range(chunk)],
        human=e.human[t],
        reward=reward,
        discount=0.0 if terminal else gamma**frames,
    )
