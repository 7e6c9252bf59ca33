"""What rests on an episode, a log or a robot: snapshots, policies, releases."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.tree import Tree

from lwd_core.cli._output import AsJson, say_json
from lwd_core.lake.store import Lake
from lwd_core.lineage import impact as walk
from lwd_core.settings import Settings


def impact(
    thing: Annotated[str, typer.Argument(help="Episode id, log id (or the beginning of one) or robot id.")],
    as_json: AsJson = False,
    page: Annotated[Path | None, typer.Option(help="Write all of it as one HTML page.")] = None,
) -> None:
    """What rests on an episode, a log or a robot.

    Example: lwd impact north-01
    """
    found = walk(Lake.open(Settings().lake), thing)
    if page:
        from lwd_core.reports.lineage import impact_page

        page.write_text(impact_page(thing, found))
        typer.echo(f"page: {page}", err=True)
    if as_json:
        say_json({name: table.to_pylist() for name, table in vars(found).items()})
        return
    tree = Tree(f"{thing}: {found.episodes.num_rows} episodes")
    snapshots = tree.add(f"{found.snapshots.num_rows} snapshots")
    for row in found.snapshots.to_pylist():
        snapshots.add(f"{row['name']} {row['digest'][:12]} {row['state']}, {row['episodes']} episodes")
    policies = tree.add(f"{found.policies.num_rows} policies")
    for row in found.policies.to_pylist():
        policies.add(f"{row['stage']} {row['policy_id']}")
    releases = tree.add(f"{found.releases.num_rows} releases")
    for row in found.releases.to_pylist():
        releases.add(f"{row['channel']} {row['policy_id']} {row['state']}")
    Console().print(tree, soft_wrap=True)
