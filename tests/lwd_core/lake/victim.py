"""A process to be killed, or to be raced: ``python -m tests.lwd_core.lake.victim HOME VERB [EPISODES]``.

Prints a line when its imports are done, then does one thing to the lake of a home.
"""

import sys

from lwd_core.lake.upkeep import compact
from tests.lwd_core.lake.rows import label_rows
from tests.lwd_core.lake.world import World

BATCH = 3


def act(world: World, verb: str, episode: str = "") -> None:
    match verb:
        case "ingest" | "supersede":
            world.ingest(batch_logs=BATCH)
        case "compact":
            compact(world.lake)
        case "remap":
            world.remap(batch_logs=BATCH)
        case "label":
            for _ in range(6):
                episodes = world.lake.read("episodes").to_pylist()
                world.lake.replace("labels", label_rows(episodes), {"layer_id": ["reward.sparse@1"]})
        case "snapshot":
            for i in range(3):
                world.snapshot(f"s{i}", cameras=["wrist"])
        case "erase":
            for what in world.pending() or [world.plan(*episode.split(","))]:
                world.erase(what)


if __name__ == "__main__":
    print("ready", flush=True)
    act(World(sys.argv[1]), *sys.argv[2:])
    print("done", flush=True)
