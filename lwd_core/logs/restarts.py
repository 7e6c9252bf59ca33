"""Time that starts again within a log: recordings written one behind the other, each from its own zero."""

import numpy as np

DISORDER_NS = 1_000_000_000


def restarts(times: np.ndarray, period: float) -> np.ndarray:
    """Places in (N,) ``times``, in the order of the file, where time starts again.

    Messages of one control period come in any order, and writers delay some by more: a step back counts
    if it is longer than 2.5 of these ``period`` (ns) and than half of what was recorded since the last,
    a second at most.
    """
    cuts, first = [], 0
    while first < len(times):
        rest = times[first:]
        highest = np.maximum.accumulate(rest)
        lowest = rest[0]
        enough = np.maximum(2.5 * period, np.minimum(DISORDER_NS, (highest - lowest) / 2))
        back = np.flatnonzero(highest - rest > enough)
        if not len(back):
            break
        first += int(back[0])
        cuts.append(first)
    return np.array(cuts, dtype=np.int64)
