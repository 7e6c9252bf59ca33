"""The difference of two policies as tables for a person."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from lwd_core.policies.diff import PolicyDifference


def print_difference(found: PolicyDifference) -> None:
    """Facts, data, labels, config and results, each a table; parts that agree are said in a line."""
    console = Console()
    pairs = (found.a[:12], found.b[:12])
    _pairs(console, "policy", pairs, found.facts)
    data = found.data
    console.print(
        f"data: {data.a} and {data.b} episodes, {data.shared} in both, "
        f"{len(data.only_a)} and {len(data.only_b)} in one only"
    )
    moved = {f"{column} {value}": n for column, values in data.by.items() for value, n in values.items()}
    _pairs(console, "episodes", pairs, moved)
    labels = f"labels: other rewards in {len(found.labels.rewards)} of the shared episodes"
    if found.labels.unread:
        labels += f"; not compared, as they are gone: {', '.join(d[:12] for d in found.labels.unread)}"
    console.print(labels)
    _pairs(console, "label layers", pairs, found.labels.layers)
    if not found.config:
        console.print("config: equal")
    _pairs(console, "config", pairs, found.config)
    if not found.results:
        console.print("results: neither was evaluated")
        return
    table = Table(title="success, and how many scenes only the one and only the other solved")
    table.add_column("task", overflow="fold")
    for name in (*pairs, "only", "only", "p"):
        table.add_column(name)
    for row in found.results:
        p = "" if row.p is None else f"{row.p:.3g}"
        rates = [str(rate).replace(" [", "\n[") for rate in (row.a, row.b)]
        table.add_row(row.task, *rates, str(row.only_a), str(row.only_b), p)
    console.print(table)


def _pairs(console: Console, title: str, names: tuple[str, str], pairs: dict[str, tuple[Any, Any]]) -> None:
    if not pairs:
        return
    table = Table(title)
    for name in names:
        table.add_column(name, overflow="fold")  # ids and settings are copied from here
    for name, values in pairs.items():
        table.add_row(name, *map(_lines, values))
    console.print(table)


def _lines(value: Any) -> str:
    """Text as it is, what has parts a part a line."""
    if isinstance(value, list):
        return "\n".join(map(_lines, value))
    if isinstance(value, dict):
        return "\n".join(f"{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
