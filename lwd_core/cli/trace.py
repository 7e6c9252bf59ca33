"""What a policy was made of, down to raw logs and message ranges."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.tree import Tree

from lwd_core.cli._named import PolicyId, policy_named
from lwd_core.cli._output import AsJson, say_json
from lwd_core.lake.store import Lake
from lwd_core.lineage import trace as walk
from lwd_core.settings import Settings

_UNCROPPED = 10_000


def trace(
    policy: PolicyId,
    as_json: AsJson = False,
    episodes: Annotated[int, typer.Option(help="Episodes shown a snapshot.", min=0)] = 5,
    page: Annotated[Path | None, typer.Option(help="Write all of it as one HTML page.")] = None,
) -> None:
    """What a policy was made of: its ancestry, snapshots, episodes and raw logs.

    Example: lwd trace production --page trace.html
    """
    lake = Lake.open(Settings().lake)
    found = walk(lake, policy_named(lake, policy)["policy_id"])
    if page:
        from lwd_core.reports.lineage import trace_page

        page.write_text(trace_page(found))
        typer.echo(f"page: {page}", err=True)
    if as_json:
        tables = ("ancestry", "snapshots", "episodes")
        say_json({"policy_id": found.policy_id} | {t: getattr(found, t).to_pylist() for t in tables})
        return
    snapshots, members = found.snapshots.to_pylist(), found.episodes.to_pylist()
    tree = Tree(f"policy {found.policy_id}")
    for policy_row in found.ancestry.to_pylist():
        branch = tree.add(f"{policy_row['stage']} {policy_row['policy_id']}")
        for snapshot in (s for s in snapshots if s["policy_id"] == policy_row["policy_id"]):
            mine = [m for m in members if snapshot["digest"] in m["snapshots"]]
            leaf = branch.add(f"snapshot {snapshot['name']} {snapshot['digest'][:12]}, {len(mine)} episodes")
            for row in mine[:episodes]:
                leaf.add(
                    f"{row['episode_id'][:12]} {row['task']} {row['outcome']}: {row['uri']} "
                    f"messages {row['first_message']}–{row['last_message']}"
                )
            if len(mine) > episodes:
                leaf.add(f"… {len(mine) - episodes} more")
    # a tree is cropped to its console, and the end of a line says where the messages lie
    Console(width=_UNCROPPED).print(tree, soft_wrap=True)
