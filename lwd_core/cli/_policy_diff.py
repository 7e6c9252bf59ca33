"""The difference of two policies as tables for a person."""

import json
from typing import Any

import typer

from lwd_core.cli._output import say_table
from lwd_core.policies.diff import PolicyDifference


def print_difference(found: PolicyDifference) -> None:
    """Facts, data, labels, config and results, each a table; parts that agree are said in a line."""
    pairs = (found.a[:12], found.b[:12])
    _pairs("policy", pairs, found.facts)
    data = found.data
    typer.echo(
        f"data: {data.a} and {data.b} episodes, {data.shared} in both, "
        f"{len(data.only_a)} and {len(data.only_b)} in one only"
    )
    moved = {f"{column} {value}": n for column, values in data.by.items() for value, n in values.items()}
    _pairs("episodes", pairs, moved)
    labels = f"labels: other rewards in {len(found.labels.rewards)} of the shared episodes"
    if found.labels.unread:
        labels += f"; not compared, as they are gone: {', '.join(d[:12] for d in found.labels.unread)}"
    typer.echo(labels)
    _pairs("label layers", pairs, found.labels.layers)
    if not found.config:
        typer.echo("config: equal")
    _pairs("config", pairs, found.config)
    if not found.results:
        typer.echo("results: neither was evaluated")
        return
    say_table(
        ("task", *pairs, "only", "only", "p"),
        [(row.task, _rate(row.a), _rate(row.b), row.only_a, row.only_b, _p(row.p)) for row in found.results],
        title="success, and how many scenes only the one and only the other solved",
    )


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _rate(rate: object) -> str:
    """The interval below its rate: columns stay narrow."""
    return str(rate).replace(" [", "\n[")


def _pairs(title: str, names: tuple[str, str], pairs: dict[str, tuple[Any, Any]]) -> None:
    if pairs:
        say_table((title, *names), [(name, *map(_lines, values)) for name, values in pairs.items()])


def _lines(value: Any) -> str:
    """Text as it is, what has parts a part a line."""
    if isinstance(value, list):
        return "\n".join(map(_lines, value))
    if isinstance(value, dict):
        return "\n".join(f"{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
