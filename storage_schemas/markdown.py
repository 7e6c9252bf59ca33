"""Tables, columns, vocabularies and batches as one Markdown page: ``python -m storage_schemas.markdown``.

The documentation is built from this, so it cannot say anything else than the schemas.
"""

import inspect
from collections.abc import Iterable
from enum import StrEnum

import pyarrow as pa

from storage_schemas import vocabulary
from storage_schemas.columns import Table
from storage_schemas.snapshot_row import ROW, batch_columns
from storage_schemas.tables import TABLES


def page() -> str:
    """Every table with its columns, then every closed vocabulary with its words."""
    parts = [
        "# Tables and columns\n\nMade from `storage_schemas` when this site is built. Unit and meaning also "
        "stand in every Parquet file, as metadata of its fields."
    ]
    parts += [_table(table) for table in TABLES.values()]
    parts.append("## Vocabularies\n\nColumns that hold one of a closed set of words.")
    parts += [_vocabulary(words) for words in _vocabularies()]
    parts.append(
        "## A snapshot's sample\n\nThe tensors of an episode of R rows, T of them with an action; state and "
        "action are S and D wide."
    )
    parts.append(sample_table())
    parts.append("## A batch\n\nB samples with chunks of H frames.")
    parts.append(batch_table())
    return "\n\n".join(parts) + "\n"


def sample_table() -> str:
    """The tensors of a snapshot's sample: shape, what a lower frame rate makes of them, meaning."""
    rows = [
        (f"`{c.name}`", _shape("T" if c.per_action else "R", *c.axes, kind=c.type), c.merge, c.meaning)
        for c in ROW
    ]
    return _lines(("tensor", "shape", "a frame of several ticks has", "meaning"), rows)


def batch_table() -> str:
    """The columns of a batch: shape and meaning."""
    rows = [(f"`{c.name}`", _shape("B", *c.axes, kind=c.type), c.meaning) for c in batch_columns()]
    return _lines(("in a batch", "shape", "meaning"), rows)


def _shape(*axes: str, kind: pa.DataType) -> str:
    short = {"float": "f32", "int64": "i64"}.get(str(kind), str(kind))
    return f"({', '.join(axes)}{',' if len(axes) == 1 else ''}) {short}"


def _lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def type_name(kind: pa.DataType) -> str:
    """An Arrow type in few words: ``list<float32>``, ``list<{camera, shard, …}>``."""
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"  # type: ignore[attr-defined]
    if pa.types.is_struct(kind):
        fields = (f"{field.name}: {type_name(field.type)}" for field in kind)  # type: ignore[attr-defined]
        return "{" + ", ".join(fields) + "}"
    return str(kind)


def _table(table: Table) -> str:
    lines = [f"## {table.name}", "", table.meaning, ""]
    layout = [f"key {_names(table.key)}"]
    if table.partition:
        layout.append(f"partitioned by {_names(table.partition)}")
    if table.sort:
        layout.append(f"sorted by {_names(table.sort)} within a file")
    lines += [f"Version {table.version}; {'; '.join(layout)}.", ""]
    lines += ["| column | type | unit | null | meaning |", "|---|---|---|---|---|"]
    for column in table.columns:
        null = "yes" if column.nullable else ""
        kind = type_name(column.type)
        lines.append(f"| `{column.name}` | `{kind}` | {column.unit} | {null} | {column.meaning} |")
    return "\n".join(lines)


def _vocabularies() -> list[type[StrEnum]]:
    found = [v for v in vars(vocabulary).values() if inspect.isclass(v) and issubclass(v, StrEnum)]
    return [words for words in found if words is not StrEnum]


def _vocabulary(words: type[StrEnum]) -> str:
    about = " ".join((inspect.getdoc(words) or "").split())
    return f"### {words.__name__}\n\n{about}\n\n" + ", ".join(f"`{word}`" for word in words)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(page(), end="")
