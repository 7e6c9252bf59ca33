"""The two words every schema here is written in: a column and a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import pyarrow as pa

Words = type[StrEnum]


@dataclass(frozen=True)
class Column:
    """One column, described once.

    ``unit`` is empty where a unit makes no sense. ``meaning`` is one sentence for the
    person who meets the column in a query result. ``words`` is the closed vocabulary of a text column;
    ``words_by`` where it depends on what another column of the row says: that column, and vocabularies by
    its words.
    """

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    words: Words | None = None
    words_by: tuple[str, Mapping[str, Words]] | None = None

    @cached_property
    def field(self) -> pa.Field:
        """The column as an Arrow field; unit and meaning travel as field metadata."""
        return pa.field(
            self.name,
            self.type,
            nullable=self.nullable,
            metadata={"unit": self.unit, "meaning": self.meaning},
        )


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    ``key`` identifies a row, ``partition`` is the folder layout, ``sort`` the order of
    rows within one written file, ``version`` changes only with a migration.
    """

    name: str
    version: int
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [c.name for c in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"table {self.name}: a column is described twice")
        for used in (*self.key, *self.partition, *self.sort):
            if used not in names:
                raise ValueError(f"table {self.name}: {used!r} is no column")

    @cached_property
    def schema(self) -> pa.Schema:
        """The table as an Arrow schema."""
        return pa.schema(
            [c.field for c in self.columns],
            metadata={"lwd.table": self.name, "lwd.version": str(self.version)},
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        """The column of this name. ``KeyError`` if there is none."""
        found = {c.name: c for c in self.columns}
        return found[name]
