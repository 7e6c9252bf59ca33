"""Lineage as pages: what a policy was made of, and what rests on an episode, a log or a robot."""

from importlib import resources

import pyarrow as pa
from jinja2 import Environment, select_autoescape

from lwd_core.lineage import Impact, Trace
from lwd_core.storage.location import open_location

#: Rows of one table a page holds; a policy may stand on 100,000 episodes.
SHOWN = 500


def trace_page(found: Trace) -> str:
    """A `lineage.trace` as one HTML text that loads nothing from anywhere."""
    return _render(
        f"What policy {found.policy_id} was made of",
        "Every edge is a row of the lake. Its parents' snapshots count as its own.",
        {
            "Ancestry": found.ancestry,
            "Snapshots": found.snapshots,
            "Episodes and raw logs": found.episodes,
        },
    )


def write_trace_page(folder: str, found: Trace) -> str:
    """Write `trace_page` under a folder or URL, named after the policy; return where it lies."""
    place, name = open_location(folder), f"{found.policy_id}.html"
    with place.write(name) as file:
        file.write(trace_page(found).encode())
    return place.path(name)


def impact_page(thing: str, found: Impact) -> str:
    """A `lineage.impact` as one HTML text that loads nothing from anywhere."""
    return _render(
        f"What rests on {thing}",
        "A policy counts also where only a parent of it was trained on these episodes.",
        {
            "Releases": found.releases,
            "Policies": found.policies,
            "Snapshots": found.snapshots,
            "Episodes": found.episodes,
        },
    )


def _render(title: str, about: str, tables: dict[str, pa.Table]) -> str:
    template = (resources.files("lwd_core.reports") / "templates" / "lineage.html").read_text()
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    return environment.from_string(template).render(
        title=title,
        about=about,
        tables=[
            (name, table.num_rows, table.column_names, table.slice(0, SHOWN).to_pylist())
            for name, table in tables.items()
        ],
        shown=SHOWN,
    )
