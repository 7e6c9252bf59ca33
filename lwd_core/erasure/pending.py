"""Plans are written down before they are carried out and struck out last: the next erasure finishes them."""

import json
from dataclasses import asdict
from typing import Any

from lwd_core.erasure.plan import Plan, files_of
from lwd_core.erasure.sought import read_note
from lwd_core.lake.store import Lake
from lwd_core.lake.tombstones import Ranges

PENDING = ".pending.json"


def pending(lake: Lake, landing: str) -> list[Plan]:
    """Erasures begun and not finished."""
    folder = lake.path("erasures")
    if not lake.fs.exists(folder):
        return []
    found = [p for p in lake.fs.find(folder) if p.endswith(PENDING)]
    return [_read(lake, landing, read_note(lake, lake.place.relative(path))) for path in sorted(found)]


def note_down(lake: Lake, what: Plan) -> str:
    """Write the plan down; returns the note's name, which is removed once all is done."""
    note = f"{what.token}{PENDING}"
    with lake.place.write("erasures", note) as stream:
        said = {name: value for name, value in asdict(what).items() if name != "raw"}
        stream.write(json.dumps(said | {"root": lake.root}).encode())
    return note


def _read(lake: Lake, landing: str, said: dict[str, Any]) -> Plan:
    """A plan as it was noted. Raw logs are looked for anew: a copy of a home has its own."""
    root = said.pop("root", lake.root)
    if "ranges" not in said:  # noted by an older release
        shared = lake.read(
            "episodes", columns=["log_id"], where="list_contains(?, episode_id)", params=[said["siblings"]]
        )
        stays = set(shared["log_id"].to_pylist())
        said |= {"ranges": {log: [] if log in stays else None for log in said.pop("logs")}, "unseen": {}}
        said |= {"unknown": [], "before": [], "numbers": [], "also": []}
    ranges: dict[str, Ranges | None] = {
        log: r and [(a, b) for a, b in r] for log, r in said.pop("ranges").items()
    }
    said.pop("raw", None)
    named = said.pop("also")
    also = named if root == lake.root else []
    steps, unseen = said.pop("steps"), said.pop("unseen")
    lists = {name: tuple(value) for name, value in said.items()}
    raw = files_of(lake, landing, ranges, also, lists["before"], strict=False)
    return Plan(raw=tuple(raw), ranges=ranges, also=tuple(also), steps=steps, unseen=unseen, **lists)
