"""Quality checks of one episode: pure functions from its columns to a finding.

A *defect* says the recording is wrong; a *risk* says it may be unwise to train on it. A
check that lacks what it needs answers ``unknown`` and never guesses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from lwd_core.labels.said import Finding
from storage_schemas.vocabulary import Verdict


@dataclass(frozen=True)
class EpisodeSignals:
    """An episode as arrays: T action rows; ``state`` may have one row more (the final state).

    ``state_low`` … ``action_high`` are the embodiment's limits, NaN (or None: all NaN) where it states none.
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
    action_unit: tuple[str, ...] = ()
    state_low: np.ndarray | None = None  # (S,)
    state_high: np.ndarray | None = None  # (S,)


@dataclass(frozen=True)
class Limits:
    """Where a check draws its line. Shares are of steps, 0 to 1.

    What counts as moving is told by `scales` of the dims: ``frozen_fraction`` of it within ``still_s`` is
    sensor noise, ``idle_fraction`` of it a robot that waits; a ``jump`` is that many times as far as nearly
    all other steps, and faster than the whole scale in a second.
    """

    rate_tolerance: float = 0.1
    frozen_s: float = 1.0
    saturated_share: float = 0.9
    jump_share_of_range: float = 0.5
    jump_share: float = 0.05
    idle_share: float = 0.5
    still_s: float = 0.1
    frozen_fraction: float = 1e-5
    idle_fraction: float = 2e-4
    jump: float = 4.0
    frame_tolerance: float = 0.05
    chunk: int = 5
    radian_limit: float = 12.6


Check = Callable[[EpisodeSignals, Limits], Finding]


def monotone_time(episode: EpisodeSignals, limits: Limits) -> Finding:
    """Ticks advance."""
    steps = np.diff(episode.t_ns)
    back = int((steps <= 0).sum())
    return _verdict(back == 0, back, f"{back} ticks do not advance")


def gaps(episode: EpisodeSignals, limits: Limits) -> Finding:
    """No tick was lost on the way."""
    count = int(episode.gap.sum())
    return _verdict(count == 0, count, f"{count} gaps in the recording")


def rate(episode: EpisodeSignals, limits: Limits) -> Finding:
    """The median tick is one control period."""
    if len(episode.t_ns) < 3:
        return Finding(Verdict.UNKNOWN, None, "fewer than three ticks")
    period = float(np.median(np.diff(episode.t_ns))) * 1e-9
    measured = 1.0 / period if period > 0 else float("inf")
    off = abs(measured / episode.control_hz - 1)
    return _verdict(
        off <= limits.rate_tolerance, measured, f"{measured:.1f} Hz where {episode.control_hz:g} Hz is stated"
    )


def masked(episode: EpisodeSignals, limits: Limits) -> Finding:
    """Every feature was fresh at every tick."""
    share = float(1 - episode.valid.mean()) if len(episode.valid) else 0.0
    return _verdict(share == 0, share, f"{share:.0%} of ticks miss a fresh feature")


def frozen_state(episode: EpisodeSignals, limits: Limits) -> Finding:
    """The whole state does not stand still for long, noise aside: a sensor that hangs."""
    still, window = _still(episode, limits, limits.frozen_fraction)
    run = _longest_run(still)
    longest = (run + window - 1 if run else 0) / episode.control_hz
    return _verdict(longest < limits.frozen_s, longest, f"state unchanged for {longest:.2f} s")


def state_jumps(episode: EpisodeSignals, limits: Limits) -> Finding:
    """No step leaps away from all others in most dims at once: a teleport, or two recordings as one.

    A row that is not valid tells nothing, and a step across it or a gap may be as much longer as it took.
    """
    told = np.flatnonzero(episode.valid & np.isfinite(episode.state).all(axis=1))
    if len(told) < 4:
        return Finding(Verdict.UNKNOWN, None, "fewer than three steps that are known")
    step = np.diff(episode.state[told].astype(np.float64), axis=0)
    scale = _state_scale(episode)
    turn = np.array([_TURNS.get(unit, np.inf) for unit in episode.state_unit])
    whole = np.isfinite(turn)  # an angle that runs over its end has not moved far
    step[:, whole] -= turn[whole] * np.rint(step[:, whole] / turn[whole])
    periods = np.diff(episode.t_ns[told]) * 1e-9 * episode.control_hz
    step = np.abs(step) / np.maximum(periods, 1)[:, None]
    moving = np.where(step > 0, step, np.nan)[:, step.any(axis=0)]
    if not moving.shape[1]:
        return Finding(Verdict.PASS, 0.0)
    usual = np.nanquantile(moving, 0.95, axis=0)
    far = moving > np.maximum(limits.jump * usual, scale[step.any(axis=0)] / episode.control_hz)
    count = far.sum(axis=1)
    jumps = np.flatnonzero((2 * count >= far.shape[1]) & (count >= min(2, far.shape[1])))
    where = ", ".join(str(told[i + 1]) for i in jumps[:5])
    return _verdict(len(jumps) == 0, len(jumps), f"the state jumps {len(jumps)} times, at steps {where}")


def dead_action(episode: EpisodeSignals, limits: Limits) -> Finding:
    """Every action dimension was used at some time, noise aside."""
    action = _known(episode.action)
    if len(action) < 2:
        return Finding(Verdict.UNKNOWN, None, "fewer than two actions")
    dead = np.flatnonzero(np.ptp(action, axis=0) <= limits.idle_fraction * _action_scale(episode))
    return _verdict(len(dead) == 0, len(dead), f"action dims {dead.tolist()} never change")


