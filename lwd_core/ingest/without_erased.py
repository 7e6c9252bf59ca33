"""A log on its way in without its erased episodes: neither rows nor frames of them reach the lake."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from lwd_core.ingest.staging import Staged
from lwd_core.lake.kept_frames import move, offsets, repointed
from lwd_core.lake.store import Lake
from storage_schemas.tables import LOGS


def spared(lake: Lake, staged: Staged) -> Staged:
    """The log without episodes that were erased earlier; itself where there is none."""
    kept = lake.tombstones.without(staged.episodes)
    if kept is staged.episodes and not lake.tombstones.logs([staged.log_id]):
        return staged
    stays = kept["episode_id"].combine_chunks()
    inside = pc.is_in(staged.steps["episode_id"], value_set=stays)
    steps, gone = staged.steps.filter(inside), set(offsets(staged.steps.filter(pc.invert(inside))))
    stay = offsets(steps)
    gone |= lake.tombstones.buried(stay)  # a name that an erasure took is not used again
    moved = move(lake.place, sorted(gone), stay)
    for shard in gone:
        lake.place.remove(shard)
    row = staged.logs.to_pylist()[0]
    erased = staged.episodes.num_rows - kept.num_rows
    left_out = f"{erased} episodes erased earlier are left out" if erased else None
    row |= {"reason": "; ".join(filter(None, (row["reason"], left_out))) or None, "episodes": kept.num_rows}
    return replace(
        staged,
        logs=pa.Table.from_pylist([row], schema=LOGS.schema),
        episodes=kept,
        steps=repointed(steps, moved),
        segments=staged.segments.filter(pc.is_in(staged.segments["episode_id"], value_set=stays)),
    )
