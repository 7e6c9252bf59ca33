"""From a killed robot to its log uploaded: seconds, and the steps that are gone.

    python -m benchmarks.edge --parts salvage

A process that records is killed (SIGKILL) in mid-episode. Another one begins on the same spool, finds what
was left, and uploads it before it does anything else; then the platform takes the log in. Seconds count from
the kill to the log in the landing zone, so Python's start and imports are within; ``cpu_s`` is the second
process's time of the processor by then. A kill leaves the kernel's
cache as it is, which a power cut does not.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.edge_arm import CAMERAS, Hand, arm_file
from lwd_core.fleet.live import Told
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.stand import RealStand
from lwd_core.fleet.station import Rounds, Work, run_robot
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Source

#: Row by row: control rate, and cameras.
ROWS = {"200 Hz, three cameras": (200.0, 3), "30 Hz, no camera": (30.0, 0)}
_PATIENCE_S = 120.0


def measure(row: str, home: Path, seconds: float) -> dict[str, Any]:
    """One kill, ``seconds`` into an episode; in less than one, nothing may have come to the disk yet."""
    from lwd_core.ingest.commit import ingest
    from lwd_core.lake.store import Lake
    from lwd_core.logs.embodiment import parse_embodiment

    hz, cameras = ROWS[row]
    file = arm_file(hz, CAMERAS[:cameras])
    settings, acted = Settings(home=str(home)), home / "acted"
    Path(settings.embodiments).mkdir(parents=True)
    Path(settings.embodiments, "bench.yaml").write_text(file)
    with _robot(home, row, 1) as victim:
        _wait_for(acted, max(1, round(seconds * hz)), victim)
        victim.kill()
        cut = time.perf_counter()
    acts = _number(acted)
    with _robot(home, row, 0) as again:
        assert again.stdout is not None
        line = again.stdout.readline()
        taken = time.perf_counter() - cut
    if not line:
        raise SystemExit(f"{home}: nothing was uploaded; see the error above")
    lake = Lake.open(settings.lake, create=True)
    ingest(
        lake,
        settings,
        [settings.landing],
        embodiments={"bench": parse_embodiment(file)},
        now_ns=time.time_ns(),
    )
    rows = lake.sql('SELECT state, "end", steps FROM logs LEFT JOIN episodes USING (log_id)').to_pylist()
    steps = sum(found["steps"] or 0 for found in rows)
    return {
        "row": row,
        "seconds": taken,
        "upload_s": json.loads(line)["seconds"],
        "cpu_s": json.loads(line)["cpu"],
        "mb": json.loads(line)["bytes"] / 1e6,
        "logs": len(rows),
        "state": [found["state"] for found in rows],
        "end": [found["end"] for found in rows],
        "acts": acts,
        "steps": steps,
        "lost": acts - steps,
        "lost_s": (acts - steps) / hz,
    }


def _robot(home: Path, row: str, episodes: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmarks.edge_salvage", str(home), row, str(episodes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def _number(file: Path) -> int:
    return int.from_bytes(file.read_bytes(), "little") if file.exists() else 0


def _wait_for(file: Path, number: int, victim: "subprocess.Popen[bytes]") -> None:
    end = time.perf_counter() + _PATIENCE_S
    while _number(file) < number:
        if victim.poll() is not None or time.perf_counter() > end:
            victim.kill()
            raise SystemExit(f"the robot that is to be killed does not work (exit status {victim.poll()})")
        time.sleep(0.002)


def work(home: str, row: str, episodes: int) -> None:
    """The robot's process: so many episodes, and a line for every log that was uploaded."""
    hz, cameras = ROWS[row]
    settings = Settings(home=home)
    given = {"hz": hz, "cameras": cameras} | ({"acted": f"{home}/acted"} if episodes else {})
    stand = RealStand(settings, "benchmarks.edge_arm:Arm", given, embodiment="bench", operator="bench")
    stand.sit_down([Hand()])

    def landed(_robot: object, log: Any, _ran: object) -> None:
        told = {
            "uri": log.uri,
            "bytes": log.bytes,
            "seconds": time.perf_counter() - begun,
            "cpu": time.process_time(),
        }
        print(json.dumps(told), flush=True)

    queue = Rounds(list(stand.tasks.values()), "bench", Source.DEMONSTRATION, episodes=episodes)
    begun = time.perf_counter()  # of the upload; the pictures of this arm are made before
    run_robot(settings, stand, RobotSpec("bench", "bench"), queue, None, Work(told=Told(landed=landed)))


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
