"""A log format of the tests: JSON naming how many episodes of which length, and frames."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg

from lwd_core.logs.content import EpisodeData, FrameSink, LogContent, UnreadableLog
from lwd_core.logs.source import LogSource
from storage_schemas.embodiment import Embodiment
from tests.lwd_core.lake.rows import START, segment_rows, step_rows

DROPPED = ["episode_id", "log_id", "site", "day"]


def write_log(
    landing: Path, name: str, *, seed: int = 0, episodes: int = 1, length: int = 12, frames: int = 0,
    site: str = "lab", day: str = "2026-01-01", robot: str = "r1",
) -> Path:  # fmt: skip
    path = landing / site / day / robot / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "episodes": episodes, "length": length, "frames": frames}))
    return path


def read_fake(source: LogSource, embodiments: Mapping[str, Embodiment], frames: FrameSink) -> LogContent:
    with source.open() as f:
        data = f.read()
    try:
        said = json.loads(data)
    except ValueError:
        raise UnreadableLog("no log of the tests") from None
    if said.get("crash"):
        raise KeyError("a reader's own mistake")
    episodes = []
    for index in range(said["episodes"]):
        seed = said["seed"] * 100 + index + 50 * len(embodiments)  # another mapping, other numbers
        length = said["length"]
        steps = step_rows("", "", length, seed=seed).drop_columns(DROPPED)
        shown = [
            [
                dict(
                    zip(("shard", "offset", "size"), frames.put("wrist", t, picture(seed, step)), strict=True)
                )
                | {"camera": "wrist", "t_ns": t}
            ]
            if step < said["frames"]
            else None
            for step, t in enumerate(steps["t_ns"].to_pylist())
        ]
        steps = steps.append_column("frames", pa.array(shown))
        episodes.append(
            EpisodeData(
                index_in_log=index,
                embodiment="sawyer",
                task="reach-v3",
                instruction="reach the goal",
                source="rollout",
                outcome="success",
                outcome_from="robot",
                end="terminated",
                control_hz=80.0,
                first_message=index * length,
                last_message=(index + 1) * length - 1,
                steps=steps,
                segments=segment_rows("", "", length).drop_columns(DROPPED),
                robot_id="r9",
            )
        )
    return LogContent("mcap", START and len(data), tuple(episodes), salvaged=said.get("salvaged"))


def picture(seed: int, step: int) -> bytes:
    noise = np.random.default_rng((seed, step)).integers(0, 256, (24, 24, 3), np.uint8)
    return simplejpeg.encode_jpeg(noise)
