"""Every episode of the lake in memory, one row each, as one version of its tables saw it.

What the grid filters, sorts and counts: the table ``episodes``, and what labels say of an episode as a whole.
A catalogue never changes; where the lake has moved on there is another.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lwd_core.lake import query
from lwd_core.lake.delta import VersionGone
from lwd_core.lake.store import Lake
from lwd_core.studio.conditions import MEMORY, Conditions
from lwd_core.studio.filters import EpisodeFilter
from lwd_core.studio.parts import PartitionRows
from storage_schemas.tables import EPISODES, LABELS

#: Orders of episodes kept, and catalogues: the newest and the one a page may still be scrolling through.
ORDERS, KEPT = 8, 2
#: Columns a card shows.
CARD = (
    "episode_id", "day", "site", "robot_id", "task", "policy_id", "source", "outcome", "outcome_from",
    "steps", "human_steps", "interventions", "start_ns // 1000000 AS start_ms",
    "(end_ns - start_ns) / 1e9 AS seconds", "quality", "checks_failed", "value_drop", "said", "said_by",
    "disagree",
)  # fmt: skip
#: Columns whose words are offered to filter by.
WORDS = ("task", "robot_id", "policy_id", "outcome", "source", "site", "quality", "said_by")

_FACTS = "SELECT * FROM rows"
# A newer version of a check or critic speaks for the one before. The drop is how far V falls below what it
# had reached.
_LABELS = """
WITH checked AS (
    SELECT episode_id, day, site, count(*) FILTER (text = 'fail') AS checks_failed,
        CASE WHEN bool_or(text = 'fail') THEN 'fail' WHEN bool_or(text = 'unknown') THEN 'unknown'
        ELSE 'pass' END AS quality
    FROM (SELECT * FROM rows WHERE kind = 'quality' AND text IS NOT NULL QUALIFY created_ns = max(created_ns)
        OVER (PARTITION BY episode_id, split_part(layer_id, '@', 1), "check"))
    GROUP BY ALL
), expected AS (
    SELECT episode_id, day, site, max(value) OVER
        (PARTITION BY episode_id ORDER BY step ROWS UNBOUNDED PRECEDING) - value AS fall
    FROM (SELECT * FROM rows WHERE starts_with(layer_id, 'value.') AND step IS NOT NULL AND value IS NOT NULL
        QUALIFY layer_id = first_value(layer_id) OVER
        (PARTITION BY episode_id ORDER BY created_ns DESC, layer_id))
), dropped AS (
    SELECT episode_id, day, site, max(fall) AS value_drop FROM expected GROUP BY ALL
), outcomes AS (
    SELECT episode_id, day, site, list(DISTINCT text ORDER BY text) FILTER (text <> 'unknown') AS told,
        arg_max(text, created_ns) FILTER (said_by IS NOT NULL) AS said,
        arg_max(said_by, created_ns) FILTER (said_by IS NOT NULL) AS said_by
    FROM rows WHERE kind = 'outcome' AND step IS NULL AND replaced_ns IS NULL GROUP BY ALL
)
SELECT episode_id, day, site, any_value(quality) AS quality, any_value(checks_failed) AS checks_failed,
    any_value(value_drop) AS value_drop, any_value(told) AS told, any_value(said) AS said,
    any_value(said_by) AS said_by
FROM (FROM checked UNION ALL BY NAME FROM dropped UNION ALL BY NAME FROM outcomes) GROUP BY ALL
"""
_JOINED = """
SELECT e.*, e.attributes ->> '$.seed' AS scene, l.quality, coalesce(l.checks_failed, 0)::INT AS checks_failed,
    l.value_drop, l.said, l.said_by,
    coalesce(list_contains(l.told, if(e.outcome = 'success', 'failure', 'success')), false)
    AND (e.outcome <> 'unknown' OR len(l.told) > 1) AS disagree
