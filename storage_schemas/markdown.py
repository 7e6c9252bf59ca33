"""Tables, columns and vocabularies as one Markdown page: ``python -m storage_schemas.markdown``.

The documentation is built from this, so it cannot say anything else than the schemas.
"""

import inspect
from enum import StrEnum

import pyarrow as pa

from storage_schemas import vocabulary
from storage_schemas.columns import Table
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
    return "\n\n".join(parts) + "\n"


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
