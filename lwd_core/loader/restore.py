"""Loaders out of their saved states: to rebuild the batch an old checkpoint saw."""

from collections.abc import Mapping
from typing import Any

from lwd_core.errors import UserError
from lwd_core.loader.mixed import MixedLoader
from lwd_core.loader.transition_loader import TransitionLoader
from lwd_core.snapshots.episode_arrays import row_bytes
from lwd_core.snapshots.snapshot import Snapshot


def restore(root: str, state: Mapping[str, Any]) -> TransitionLoader | MixedLoader:
    """The loader whose ``state_dict`` this is, over snapshots under ``root``.

    UserError if the state is none, a snapshot is gone, or its episodes were chosen by a function.
    """
    try:
        if {"offline", "online"} <= state.keys():
            offline, online = _restore(root, state["offline"]), _restore(root, state["online"])
            ratio = offline.batch_size / (offline.batch_size + online.batch_size)
            return MixedLoader(offline, online, ratio)
        return _restore(root, state)
    except KeyError as e:
        raise UserError(f"loader state: no field {e}; give a state_dict of a loader, or a checkpoint") from e


def _restore(root: str, state: Mapping[str, Any]) -> TransitionLoader:
    snapshot = Snapshot.open(root, state["snapshot"])
    manifest, pool_rows = snapshot.manifest, state["pool_rows"]
    width = row_bytes(manifest.state_width, manifest.action_width)
    loader = TransitionLoader(
        snapshot,
        state["batch_size"],
        state["seed"],
        chunk=state["chunk"],
        n_step=state["n_step"],
        gamma=state["gamma"],
        stride=state["stride"],
        balance_tasks=state["balance_tasks"],
        split=state["split"],
        memory_limit=2**62 if pool_rows is None else 0,
        pool_bytes=width * (pool_rows or 1),
        cache=False,
    )
    loader.load_state_dict(dict(state))
    return loader
