"""Flat arrays of many episodes one after the other: the layouts of D4RL and OGBench.

Both name them observations, actions, terminals. D4RL ends an episode at ``terminals`` or ``timeouts``
and every row has an action. OGBench stores one row more than a trajectory has actions: where
``terminals`` is 1 (``valids`` 0, as its loader writes it) lies the state after the last action, its action
means nothing.

OGBench's single tasks add ``masks``, 0 on rows whose state is at the goal; trajectories go on past it.
There an episode is an attempt: the rows up to a state at the goal (a success), or to the trajectory's end.

Sets made without ``timeouts``, or with late ones, run one trajectory into the next: where the state jumps
within an episode the recording breaks (a gap), and a note says so.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from lwd_core.logs.content import UnreadableLog
from lwd_core.logs.jumps import jumps, misfits
from lwd_core.logs.notes import Notes
from lwd_core.logs.rows import EpisodeRows
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import EpisodeEnd, Outcome

_EVERY_ROW_ACTS = frozenset({"timeouts", "next_observations"})


def is_flat(names: frozenset[str]) -> bool:
    """Whether these arrays are such a set."""
    return {"observations", "actions", "terminals"} <= names


def layout(names: frozenset[str]) -> str:
    """``d4rl`` or ``ogbench``."""
    if names & _EVERY_ROW_ACTS or ("rewards" in names and "masks" not in names):
        return "d4rl"
    return "ogbench"


def split(arrays: Mapping[str, np.ndarray], embodiment: Embodiment, notes: Notes) -> Iterator[EpisodeRows]:
    """Episodes of a flat set. Arrays of another length than ``terminals`` are left out and noted."""
    n = len(arrays["terminals"])
    columns = {k: v for k, v in arrays.items() if v.ndim >= 1 and len(v) == n and v.dtype.kind in "bifu"}
    if left_out := [k for k in arrays if k not in columns]:
        notes.add(f"arrays {', '.join(left_out)} are not one value a row, left out")
    if "terminals" not in columns:
        raise UnreadableLog("terminals holds no numbers")

    def flags(name: str) -> np.ndarray:
        return columns[name].reshape(n, -1)[:, 0].astype(bool)

    ogbench = layout(frozenset(arrays)) == "ogbench"
    terminal = ~flags("valids") if ogbench and "valids" in columns else flags("terminals")
    goal = ~flags("masks") if "masks" in columns else None
    ends = terminal | flags("timeouts") if "timeouts" in columns else terminal.copy()
    if n:
        ends[-1] = True
    starts = np.append(0, np.flatnonzero(ends)[:-1] + 1)
    breaks = _breaks(columns, starts, ogbench, notes)
    for start, last in zip(starts.tolist(), np.flatnonzero(ends).tolist(), strict=True):
        extra = ogbench and bool(terminal[last])
        stop = last if extra else last + 1
        if stop <= start:
            notes.add("an episode without any action left out", f"row {start}")
            continue
        final: dict[str, np.ndarray] = {}
        if extra:
            final = _row(columns, last)
        elif "next_observations" in columns:
            final = {"observations": columns["next_observations"][last]}
        if goal is not None:
            yield from _attempts(columns, goal, start, stop, final, extra, embodiment)
            continue
        ended = EpisodeEnd.TERMINATED if terminal[last] and not ogbench else EpisodeEnd.TRUNCATED
        yield _rows(columns, start, stop, final, {"end": ended}, embodiment, breaks)


def _breaks(columns: Mapping[str, np.ndarray], starts: np.ndarray, ogbench: bool, notes: Notes) -> np.ndarray:
    """(N,) True at rows within an episode whose state does not follow from the row before."""
    state = columns["observations"]
    follows = columns.get("next_observations")
    known = follows is not None and follows.shape == state.shape
    at = misfits(state, follows) if known and follows is not None else jumps(state)
    at = at[~np.isin(at, starts)]
    rows = ", ".join(map(str, at[:8].tolist())) + (f" and {len(at) - 8} more" if len(at) > 8 else "")
    if "timeouts" not in columns and not ogbench:
        more = f"; the state jumps at rows {rows}, cut there" if len(at) else ""
        notes.add(f"no timeouts: episodes cannot be told apart where no terminal ends them{more}")
    elif len(at):
        late = np.isin(at[:, None] + np.arange(1, 6), starts).any(axis=1)
        why = " (ends come late)" if late.all() else ""
        notes.add(f"the state jumps within episodes at rows {rows}{why}, cut there")
    breaks = np.zeros(len(state), dtype=bool)
    breaks[at] = True
    return breaks


def _attempts(
    columns: Mapping[str, np.ndarray],
    goal: np.ndarray,
    start: int,
    stop: int,
    final: Mapping[str, np.ndarray],
    extra: bool,
    embodiment: Embodiment,
) -> Iterator[EpisodeRows]:
    """Actions start … stop − 1 of a trajectory, parted where it reaches the goal; time there is left out."""
    failed = {"end": EpisodeEnd.TRUNCATED, "outcome": Outcome.FAILURE}
    reached = {"end": EpisodeEnd.TERMINATED, "outcome": Outcome.SUCCESS}
    begin = start
    for at in (np.flatnonzero(goal[start : stop + extra]) + start).tolist():
        if at > begin:
            yield _rows(columns, begin, at, _row(columns, at), reached, embodiment)
        begin = at + 1
    if begin < stop:
        yield _rows(columns, begin, stop, final, failed, embodiment)


def _rows(
    columns: Mapping[str, np.ndarray],
    start: int,
    stop: int,
    final: Mapping[str, np.ndarray],
    said: Mapping[str, str],
    embodiment: Embodiment,
    breaks: np.ndarray | None = None,
) -> EpisodeRows:
    place = np.arange(stop - start)
    if breaks is not None:
        place += np.cumsum(breaks[start:stop])  # a period is missing there, so that the row is a gap
    t = np.rint(place * (1e9 / embodiment.control_hz)).astype(np.int64)
    name = f"rows {start}–{stop - 1}"
    return EpisodeRows({k: v[start:stop] for k, v in columns.items()}, t, start, final, said=said, name=name)


def _row(columns: Mapping[str, np.ndarray], at: int) -> dict[str, np.ndarray]:
    return {k: v[at] for k, v in columns.items()}
