"""Quality checks of one episode: pure functions from its columns to a finding.

A *defect* says the recording is wrong; a *risk* says it may be unwise to train on it. A
check that lacks what it needs answers ``unknown`` and never guesses. What users of robot
data sets check by hand is listed in interop.md section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from storage_schemas.vocabulary import Verdict


@dataclass(frozen=True)
class EpisodeColumns:
    """An episode as arrays: T action rows; ``state`` may have one row more (the final state).

    ``state_low`` … ``action_high`` are the embodiment's limits, NaN where it states none.
    ``frames`` counts camera frames by camera, or is None where no camera is expected. ``measured`` is False
    for dims of the state that repeat an action, None where all are measured.
    """

    t_ns: np.ndarray  # (T or T+1,) int64
    state: np.ndarray  # (T or T+1, S) float32
    action: np.ndarray  # (T, D) float32
    valid: np.ndarray  # (T or T+1,) bool
    gap: np.ndarray  # (T or T+1,) bool
    control_hz: float
    action_low: np.ndarray  # (D,)
    action_high: np.ndarray  # (D,)
    state_unit: tuple[str, ...]
    frames: dict[str, int] | None = None
    measured: np.ndarray | None = None  # (S,) bool


@dataclass(frozen=True)
class Finding:
    """A verdict, the number it rests on, and a sentence for a person."""

    verdict: Verdict
    value: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Limits:
    """Where a check draws its line. Shares are of steps, 0 to 1."""

    rate_tolerance: float = 0.1
    frozen_s: float = 1.0
    saturated_share: float = 0.9
    jump_share_of_range: float = 0.5
    jump_share: float = 0.05
    idle_share: float = 0.5
    idle_fraction_of_range: float = 1e-3
    frame_tolerance: float = 0.05
    chunk: int = 5
    radian_limit: float = 12.6


Check = Callable[[EpisodeColumns, Limits], Finding]


def monotone_time(episode: EpisodeColumns, limits: Limits) -> Finding:
    """Ticks advance."""
    steps = np.diff(episode.t_ns)
    back = int((steps <= 0).sum())
    return _verdict(back == 0, back, f"{back} ticks do not advance")


def gaps(episode: EpisodeColumns, limits: Limits) -> Finding:
    """No tick was lost on the way."""
    count = int(episode.gap.sum())
    return _verdict(count == 0, count, f"{count} gaps in the recording")


def rate(episode: EpisodeColumns, limits: Limits) -> Finding:
    """The median tick is one control period."""
    if len(episode.t_ns) < 3:
        return Finding(Verdict.UNKNOWN, None, "fewer than three ticks")
    period = float(np.median(np.diff(episode.t_ns))) * 1e-9
    measured = 1.0 / period if period > 0 else float("inf")
    off = abs(measured / episode.control_hz - 1)
    return _verdict(
        off <= limits.rate_tolerance, measured, f"{measured:.1f} Hz where {episode.control_hz:g} Hz is stated"
    )


def masked(episode: EpisodeColumns, limits: Limits) -> Finding:
    """Every feature was fresh at every tick."""
    share = float(1 - episode.valid.mean()) if len(episode.valid) else 0.0
    return _verdict(share == 0, share, f"{share:.0%} of ticks miss a fresh feature")


def frozen_state(episode: EpisodeColumns, limits: Limits) -> Finding:
    """The whole state does not stand still to the bit for long: a sensor that hangs."""
    same = (np.diff(episode.state, axis=0) == 0).all(axis=1)
    longest = _longest_run(same) / episode.control_hz
    return _verdict(longest < limits.frozen_s, longest, f"state unchanged for {longest:.2f} s")


def dead_action(episode: EpisodeColumns, limits: Limits) -> Finding:
    """Every action dimension was used at some time."""
    if len(episode.action) < 2:
        return Finding(Verdict.UNKNOWN, None, "fewer than two actions")
    dead = np.flatnonzero(np.ptp(episode.action, axis=0) == 0)
    return _verdict(len(dead) == 0, len(dead), f"action dims {dead.tolist()} never change")


def saturated_action(episode: EpisodeColumns, limits: Limits) -> Finding:
    """No action dimension sits at its limit nearly all the time."""
    low, high = episode.action_low, episode.action_high
    if not len(episode.action) or not np.isfinite(low).any():
        return Finding(Verdict.UNKNOWN, None, "the embodiment states no action limits")
    at_limit = (episode.action <= low) | (episode.action >= high)
    share = float(at_limit.mean(axis=0).max())
    return _verdict(
        share < limits.saturated_share, share, f"one action dim is at its limit {share:.0%} of steps"
    )


def action_jumps(episode: EpisodeColumns, limits: Limits) -> Finding:
    """Few steps jump across half the action range."""
    width = _action_range(episode)
    if len(episode.action) < 2 or not (width > 0).any():
        return Finding(Verdict.UNKNOWN, None, "no action range to compare with")
    used = width > 0
    jumps = (np.abs(np.diff(episode.action[:, used], axis=0)) > limits.jump_share_of_range * width[used]).any(
        1
    )
    share = float(jumps.mean())
    return _verdict(share <= limits.jump_share, share, f"{share:.0%} of steps jump across half the range")


def idle_share(episode: EpisodeColumns, limits: Limits) -> Finding:
    """The robot mostly does something."""
    if len(episode.state) < 2:
        return Finding(Verdict.UNKNOWN, None, "fewer than two states")
    width = np.ptp(episode.state, axis=0)
    moving = width > 0
    if not moving.any():
        return Finding(Verdict.FAIL, 1.0, "the state never changes")
    step = np.abs(np.diff(episode.state[:, moving], axis=0)) / width[moving]
    share = float((step < limits.idle_fraction_of_range).all(axis=1).mean())
    return _verdict(share <= limits.idle_share, share, f"{share:.0%} of steps are idle")


def frames_against_steps(episode: EpisodeColumns, limits: Limits) -> Finding:
    """Every camera that recorded anything kept up with its own median rate."""
    if not episode.frames:
        return Finding(Verdict.UNKNOWN, None, "no camera")
    counts = episode.frames
    most = max(counts.values())
    worst = min(counts, key=lambda camera: counts[camera])
    short = 1 - counts[worst] / most if most else 1.0
    return _verdict(
        short <= limits.frame_tolerance,
        short,
        f"camera {worst} has {counts[worst]} frames where another has {most}",
    )


def long_enough(episode: EpisodeColumns, limits: Limits) -> Finding:
    """The episode holds at least one action chunk."""
    length = len(episode.action)
    return _verdict(length >= limits.chunk, length, f"{length} steps, a chunk is {limits.chunk}")


def units(episode: EpisodeColumns, limits: Limits) -> Finding:
    """Dims stated in radians stay within two turns; a larger number looks like degrees or counts."""
    radians = np.array([unit == "rad" for unit in episode.state_unit], dtype=bool)
    if not radians.any() or not len(episode.state):
        return Finding(Verdict.UNKNOWN, None, "no dim is stated in radians")
    largest = float(np.abs(episode.state[:, radians]).max())
    return _verdict(largest <= limits.radian_limit, largest, f"a dim in radians reaches {largest:.1f}")


def action_is_next_state(episode: EpisodeColumns, limits: Limits) -> Finding:
    """The action is a command, not the state copied one step back."""
    state = episode.state if episode.measured is None else episode.state[:, episode.measured]
    n = min(len(episode.action), len(state) - 1)
    if n < 2 or episode.action.shape[1] > state.shape[1]:
        return Finding(Verdict.UNKNOWN, None, "action and state cannot be compared")
    head = state[1 : n + 1, : episode.action.shape[1]]
    share = float((episode.action[:n] == head).all(axis=1).mean())
    return _verdict(share < 0.5, share, f"{share:.0%} of actions equal the next state to the bit")


#: Name of each check, defects before risks; a snapshot blocks by these names.
CHECKS: dict[str, Check] = {
    "defect.monotone_time": monotone_time,
    "defect.gaps": gaps,
    "defect.rate": rate,
    "defect.masked": masked,
    "defect.frozen_state": frozen_state,
    "defect.frames_against_steps": frames_against_steps,
    "defect.units": units,
    "defect.action_is_next_state": action_is_next_state,
    "risk.dead_action": dead_action,
    "risk.saturated_action": saturated_action,
    "risk.action_jumps": action_jumps,
    "risk.idle_share": idle_share,
    "risk.long_enough": long_enough,
}


def _verdict(good: bool, value: float, trouble: str) -> Finding:
    return Finding(Verdict.PASS if good else Verdict.FAIL, float(value), "" if good else trouble)


def _longest_run(flags: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def _action_range(episode: EpisodeColumns) -> np.ndarray:
    """Stated range per action dim, the seen one where none is stated."""
    stated = episode.action_high - episode.action_low
    seen = np.ptp(episode.action, axis=0) if len(episode.action) else np.zeros_like(stated)
    return np.where(np.isfinite(stated), stated, seen)