FROM facts e LEFT JOIN labelled l USING (episode_id, day, site) ORDER BY e.start_ns DESC, e.episode_id
"""


class Catalogue:
    """One version: ``number`` counts up, ``episodes`` says how many there are, ``versions`` of which tables
    it is."""

    def __init__(
        self, lake: Lake, number: int, versions: Mapping[str, int], facts: pa.Table, labelled: pa.Table
    ) -> None:
        self._lake, self.number, self.versions = lake, number, dict(versions)
        self._con = query.connection()
        made = {"facts": facts, "labelled": labelled}
        for name, rows in made.items():
            self._con.register(name, rows)
        self._con.execute(f"CREATE TABLE episodes AS {_JOINED}")
        for name in made:
            self._con.unregister(name)
        self._con.execute(f"SET memory_limit = '{MEMORY}'")
        query.fence(self._con, [])
        self.episodes = facts.num_rows
        self._orders: OrderedDict[EpisodeFilter, npt.NDArray[np.int32]] = OrderedDict()
        self._conditions: Conditions | None = None
        self._lock = threading.Lock()

    def order(self, wanted: EpisodeFilter) -> npt.NDArray[np.int32]:
        """Rows of the episodes that pass a filter, in its order. Raises `UserError` for a wrong condition."""
        with self._lock:
            if wanted in self._orders:
                self._orders.move_to_end(wanted)
                return self._orders[wanted]
        condition, params = wanted.condition()
        statement = f"SELECT rowid::INT AS row FROM episodes WHERE {condition} ORDER BY {wanted.order_by()}"
        rows = (
            self._theirs(statement, params)
            if wanted.where
            else self.ask(statement, params).column("row").to_numpy()
        )
        with self._lock:
            self._orders[wanted] = rows
            while len(self._orders) > ORDERS:
                self._orders.popitem(last=False)
        return rows

    def cards(self, rows: npt.NDArray[np.int32], columns: Sequence[str] = CARD) -> list[dict[str, Any]]:
        """Facts of these rows, in their order."""
        shown = ", ".join(columns)
        asked = rows.tolist()
        of = f"rowid IN ({', '.join(map(str, asked)) or -1})"
        found = self.ask(f"SELECT rowid::INT AS row, {shown} FROM episodes WHERE {of}").to_pylist()
        by_row = {card.pop("row"): card for card in found}
        return [by_row[row] for row in asked if row in by_row]

    def row(self, episode_id: str) -> int | None:
        """The row of an episode; None where the lake has none of that id."""
        found = self.ask("SELECT rowid::INT AS row FROM episodes WHERE episode_id = ?", (episode_id,))
        return found.column("row")[0].as_py() if found.num_rows else None

    def counts(self, wanted: EpisodeFilter) -> dict[str, list[tuple[str | None, int]]]:
        """How many of the episodes that pass have each word, by column, most first; a few hundred words."""
        con = self._con.cursor()
        con.register("chosen", pa.table({"row": self.order(wanted)}))
        sets = ", ".join(f"({name})" for name in WORDS)
        flags = ", ".join(f"grouping({name}) AS of_{name}" for name in WORDS)
        rows = query.run(
            con,
            f"SELECT {', '.join(WORDS)}, {flags}, count(*) AS n FROM episodes JOIN chosen ON rowid = row "
            f"GROUP BY GROUPING SETS ({sets}) ORDER BY n DESC, {', '.join(WORDS)}",
        ).to_pylist()
        con.close()
        found: dict[str, list[tuple[str | None, int]]] = {name: [] for name in WORDS}
        for row in rows:
            (name,) = (name for name in WORDS if not row[f"of_{name}"])
            if len(found[name]) < 300:
                found[name].append((row[name], row["n"]))
        return found

    def ask(self, statement: str, params: Sequence[Any] = ()) -> pa.Table:
        """Rows of a query of ours over ``episodes``."""
        return query.run(self._con.cursor(), statement, params)

    def _theirs(self, statement: str, params: Sequence[Any]) -> npt.NDArray[np.int32]:
        """A query that holds a person's condition.

        One that names other tables than ``episodes`` is asked of the lake's, at this version.
        """
        with self._lock:
            if self._conditions is None:
                self._conditions = Conditions(self.ask("SELECT * FROM episodes ORDER BY rowid"))
            conditions = self._conditions
        try:
            try:
                return conditions.rows(statement, params)
            except query.NoSuchTable:
                versions = self._lake.versions() | self.versions
                return conditions.rows_beside(self._lake, versions, statement, params)
        except query.Wrong as error:
            raise query.WrongQuery(error) from error


class Catalogues:
    """The newest catalogue of a lake, and those before that a page may still be reading.

    ``every_s``: how often the lake is looked at, at most.
    """

    def __init__(self, lake: Lake, *, every_s: float = 2.0) -> None:
        self._lake, self._every_s = lake, every_s
        self._facts = PartitionRows(EPISODES, _FACTS)
        self._labelled = PartitionRows(LABELS, _LABELS)
        self._kept: dict[int, Catalogue] = {}
        self._lock = threading.Lock()
        self._looked = float("-inf")

    def newest(self, *, now: bool = False) -> Catalogue:
        """The newest there is. Waits for the first, and with ``now`` for the lake as it is."""
        if not self._kept:
            with self._lock:
                if not self._kept:  # the grid stands before what labels say of it is summed up
                    self._look(labelled=False)
        if now:
            with self._lock:
                self._look()
        return next(reversed(self._kept.values()))

    def follow(self) -> None:
        """Look whether the lake has moved on, unless somebody is looking or has a moment ago."""
        if time.monotonic() - self._looked < self._every_s or not self._lock.acquire(blocking=False):
            return
        try:
            self._look()
            self._looked = time.monotonic()
        finally:
            self._lock.release()

    def close(self) -> None:
        """End a look at the lake that is under way: a thread that is left in the middle of a query ends the
        process by force."""
        self._facts.stop()
        self._labelled.stop()

    def at(self, number: int | None) -> Catalogue:
        """The catalogue of a number, the newest where it is gone."""
        kept = self._kept.get(number) if number is not None else None
        return kept or self.newest()

    def _look(self, *, labelled: bool = True) -> None:
        last = next(reversed(self._kept.values()), None)
        while True:
            names = ("episodes", "labels") if labelled else ("episodes",)
            versions = {name: v for name in names if (v := self._lake.version(name)) is not None}
            if last is not None and last.versions == versions:
                return
            try:
                facts = self._facts.follow(self._lake, versions.get("episodes"))
                told = self._labelled.follow(self._lake, versions.get("labels"))
                break
            except (*query.Unreadable, VersionGone) as error:
                if all(self._lake.version(name) == version for name, version in versions.items()):
                    raise query.Damaged(self._lake.root, error) from error
        number = last.number + 1 if last else 1
        made = Catalogue(self._lake, number, versions, facts, told)
        # another dictionary: whoever is reading the one before goes on
        self._kept = {**dict(list(self._kept.items())[1 - KEPT :]), number: made}
