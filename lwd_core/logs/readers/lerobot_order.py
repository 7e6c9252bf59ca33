"""The order of an episode's rows, by the numbers they carry."""

from collections.abc import Callable, Mapping

import numpy as np


def arrange(
    columns: Mapping[str, np.ndarray], n: int, note: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) rows of an episode in order, their frame numbers from 0, and whether the set is at one on them."""
    as_they_lie = np.arange(n)
    name, key = next(
        ((k, v) for k in ("frame_index", "index") if (v := _whole(columns, k, n)) is not None), ("", None)
    )
    if key is None or n == 0:
        return as_they_lie, as_they_lie, np.full(n, True)
    order = as_they_lie
    if not _ascends(key):
        again = np.flatnonzero(np.diff(key) <= 0) + 1
        # takes one after the other count from the first again; rows out of order turn back more often
        if (
            2 * len(again) < n
            and len(again) < np.unique(key, return_counts=True)[1].max()
            and (key[again] <= key[0]).all()
        ):
            note(f"{name} starts again at row {', '.join(map(str, again[:5].tolist()))}, cut there")
            steps = np.maximum(1, np.diff(key))
            steps[again - 1] = 2
            return as_they_lie, np.append(0, np.cumsum(steps)), np.full(n, True)
        others = [columns.get(k) for k in ("index", "timestamp") if k != name]
        if 2 * len(np.unique(key)) < n or all(o is not None and o.size == n and _ascends(o) for o in others):
            note(f"{name} does not number the rows, the order of the file counts")
            return as_they_lie, as_they_lie, np.full(n, True)
        order = np.argsort(key, kind="stable")
        if (order != as_they_lie).any():
            note(f"rows ordered by {name}")
        key = key[order]
    first = np.append(True, np.diff(key) > 0)
    sound = np.full(n, True)
    if not first.all():
        twins = np.flatnonzero(~first)
        unlike = ~_alike(columns, order[twins], order[twins - 1])
        sound[np.searchsorted(key, key[twins[unlike]])] = False
        note(f"{len(twins)} rows come twice, {int(unlike.sum())} of them with other values (masked)")
        order, key, sound = order[first], key[first], sound[first]
    frame = key - key[0]
    if len(frame) > 1 and (stride := int(np.median(np.diff(frame)))) > 1:
        frame = np.append(0, np.cumsum(np.maximum(1, np.diff(frame) // stride)))
    if missing := int(frame[-1]) + 1 - len(frame):
        note(f"{missing} frames missing by {name}")
    return order, frame, sound


def _whole(columns: Mapping[str, np.ndarray], name: str, n: int) -> np.ndarray | None:
    """(N,) int64 of a column that counts, None where it does not."""
    column = columns.get(name)
    if column is None or column.size != n or column.dtype.kind not in "iuf":
        return None
    values = column.reshape(n)
    if (
        not np.isfinite(values).all()
        or (np.rint(values) != values).any()
        or np.abs(values).max(initial=0) > 1e15
    ):
        return None
    return values.astype(np.int64)


def _ascends(column: np.ndarray) -> bool:
    return bool((column.reshape(-1)[1:] > column.reshape(-1)[:-1]).all())


def _alike(columns: Mapping[str, np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(K,) whether rows hold the same numbers, their running index apart."""
    same = np.full(len(one), True)
    for name, column in columns.items():
        if name != "index" and column.dtype.kind in "bifu":
            flat = column.reshape(len(column), -1)
            same &= ((flat[one] == flat[other]) | (flat[one] != flat[one])).all(axis=1)
    return same
