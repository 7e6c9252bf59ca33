"""A small lake whose episodes have everything: frames, proposals, interventions, masked ticks."""

import numpy as np
import pyarrow as pa
import simplejpeg

from lwd_core.lake.frames import FrameShards
from lwd_core.lake.store import Lake
from storage_schemas.embodiment import Camera, Dim, Embodiment, Feature
from storage_schemas.tables import STEPS
from tests.lwd_core.labels.conftest import episode_rows

ARM = Embodiment(
    name="arm",
    control_hz=10.0,
    state=(Feature("/state", tuple(Dim(f"q{i}", "rad") for i in range(3))),),
    action=(Feature("/action", tuple(Dim(f"a{i}", low=-1.0, high=1.0) for i in range(2))),),
    cameras=(Camera("front", "/camera/front"),),
)
LENGTHS = (40, 50, 60)


def jpeg(episode, frame):
    """A frame whose grey says which it is."""
    grey = 40 + 50 * episode + 2 * (frame % 30)
    return simplejpeg.encode_jpeg(np.full((48, 64, 3), grey, np.uint8), quality=95)


def recorded_lake(root) -> Lake:
    """Three episodes with a camera that is slower than the control rate, a person's turn and proposals."""
    lake = Lake.open(str(root), create=True)
    rng = np.random.default_rng(0)
    rows = []
    for i, length in enumerate(LENGTHS):
        with FrameShards(lake.place, f"l{i:04d}", "north", "2026-01-01") as shards:
            for t in range(length + 1):
                t_ns = 10**18 + t * 10**8
                # every second step brings a new frame, and the first step none
                frames = []
                if t % 2 == 1:
                    shard, offset, size = shards.put("front", t_ns, jpeg(i, t))
                    frames = [
                        {"camera": "front", "shard": shard, "offset": offset, "size": size, "t_ns": t_ns}
                    ]
                rows.append(
                    {
                        "episode_id": f"e{i:04d}",
                        "log_id": f"l{i:04d}",
                        "site": "north",
                        "day": "2026-01-01",
                        "step": t,
                        "t_ns": t_ns,
                        "state": rng.normal(size=3),
                        "action": rng.uniform(-1, 1, 2) if t < length else [],
                        "proposed": rng.uniform(-1, 1, 2) if t < length and i == 1 else None,
                        "actor": "human" if 10 <= t < 20 else "policy",
                        "valid": t != 5,
                        "gap": False,
                        "frames": frames,
                    }
                )
    lake.append("steps", pa.Table.from_pylist(rows, schema=STEPS.schema))
    episodes = [row | {"steps": LENGTHS[i]} for i, row in enumerate(episode_rows(3).to_pylist())]
    lake.append("episodes", pa.Table.from_pylist(episodes, schema=episode_rows(1).schema))
    return lake
