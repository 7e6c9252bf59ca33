"""What a table's log knows of one of its data files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DataFile:
    """One data file: path below the table, size in bytes, partition values, and what its columns hold.

    ``low`` and ``high`` bound the values of some columns, ``nulls`` counts nulls.
    """

    path: str
    size: int
    rows: int
    partition: Mapping[str, str]
    low: Mapping[str, Any]
    high: Mapping[str, Any]
    nulls: Mapping[str, int]

    def may_hold(self, column: str, values: Sequence[Any]) -> bool:
        """Whether a row of it may have one of the values, null among them, as far as the log tells."""
        if column in self.partition:
            return self.partition[column] in values
        low, high = self.low.get(column), self.high.get(column)
        if low is None or high is None or None in values:
            return True
        return any(low <= value <= high for value in values)

    @property
    def statistics(self) -> str:
        """The statistics as Delta writes them."""
        stats = {
            "numRecords": self.rows,
            "minValues": self.low,
            "maxValues": self.high,
            "nullCount": self.nulls,
        }
        return json.dumps(stats, ensure_ascii=False)
