"""The time of rows from the stamps a set holds, whatever unit they are in.

The unit is the one in which the stamps run nearest to the set's own rate; Unix times tell theirs by their
size. What differs from frame / rate by less than stamps resolve was meant to be it; a real stall stays.
"""

from collections.abc import Callable

import numpy as np

_UNITS = {"s": 10**9, "ms": 10**6, "µs": 10**3, "ns": 1}
_UNIX = 3e17, 4e18  # ns: 1979 to 2096


def times(stamps: np.ndarray | None, frame: np.ndarray, hz: float, note: Callable[[str], None]) -> np.ndarray:
    """(N,) int64 ns of rows with these frame numbers, ascending.

    ``stamps`` (N,) in any unit, or None. Where they cannot be believed, frame / hz counts: ``note`` is told.
    """
    period = 1e9 / hz
    nominal = np.rint(frame * period).astype(np.int64)
    if stamps is None or stamps.shape != frame.shape or stamps.dtype.kind not in "fiuM" or not len(frame):
        return nominal
    if stamps.dtype.kind == "M":
        stamps, unit = stamps.astype("datetime64[ns]").astype(np.int64), "ns"
    elif not np.isfinite(stamps).all():
        note("timestamps are not finite, frame / fps counts")
        return nominal
    elif (stamps - stamps[0] == frame).all() and len(frame) > 2 and abs(hz - 1) > 0.5:
        note("timestamps count frames, frame / fps counts")
        return nominal
    else:
        unit = _unit(stamps, frame, period)
    scale = _UNITS[unit]
    if np.abs(stamps.astype(np.float64)).max() * scale >= 9e18:
        note("timestamps are beyond any time, frame / fps counts")
        return nominal
    whole = stamps.dtype.kind in "iu"
    t = (
        stamps.astype(np.int64) * scale
        if whole
        else np.rint(stamps.astype(np.float64) * scale).astype(np.int64)
    )
    unix = t[0] >= _UNIX[0]
    if unix or unit != "s":
        note(f"timestamps are {'Unix time in ' if unix else ''}{unit}")
    resolved = 0.0 if whole else float(np.spacing(np.abs(stamps).max())) * scale
    if resolved > period / 2 and len(t) > 1:
        note("timestamps are coarser than the rows, frame / fps counts")
        return (t[0] if unix else 0) + nominal - nominal[0]
    ideal = nominal - nominal[0]
    if np.abs(t - t[0] - ideal).max() < 1e-3 * period + 1e4 + 4 * resolved:
        return ideal + (t[0] if unix else max(0, round(t[0] / period)) * round(period))
    return _ascending(t, np.diff(frame), period, nominal, note)


def _unit(stamps: np.ndarray, frame: np.ndarray, period: float) -> str:
    for unit, scale in _UNITS.items():
        if _UNIX[0] <= float(stamps[0]) * scale <= _UNIX[1]:
            return unit
    steps = np.diff(stamps.astype(np.float64)) / np.diff(frame)
    if not (steps > 0).any():
        return "s"
    step = float(np.median(steps[steps > 0]))
    return min(_UNITS, key=lambda unit: abs(np.log(step * _UNITS[unit] / period)))


def _ascending(
    t: np.ndarray, frames: np.ndarray, period: float, nominal: np.ndarray, note: Callable[[str], None]
) -> np.ndarray:
    """Stamps that are not nominal: kept, but a clock that stands or steps back goes on by periods."""
    steps = np.diff(t)
    back = np.flatnonzero(steps <= 0)
    if 2 * len(back) > len(steps):
        note("timestamps do not ascend, frame / fps counts")
        return nominal
    if len(back):
        note(
            f"the clock stands or steps back at row {', '.join(map(str, (back[:5] + 1).tolist()))}, cut there"
        )
        # how long the step took is not known; two periods mark that the recording breaks there
        steps[back] = np.where(steps[back] < -period / 2, 2 * period, period)
    elif abs((step := float(np.median(steps / frames))) / period - 1) > 0.1:
        note(f"timestamps run at {1e9 / step:.4g} Hz, the set says {1e9 / period:g}")
    if t[0] < 0:
        note("timestamps begin before 0, moved to 0")
    return np.append(0, np.cumsum(steps)) + max(0, int(t[0]))