def saturated_action(episode: EpisodeSignals, limits: Limits) -> Finding:
    """No action dimension sits at its limit nearly all the time."""
    low, high = episode.action_low, episode.action_high
    if not len(episode.action) or not np.isfinite(low).any():
        return Finding(Verdict.UNKNOWN, None, "the embodiment states no action limits")
    at_limit = (episode.action <= low) | (episode.action >= high)
    share = float(at_limit.mean(axis=0).max())
    return _verdict(
        share < limits.saturated_share, share, f"one action dim is at its limit {share:.0%} of steps"
    )


def action_jumps(episode: EpisodeSignals, limits: Limits) -> Finding:
    """Few steps jump across half the action range."""
    stated = episode.action_high - episode.action_low
    action = _known(episode.action)
    seen = np.ptp(action, axis=0) if len(action) else np.zeros_like(stated)
    width = np.where(np.isfinite(stated), stated, seen)
    used = width > limits.idle_fraction * _action_scale(episode)  # within noise nothing is a jump
    if len(episode.action) < 2 or not used.any():
        return Finding(Verdict.UNKNOWN, None, "no action range to compare with")
    jumps = (np.abs(np.diff(episode.action[:, used], axis=0)) > limits.jump_share_of_range * width[used]).any(
        1
    )
    share = float(jumps.mean())
    return _verdict(share <= limits.jump_share, share, f"{share:.0%} of steps jump across half the range")


def idle_share(episode: EpisodeSignals, limits: Limits) -> Finding:
    """The robot mostly does something."""
    if len(episode.state) < 2:
        return Finding(Verdict.UNKNOWN, None, "fewer than two states")
    still, _ = _still(episode, limits, limits.idle_fraction)
    if not len(still):
        return Finding(Verdict.UNKNOWN, None, "too short to tell")
    share = float(still.mean())
    return _verdict(share <= limits.idle_share, share, f"{share:.0%} of steps are idle")


def frames_against_steps(episode: EpisodeSignals, limits: Limits) -> Finding:
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


def long_enough(episode: EpisodeSignals, limits: Limits) -> Finding:
    """The episode holds at least one action chunk."""
    length = len(episode.action)
    return _verdict(length >= limits.chunk, length, f"{length} steps, a chunk is {limits.chunk}")


def units(episode: EpisodeSignals, limits: Limits) -> Finding:
    """Dims stated in radians stay within two turns; a larger number looks like degrees or counts."""
    radians = np.array([unit == "rad" for unit in episode.state_unit], dtype=bool)
    state = _known(episode.state)
    if not radians.any() or not len(state):
        return Finding(Verdict.UNKNOWN, None, "no dim is stated in radians")
    largest = float(np.abs(state[:, radians]).max())
    return _verdict(largest <= limits.radian_limit, largest, f"a dim in radians reaches {largest:.1f}")


def action_is_next_state(episode: EpisodeSignals, limits: Limits) -> Finding:
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
    "defect.state_jumps": state_jumps,
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


def _known(rows: np.ndarray) -> np.ndarray:
    """The rows that are all numbers."""
    return rows[np.isfinite(rows).all(axis=1)]


#: How far dims of a unit usually reach, and what of it is a full turn.
_REACH = {
    "rad": 2 * np.pi,
    "rad/s": 2 * np.pi,
    "deg": 360.0,
    "deg/s": 360.0,
    "m": 1.0,
    "m/s": 1.0,
    "cm": 100.0,
    "mm": 1000.0,
    "N": 100.0,
    "Nm": 10.0,
    "%": 100.0,
}
_TURNS = {"rad": 2 * np.pi, "deg": 360.0}


def scales(
    values: np.ndarray, low: np.ndarray | None, high: np.ndarray | None, units: Sequence[str]
) -> np.ndarray:
    """How far each dim of values (N, D) may be expected to move: (D,), never less for having stood still.

    The embodiment's limits, else what its unit usually reaches; of a dim with neither 1, as in SI units and
    normalised sets, or its largest number where that is more.
    """
    known = _known(values)
    scale = np.maximum(1.0, np.abs(known).max(axis=0)) if len(known) else np.ones(values.shape[1])
    for i, unit in enumerate(units[: len(scale)]):
        scale[i] = _REACH.get(unit, scale[i])
    if low is None or high is None:
        return scale
    return np.where(np.isfinite(high - low), high - low, scale)


def _state_scale(episode: EpisodeSignals) -> np.ndarray:
    return scales(episode.state, episode.state_low, episode.state_high, episode.state_unit)


def _action_scale(episode: EpisodeSignals) -> np.ndarray:
    return scales(episode.action, episode.action_low, episode.action_high, episode.action_unit)


def _still(episode: EpisodeSignals, limits: Limits, fraction: float) -> tuple[np.ndarray, int]:
    """Where no dim of the state moves by more than a fraction of its scale within ``still_s``, by first row;
    and how many steps that is. Windows, so that neither noise nor slow motion depend on the rate."""
    window = max(1, round(limits.still_s * episode.control_hz))
    count = len(episode.state) - window
    if count <= 0:
        return np.zeros(0, bool), window
    middle = (window + 1) // 2
    spread = np.zeros(count, bool)
    for dim, scale in enumerate(_state_scale(episode)):
        values = episode.state[:, dim].astype(np.float64)
        least, most = (
            f(values, window + 1)[middle : middle + count] for f in (minimum_filter1d, maximum_filter1d)
        )
        spread |= ~(most - least <= fraction * scale)
    return ~spread, window
