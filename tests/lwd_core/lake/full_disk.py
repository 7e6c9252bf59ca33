"""On a small disk of its own: ``python -m tests.lwd_core.lake.full_disk DISK ELSEWHERE``.

Ingests with no room, then with one page more, and so on until it fits: every write of an ingest, those of
the tables' logs too, meets the full disk once. Prints each refusal as JSON.
"""

import itertools
import json
import os
import shutil
import sys
import time
from pathlib import Path

from lwd_core.errors import StorageError
from tests.lwd_core.lake.fake_logs import write_log
from tests.lwd_core.lake.kills import no_row_twice, whole
from tests.lwd_core.lake.world import World

PAGE = 4096


def fill(path: Path, pages: int) -> None:
    """Leave so many pages free, and so many still a moment later.

    A thread of the writer before may still hold a deleted file open, and give its pages back after all.
    """
    path.unlink(missing_ok=True)
    while (disk := os.statvfs(path.parent)).f_bavail != pages:
        size = path.stat().st_size if path.exists() else 0
        with path.open("ab") as ballast:
            ballast.truncate(max(0, size + min(0, disk.f_bavail - pages) * disk.f_frsize))
            ballast.write(bytes(max(0, disk.f_bavail - pages) * disk.f_frsize))
        time.sleep(0.05)


def main(disk: Path, elsewhere: Path) -> None:
    template, home, ballast = elsewhere / "template", disk / "home", disk / "ballast"
    world = World(template)
    write_log(world.landing, "first", frames=3)
    world.ingest()
    old = world.tables()["episodes"]
    write_log(world.landing, "later", seed=1, frames=3)
    for pages in itertools.count():
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(template, home)
        fill(ballast, pages)
        try:
            World(home).ingest()
            return
        except StorageError as error:
            print(json.dumps({"pages": pages, "error": str(error)}), flush=True)
        ballast.unlink()
        found = World(home).tables()
        whole(World(home))
        assert found["episodes"] == old or len(found["episodes"]) == 2, "the old state or the new one"
        assert not [row for row in found["logs"] if row["state"] == "quarantined"], "the log is not to blame"
        World(home).ingest()
        assert len(World(home).tables()["episodes"]) == 2
        no_row_twice(World(home))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
