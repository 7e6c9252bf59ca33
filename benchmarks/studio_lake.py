"""A lake of 100,000 episodes with pictures and labels, for ``benchmarks.studio``."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import simplejpeg  # pyright: ignore[reportMissingTypeStubs]

from benchmarks.lake import made
from lwd_core.lake.conform import conform
from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from storage_schemas.tables import LABELS, STEPS

STEPS_EACH, DAYS, SITES, PICTURES = 10, 100, 10, 8


def fill(root: Path, episodes: int) -> Lake:
    """Episodes of 10 steps in 1,000 partitions: a picture every second step, two checks, a critic's V."""
    lake = Lake.open(str(root), create=True)
    random = np.random.default_rng(0)
    tables = made(episodes, STEPS_EACH, DAYS, SITES)
    steps = tables["steps"]
    lake.append("steps", _with(steps, "frames", _frames(lake, steps)))
    lake.append("segments", tables["segments"])
    lake.append("labels", _labels(tables["episodes"], random))
    lake.append("episodes", _varied(tables["episodes"], random))
    return lake


def _varied(rows: pa.Table, random: np.random.Generator) -> pa.Table:
    n = rows.num_rows
    for name, words in {
        "outcome": ["success", "success", "failure", "unknown"],
        "source": ["rollout", "online", "demonstration"],
        "policy_id": [f"{i:x}" * 32 for i in range(10, 16)],
        "task": [f"put the cup number {i} on the shelf" for i in range(12)],
    }.items():
        rows = _with(rows, name, pa.array(words).take(pa.array(random.integers(0, len(words), n))))
    helped = random.integers(0, 10, n) < 2
    rows = _with(rows, "interventions", pa.array(helped.astype(np.int32)))
    rows = _with(rows, "human_steps", pa.array((helped * 3).astype(np.int32)))
    seeds = pc.binary_join_element_wise(
        '{"seed": "', pa.array(random.integers(0, 5000, n)).cast("string"), '"}', ""
    )
    return _with(rows, "attributes", seeds)


def _frames(lake: Lake, steps: pa.Table) -> pa.Array:
    """A shard a partition, and every second step shows one of its pictures."""
    random = np.random.default_rng(1)
    pictures = [
        simplejpeg.encode_jpeg(
            np.kron(random.integers(0, 255, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
        )
        for _ in range(PICTURES)
    ]
    keys = pa.table([steps["day"], steps["site"]], ["day", "site"])
    places: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for key in keys.group_by(["day", "site"]).aggregate([]).to_pylist():
        with FrameShards(lake.place, f"{key['day']}{key['site']}", key["site"], key["day"]) as shards:
            places[key["day"], key["site"]] = [shards.put("front", 0, picture) for picture in pictures]
    order = list(places)
    of = pc.index_in(
        pc.binary_join_element_wise(steps["day"], steps["site"], "|"), pa.array(["|".join(k) for k in order])
    ).to_numpy()[::2]
    which = np.arange(len(of)) % PICTURES
    shards = pa.array([places[key][0][0] for key in order]).take(pa.array(of))
    offsets = np.array([[p[1] for p in places[key]] for key in order])[of, which]
    sizes = np.array([[p[2] for p in places[key]] for key in order])[of, which]
    t_ns = steps["t_ns"].to_numpy()[::2]
    kind = STEPS.schema.field("frames").type
    frames = pa.StructArray.from_arrays(
        [pa.repeat(pa.scalar("front"), len(of)), shards, pa.array(offsets), pa.array(sizes), pa.array(t_ns)],
        fields=list(kind.value_type),
    )
    lengths = np.zeros(steps.num_rows + 1, np.int32)
    lengths[1::2] = 1
    return pa.ListArray.from_arrays(pa.array(np.cumsum(lengths, dtype=np.int32)), frames).cast(kind)


def _labels(episodes: pa.Table, random: np.random.Generator) -> pa.Table:
    n = episodes.num_rows
    own = episodes.select(["episode_id", "log_id", "site", "day"])
    verdicts = pa.array(["pass", "fail", "unknown"]).take(pa.array(random.choice(3, n, p=[0.9, 0.05, 0.05])))
    checked = {"layer_id": "quality@1", "kind": "quality", "check": "smooth", "text": verdicts}
    values = {"layer_id": "value.big.0@1", "kind": "progress"}
    times = own.take(pa.array(np.repeat(np.arange(n), STEPS_EACH)))
    values |= {
        "step": np.tile(np.arange(STEPS_EACH, dtype=np.int32), n),
        "value": np.clip(np.cumsum(random.normal(0.05, 0.1, (n, STEPS_EACH)), 1), 0, 1).ravel(),
    }
    return pa.concat_tables([_told(own, checked), _told(times, values)])


def _told(of: pa.Table, said: dict[str, Any]) -> pa.Table:
    n = of.num_rows
    columns = {name: of[name] for name in of.column_names} | {"created_ns": np.ones(n, np.int64)}
    for name, value in said.items():
        columns[name] = pa.repeat(pa.scalar(value), n) if isinstance(value, str) else value
    return conform(LABELS, pa.table(columns))


def _with(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    if name not in rows.column_names:
        return rows.append_column(name, values)
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)
