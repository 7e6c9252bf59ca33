"""What a policy was made of, down to raw logs and message ranges."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.tree import Tree

from lwd_core.lake.store import Lake
from lwd_core.lineage import trace as walk
from lwd_core.settings import Settings


def trace(
    policy: Annotated[str, typer.Argument(help="Policy id, or the beginning of one.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, every episode in it.")] = False,
    episodes: Annotated[int, typer.Option(help="Episodes shown a snapshot.")] = 5,
) -> None:
    """What a policy was made of: its ancestry, snapshots, episodes and raw logs.

    Example: lwd trace 3f2a
    """
    found = walk(Lake.open(Settings().lake), policy)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "policy_id": found.policy_id,
                    "ancestry": found.ancestry.to_pylist(),
                    "snapshots": found.snapshots.to_pylist(),
                    "episodes": found.episodes.to_pylist(),
                }
            )
        )
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
    Console().print(tree, soft_wrap=True)
