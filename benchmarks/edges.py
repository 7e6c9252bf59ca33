"""Many edges against one store: no physics, but the real spool, upload, check-in, poll and verification.

    python -m benchmarks.edges [--json] [--edges 1000] [--rounds 3] [--at-once 32] [--home DIR]

Each round every edge says how it stands and hears what is wanted, polls its channel and verifies what it
reads, and uploads a recorded episode of its own with a signature. Then the platform takes everything in
and reads how all robots stand. ``lost`` must be 0. The floor beside the cycle is the same bytes written by
`Location.write` alone, in the same run.
"""

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np

from lwd_core.fleet.checkin import CheckIn
from lwd_core.fleet.outbox import Outbox
from lwd_core.fleet.robot import RobotSpec
from lwd_core.fleet.upload import Backoff
from lwd_core.ingest.commit import ingest
from lwd_core.lake.store import Lake
from lwd_core.policies.channel_file import Release, current, refused, write_release
from lwd_core.policies.keys import make_robot_key, public_pem, signing_key, trusted_keys
from lwd_core.robots.enrolment import Enrolment, enrol
from lwd_core.robots.standing import standings
from lwd_core.settings import Settings
from lwd_core.storage.location import open_location
from storage_schemas.vocabulary import Channel
from tests.lwd_core.logs.robot_logs import ARM, episode_log

PARTS = ("check_in", "poll", "upload", "cycle")


class Edge:
    """One robot's computer."""

    def __init__(self, settings: Settings, number: int, spools: Path) -> None:
        self.spec = RobotSpec(f"edge-{number:04d}", f"site-{number % 8}")
        self.settings, self.number = settings, number
        self.folder = spools / self.spec.robot_id
        self.folder.mkdir()
        public = public_pem(make_robot_key(settings.keys, self.spec.robot_id)).decode()
        made = Enrolment(self.spec.robot_id, self.spec.site, f"group-{number % 4}", public, time.time_ns())
        enrol(settings, made, signing_key(settings.keys))
        self.landed: list[str] = []
        self.said: list[str] = []
        self.outbox = Outbox(
            settings, self.spec, self.folder, Backoff(), lambda: True,
            lambda _robot, log, _ran: self.landed.append(log.sha256), self.said.append,
        )  # fmt: skip
        self.check_in = CheckIn(settings, self.spec, self.said.append)
        self.trusted = trusted_keys(settings.keys)

    def cycle(self, turn: int, log: bytes) -> dict[str, float]:
        """Seconds of each part."""
        (self.folder / f"20260203T{turn:02d}0000-push.mcap").write_bytes(log)
        at = [time.perf_counter()]
        self.check_in(time.time_ns(), None, self.outbox, f"round {turn}")
        at.append(time.perf_counter())
        release = current(self.settings.releases, Channel.PRODUCTION, self.trusted)
        if release is None or refused(release, None, time.time_ns()):
            raise AssertionError("the channel's release was not believed")
        at.append(time.perf_counter())
        self.outbox.send()
        at.append(time.perf_counter())
        return dict(zip(PARTS, [*np.diff(at), at[-1] - at[0]], strict=True))


def measure(home: str, keys: Path, edges: int, rounds: int, at_once: int) -> dict[str, object]:
    """Let them work, and count."""
    settings = Settings(home=home, keys=str(keys / "keys"))
    write_release(
        settings.releases,
        Release("r1", "production", "p1", None, time.time_ns(), 1, time.time_ns() + 10**15),
        signing_key(settings.keys),
    )
    spools = keys / "spools"
    spools.mkdir()
    fleet = [Edge(settings, number, spools) for number in range(edges)]
    lengths: list[dict[str, float]] = []
    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        for turn in range(rounds):
            logs = [episode_log(40, seed=turn * edges + edge.number) for edge in fleet]
            lengths += pool.map(Edge.cycle, fleet, repeat(turn), logs)
    lasted = time.perf_counter() - begun
    place, log = open_location(f"{home}/floor"), episode_log(40, seed=0)
    floor: list[float] = []
    for number in range(200):
        start = time.perf_counter()
        with place.write(f"{number}.mcap") as file:
            file.write(log)
        floor.append(time.perf_counter() - start)
    lake, begun = Lake.open(settings.lake, create=True), time.perf_counter()
    ingest(lake, settings, [settings.landing], embodiments={"arm": ARM}, now_ns=time.time_ns())
    taken = time.perf_counter() - begun
    accepted = set(lake.sql("SELECT log_id FROM logs WHERE state = 'accepted'").column("log_id").to_pylist())
    begun = time.perf_counter()
    stood = standings(settings, {"production": "p1"}, time.time_ns())
    looked = time.perf_counter() - begun
    sent = {digest for edge in fleet for digest in edge.landed}
    said = {
        part: {"p50_ms": round(1e3 * float(np.quantile([one[part] for one in lengths], 0.5)), 1),
               "p99_ms": round(1e3 * float(np.quantile([one[part] for one in lengths], 0.99)), 1)}
        for part in PARTS
    }  # fmt: skip
    return {
        "edges": edges,
        "cycles": len(lengths),
        "at_once": at_once,
        "cycles_s": round(len(lengths) / lasted, 1),
        **said,
        "floor_p50_ms": round(1e3 * float(np.median(floor)), 1),
        "ingest_s": round(taken, 1),
        "all_robots_s": round(looked, 2),
        "online": sum(one.state == "online" for one in stood),
        "complaints": sum(len(edge.said) for edge in fleet),
        "sent": edges * rounds,
        "lost": edges * rounds - len(sent & accepted),
    }


def main() -> None:
    """Print what was measured."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--edges", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--at-once", type=int, default=32)
    options.add_argument("--home", help="folder or bucket; default: a temporary folder")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(
            chosen.home or f"{folder}/home", Path(folder), chosen.edges, chosen.rounds, chosen.at_once
        )
    print(
        json.dumps(found) if chosen.json else "\n".join(f"{name:14} {value}" for name, value in found.items())
    )


if __name__ == "__main__":
    main()
