"""Flat arrays of many episodes one after the other: the layouts of D4RL and OGBench.

Both name them observations, actions, terminals. D4RL ends an episode at ``terminals`` or ``timeouts``
and every row has an action. OGBench stores one row more than an episode has actions: where
``terminals`` is 1 lies the state after the last action, its action means nothing.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.rows import Rows
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import EpisodeEnd

_OF_D4RL = frozenset({"timeouts", "next_observations", "rewards"})


def is_flat(names: frozenset[str]) -> bool:
    """Whether these arrays are such a set."""
    return {"observations", "actions", "terminals"} <= names


def layout(names: frozenset[str]) -> str:
    """``d4rl`` or ``ogbench``."""
    return "d4rl" if names & _OF_D4RL else "ogbench"


def split(arrays: Mapping[str, np.ndarray], embodiment: Embodiment, notes: list[str]) -> Iterator[Rows]:
    """Episodes of a flat set. Arrays of another length than ``terminals`` are left out and noted."""
    n = len(arrays["terminals"])
    columns = {k: v for k, v in arrays.items() if v.ndim >= 1 and len(v) == n and v.dtype.kind in "bifu"}
    notes += [f"array {k}: not one value a row, left out" for k in arrays if k not in columns]
    if "terminals" not in columns:
        raise UnreadableLog("terminals holds no numbers")
    terminal = columns["terminals"].reshape(n, -1)[:, 0].astype(bool)
    ogbench = layout(frozenset(arrays)) == "ogbench"
    ends = terminal.copy()
    if "timeouts" in columns:
        ends |= columns["timeouts"].reshape(n, -1)[:, 0].astype(bool)
    if n:
        ends[-1] = True
    starts = np.append(0, np.flatnonzero(ends)[:-1] + 1)
    for start, last in zip(starts.tolist(), np.flatnonzero(ends).tolist(), strict=True):
        extra = ogbench and bool(terminal[last])
        stop = last if extra else last + 1
        if stop <= start:
            notes.append(f"row {start}: an episode without any action left out")
            continue
        final: dict[str, np.ndarray] = {}
        if extra:
            final = {k: v[last] for k, v in columns.items()}
        elif "next_observations" in columns:
            final = {"observations": columns["next_observations"][last]}
        ended = EpisodeEnd.TERMINATED if terminal[last] and not ogbench else EpisodeEnd.TRUNCATED
        t = np.rint(np.arange(stop - start) * (1e9 / embodiment.control_hz)).astype(np.int64)
        yield Rows({k: v[start:stop] for k, v in columns.items()}, t, start, final, said={"end": ended})
