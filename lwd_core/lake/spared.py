"""A log on its way in without its erased episodes: neither rows nor frames of them reach the lake."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.lake.moved import move, offsets, repointed
from lwd_core.lake.stage import Staged
from lwd_core.lake.store import Lake
from storage_schemas.tables import LOGS


def spared(lake: Lake, staged: Staged) -> Staged:
    """The log without episodes that were erased earlier; itself where there is none."""
    kept = lake.tombstones.without(staged.episodes)
    if kept is staged.episodes:
        return staged
    stays = kept["episode_id"].combine_chunks()
    inside = pc.is_in(staged.steps["episode_id"], value_set=stays)
    steps, gone = staged.steps.filter(inside), offsets(staged.steps.filter(pc.invert(inside)))
    moved = move(lake.place, sorted(gone), offsets(steps))
    for shard in gone:
        lake.place.remove(shard)
    row = staged.logs.to_pylist()[0]
    left_out = f"{staged.episodes.num_rows - kept.num_rows} episodes erased earlier are left out"
    row |= {
        "reason": "; ".join(filter(None, (row["reason"], left_out))),
        "episodes": kept.num_rows,
    }
    return replace(
        staged,
        logs=pa.Table.from_pylist([row], schema=LOGS.schema),
        episodes=kept,
        steps=repointed(steps, moved),
        segments=staged.segments.filter(pc.is_in(staged.segments["episode_id"], value_set=stays)),
    )
