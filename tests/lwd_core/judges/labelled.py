"""A lake whose episodes end well where their first dimension is large, labelled by robots and people."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from lwd_core.lake.store import Lake
from tests.lwd_core.snapshots.lakes import START, add_episode


def labelled_lake(path: Path, count: int = 40, **facts: str) -> Lake:
    """Half of them successes; ten more that nobody judged."""
    lake = Lake.open(str(path / "lake"), create=True)
    sizes = np.random.default_rng(0).permutation(np.linspace(0, 1, count))
    gathered = _Gathered()
    for i, size in enumerate([*sizes, *np.linspace(0, 1, 10)]):
        known = i < count
        outcome = ("failure", "success")[int(size > 0.5)] if known else "unknown"
        add_episode(gathered, i, 12, seed=size, start_ns=START + i, outcome=outcome,
                    outcome_from="robot" if known else "nobody", **facts)  # fmt: skip
    for table in ("steps", "episodes"):
        lake.append(table, pa.concat_tables(gathered.rows[table]))
    return lake


class _Gathered(Lake):
    """Takes rows, so that many episodes are one commit."""

    def __init__(self) -> None:
        self.rows: dict[str, list[pa.Table]] = {}

    def append(self, table: str, rows: pa.Table) -> int:
        self.rows.setdefault(table, []).append(rows)
        return 0
