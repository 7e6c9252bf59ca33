"""One recording, whichever way it came: through two formats, as a copy, or in a data set that has grown."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

#: SQL of what tells recordings apart: episodes that say nothing of their content are each their own.
RECORDING = "coalesce(content, episode_id)"

#: The attribute that keeps what a recording was called when it came in, where a remap changed that.
FIRST = "recorded_as"
#: SQL of an episode's name for good: what is decided by it (its split) outlasts a remap.
FOR_GOOD = f"coalesce(json_extract_string(attributes, '$.{FIRST}'), {RECORDING})"

#: Episodes that are the recording of an earlier one; ``duplicate_of`` is that one.
DUPLICATES = f"""
SELECT * FROM (
    SELECT episode_id, log_id, index_in_log, site, day, robot_id, task,
           first_value(episode_id) OVER (PARTITION BY {RECORDING} ORDER BY created_ns, episode_id)
           AS duplicate_of
    FROM episodes
) WHERE duplicate_of <> episode_id ORDER BY ALL
"""


def content(task: str, steps: pa.Table, actions: int) -> str | None:
    """Digest of an episode's task and of states and executed actions of its valid steps, as float32.

    ``steps`` are its rows in order, the first ``actions`` of them with an action. Times, names and frames
    don't count: formats keep them differently. None where no step is valid, for that says nothing.
    """
    rows = steps.slice(0, actions)
    rows = rows.filter(rows["valid"])
    if not rows.num_rows:
        return None
    digest = hashlib.sha256(task.encode())
    for name in ("state", "action"):
        lists = rows[name].combine_chunks()
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        widths = pc.list_value_length(lists).to_numpy().astype("<i4")
        # -0.0 and 0.0 are one number
        values = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype("<f4") + np.float32(0)
        digest.update(widths.tobytes() + values.tobytes())
    return digest.hexdigest()


def remembered(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """What the attributes of an episode read again keep of its name; rows of ``episodes``."""
    name = json.loads(before["attributes"]).get(FIRST) or before["content"] or before["episode_id"]
    return {} if name == after["content"] else {FIRST: name}


def contents(lake: "Lake") -> pa.Table:
    """episode_id and content of every episode that says its content, of whatever version is still on disk."""
    found = [pa.table({"episode_id": pa.array([], pa.string()), "content": pa.array([], pa.string())})]
    for path in lake.fs.find(lake.path("tables", "episodes")):
        if path.endswith(".parquet") and "/_delta_log/" not in path:
            try:
                with lake.fs.open(path, "rb") as stream:
                    file = pq.ParquetFile(stream)
                    if "content" in file.schema_arrow.names:
                        found.append(file.read(columns=["episode_id", "content"]))
            except (OSError, pa.ArrowInvalid):
                continue  # gone meanwhile, or a write under way
    rows = pa.concat_tables([table.cast(found[0].schema) for table in found])
    return rows.filter(pc.is_valid(rows["content"]))


def recordings(lake: "Lake", episodes: Sequence[str]) -> tuple[set[str], set[str]]:
    """What the recordings of some episodes are called: the ids of all their episodes, and their contents.

    Copies and superseded episodes are among them, as far as some version on disk still holds their rows.
    """
    rows = contents(lake)
    mine = rows.filter(pc.is_in(rows["episode_id"], pa.array(list(episodes), pa.string())))
    named = pc.unique(mine["content"])
    same = rows.filter(pc.is_in(rows["content"], named))
    return {*episodes, *same["episode_id"].to_pylist()}, set(named.to_pylist())
