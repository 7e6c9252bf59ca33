"""What it costs to record three cameras and 200 Hz: processor and memory of the robot's process, counts.

    python -m benchmarks.edge --parts recording

Each row is a process of its own that imports what a robot does, drives one episode by the product's control
loop with a person at the controls, and ends; its log is read elsewhere and held against what was handed over.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.edge_arm import CAMERAS, Arm, Hand, arm_file
from lwd_core.fleet.control import Control
from lwd_core.fleet.rig import ControlRules, Rig
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.task import Job
from lwd_core.logs.embodiment import parse_embodiment
from storage_schemas.vocabulary import Source

#: Row by row: cameras, and whether pixels are made JPEGs of, as the robot's package does where a camera
#: gives no JPEG.
ROWS = {"no camera": (0, False), "three, JPEG": (3, False), "three, raw": (3, True)}


def measure(row: str, folder: Path, seconds: float, hz: float, realtime: bool) -> dict[str, Any]:
    """One row. ``dropped``: pictures and steps that the loop was handed and the log has not."""
    place = folder / row.replace(", ", "-").replace(" ", "-")
    request = {"row": row, "folder": str(place), "seconds": seconds, "hz": hz, "realtime": realtime}
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.edge_recording", json.dumps(request)],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(child.stdout)
    steps, pictures = _logged(Path(found.pop("log")), hz, CAMERAS[: ROWS[row][0]])
    return {
        "row": row,
        **found,
        "pictures": pictures,
        "pictures_dropped": found["handed"] - pictures,
        "steps": steps,
        "steps_dropped": found["acts"] - steps,
    }


def _logged(log: Path, hz: float, cameras: tuple[str, ...]) -> tuple[int, int]:
    """Steps and pictures of the log's episode, as ingest reads them."""
    from lwd_core.logs.read import read_log
    from lwd_core.logs.source import LogSource

    counts = Counts()
    content = read_log(LogSource(str(log)), {"bench": parse_embodiment(arm_file(hz, cameras))}, counts)
    (episode,) = content.episodes
    if content.salvaged:
        raise SystemExit(f"{log}: not whole: {content.salvaged}")
    return episode.actions, counts.pictures


class Counts:
    """Counts pictures and lets them go."""

    def __init__(self) -> None:
        self.pictures = 0

    def put(self, camera: str, t_ns: int, data: bytes) -> tuple[str, int, int]:
        """One picture."""
        self.pictures += 1
        return "shard", 0, len(data)


def _memory(name: str) -> float:
    """``VmRSS`` or ``VmHWM`` (the most there was) of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def record(row: str, folder: str, seconds: float, hz: float, realtime: bool) -> dict[str, Any]:
    """One episode in this process."""
    cameras, encodes = ROWS[row]
    arm, hand = Arm(hz, cameras, encodes), Hand(max(1, round(seconds * hz)))
    embodiment = parse_embodiment(arm_file(hz, CAMERAS[:cameras]))
    rig = Rig(arm, embodiment, person=lambda: hand, buttons=(hand,), operator="bench")
    control = Control(rig, RobotSpec("bench", "bench", "bench"), ControlRules())
    if realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    arm.connect()
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is forgotten
    before, cpu, wall = _memory("VmRSS"), time.process_time(), time.perf_counter()
    job = Job(arm.tasks["move"], "move", 0, Source.DEMONSTRATION)
    ran = control.run(job, None, Path(folder)).ran
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    arm.close()
    assert ran is not None
    most = _memory("VmHWM")
    return {
        "seconds": wall,
        "cpu": cpu / wall,
        "rss_mb": most,
        "grown_mb": most - before,
        "log_mb_s": ran.log.stat().st_size / 1e6 / wall,
        "picture_kb": sum(c.bytes for c in arm.cameras.values()) / 1e3 / max(1, cameras),
        "acts": arm.acts,
        "handed": arm.handed,
        "unseen": arm.unseen,
        "log": str(ran.log),
    }


if __name__ == "__main__":
    print(json.dumps(record(**json.loads(sys.argv[1]))))
