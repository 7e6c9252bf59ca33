"""A robot of one's own, the smallest there is: a point on a table that is to reach a goal.

    python examples/point_robot.py [HOME]

It records its episodes as logs, takes them into a lake and asks the lake about them. The other examples begin
with the lake this makes. For a robot of yours: replace ``move`` and ``picture`` by the robot, and the numbers
in the embodiment file by its own.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import simplejpeg

import lwd_core as lwd

HZ, STEP, NEAR = 10, 0.1, 0.15
START_NS = 1_767_254_400_000_000_000  # 2026-01-01 08:00 UTC

#: What the numbers in the robot's log mean. `lwd.draft_embodiment(log)` drafts such a text from a log.
EMBODIMENT = f"""\
name: point
control_hz: {HZ}
match: {{embodiment: point}}
time: {{clock: log, ticks: /state}}
state:
  - topic: /state
    field: values
    dims: [{{name: x, unit: m}}, {{name: y, unit: m}}, {{name: goal_x, unit: m}}, {{name: goal_y, unit: m}}]
action:
  - topic: /action/executed
    field: values
    dims: [{{name: right, low: -1, high: 1}}, {{name: up, low: -1, high: 1}}]
cameras: [{{name: top, topic: /camera/top}}]
actor: {{topic: /actor, human: [human], operator: operator, policy: policy_id}}
events: {{topic: /event}}
episodes: {{boundary: events}}
"""


def move(position: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Where an action (2,) in [-1, 1] takes the point; the table is [-1, 1] squared."""
    return np.clip(position + STEP * np.clip(action, -1, 1), -1, 1)


def picture(position: np.ndarray, goal: np.ndarray) -> bytes:
    """What the camera above the table sees, a JPEG of 48 by 48: the point red, the goal green."""
    pixels = np.full((48, 48, 3), 40, np.uint8)
    for place, colour in ((goal, (40, 200, 40)), (position, (220, 40, 40))):
        column, row = ((place * (1, -1) + 1) * 21).astype(int)
        pixels[row : row + 6, column : column + 6] = colour
    return simplejpeg.encode_jpeg(pixels)


def record(path: Path, seed: int, *, noise: float) -> Path:
    """One episode in which a person steers to the goal, the more noisily the less skilled; its log."""
    random = np.random.default_rng(seed)
    position, goal = random.uniform(-1, 0.2, 2), random.uniform(0.3, 0.9, 2)
    robot = lwd.RobotSpec(robot_id=f"point-{seed % 2}", site="lab", embodiment="point", software="examples")
    tick_ns, now = 10**9 // HZ, START_NS + seed * 60 * 10**9
    with lwd.Recorder(path, robot) as log:
        log.begin(now, "reach", instruction="go to the green square", source="demonstration", seed=str(seed))
        for _ in range(40):
            way = (goal - position) / STEP
            action = np.clip(way / max(1.0, np.abs(way).max()) + noise * random.normal(size=2), -1, 1)
            log.state(now, [*position, *goal])
            log.image(now, "top", picture(position, goal))
            log.control(now, "human", operator="anna")
            log.executed(now, action)
            position, now = move(position, action), now + tick_ns
            if np.linalg.norm(position - goal) < NEAR:
                break
        log.state(now, [*position, *goal])
        log.end(now, success=bool(np.linalg.norm(position - goal) < NEAR))
    return path


def make_lake(home: str | Path, episodes: int = 24) -> lwd.Home:
    """A home whose lake holds a few such episodes, every third by a clumsy person."""
    lake = lwd.open(home, create=True)
    lake.add_embodiment(EMBODIMENT)
    for seed in range(episodes):
        log = Path(lake.settings.landing, "lab", "2026-01-01", f"point-{seed % 2}", f"run-{seed:03d}.mcap")
        record(log, seed, noise=1.6 if seed % 3 == 0 else 0.3)
    lake.ingest()  # what lies in the landing zone; or give files, folders, buckets
    return lake


if __name__ == "__main__":
    lake = make_lake(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    print(f"the lake lies in {lake.settings.home}")
    print(
        lake.sql(
            "SELECT outcome, count(*) AS episodes, avg(steps) AS steps FROM episodes GROUP BY 1 ORDER BY 1"
        )
    )
