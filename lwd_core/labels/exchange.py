"""What people said as a file, CSV or JSON, out of the lake and into it: the columns of `PersonLabel`.

A file goes back in as it came out and changes nothing. One from elsewhere needs ``episode_id``, ``kind`` and
``text``; who said it stands in it or is given.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pyarrow as pa

from lwd_core.errors import UserError, suggest
from lwd_core.labels.people import KINDS, PersonLabel
from lwd_core.lake.store import Lake

COLUMNS = ("episode_id", "by", "kind", "text", "detail", "from_s", "to_s", "at")
#: What an export of everything that was ever said has besides.
REPLACED = "replaced_at"
_NEEDED = ("episode_id", "kind", "text")


def people_said(lake: Lake, *, by: str = "", history: bool = False) -> pa.Table:
    """What people say, in the columns above; with ``history`` also what they said before, and until when."""
    kinds = " ".join(f"WHEN '{kind}' THEN '{name}'" for name, kind in KINDS.items())
    replaced = f", {_moment('l.replaced_ns')} AS {REPLACED}" if history else ""
    counts = "true" if history else "l.replaced_ns IS NULL"
    return lake.sql(
        f"SELECT l.episode_id, l.said_by AS by, CASE l.kind {kinds} END AS kind, l.text, l.detail, "
        "(l.start_ns - e.start_ns) / 1e9 AS from_s, (l.end_ns - e.start_ns) / 1e9 AS to_s, "
        f"{_moment('l.created_ns')} AS at{replaced} FROM labels l JOIN episodes e USING (episode_id) "
        f"WHERE l.said_by IS NOT NULL AND ? IN ('', l.said_by) AND {counts} "
        "ORDER BY l.created_ns, l.episode_id, l.layer_id, l.start_ns",
        (by,),
    )


def _moment(column: str) -> str:
    """SQL: a time in ns since the epoch as a text of UTC that keeps every digit."""
    return f"strftime(make_timestamp_ns({column}), '%Y-%m-%dT%H:%M:%S.%n') || 'Z'"


def read_labels(text: str, *, name: str, by: str = "") -> list[PersonLabel]:
    """The labels of a file: JSON if it begins like it, else CSV. ``by`` said what names nobody.

    What was replaced or taken back is so again. Raises `UserError` with the row of what is wrong.
    """
    labels: list[PersonLabel] = []
    for i, row in enumerate(_json(text, name) if text.lstrip()[:1] in ("[", "{") else _csv(text, name), 1):
        labels.append(_label(row, f"{name}, row {i}", by))
        replaced = _time(row.get(REPLACED), f"{name}, row {i}, {REPLACED}")
        if replaced is not None:
            labels.append(replace(labels[-1], text=None, at_ns=replaced))
    return labels


def _json(text: str, name: str) -> Sequence[Mapping[str, Any]]:
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: {error}; a list of objects, as `lwd label export --json` writes") from error
    if not isinstance(told, list) or not all(isinstance(row, dict) for row in cast("list[object]", told)):
        raise UserError(f"{name}: no list of objects, as `lwd label export --json` writes")
    rows = cast("list[dict[str, Any]]", told)
    for i, row in enumerate(rows, 1):
        _require(list(row), f"{name}, row {i}")
    return rows


def _csv(text: str, name: str) -> Sequence[Mapping[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows: list[dict[str, str | None]] = []
    try:
        _require(list(reader.fieldnames or ()), name)
        rows.extend(reader)
    except csv.Error as error:
        raise UserError(f"{name}, row {len(rows) + 1}: {error}; mend or shorten it") from error
    for i, row in enumerate(rows, 1):
        if None in cast("dict[str | None, str | None]", row) or None in row.values():
            raise UserError(f"{name}, row {i}: it has more or fewer cells than the head; mend it")
    return [{column: value or None for column, value in row.items()} for row in rows]


def _require(columns: Sequence[str], where: str) -> None:
    for column in columns:
        if column not in (*COLUMNS, REPLACED):
            raise UserError(f"{where}: no column {column!r}{suggest(column, COLUMNS)}")
    for column in _NEEDED:
        if column not in columns:
            raise UserError(f"{where}: column {column} is missing; add it")


def _label(row: Mapping[str, Any], where: str, by: str) -> PersonLabel:
    words = {name: _word(row.get(name), f"{where}, {name}") for name in (*_NEEDED, "by", "detail")}
    episode_id, kind, text = (words[name] for name in _NEEDED)
    if text is None:
        raise UserError(f"{where}: text is empty; leave the row out")
    if episode_id is None or kind is None:
        raise UserError(f"{where}: episode_id or kind is empty; say of which episode what it is")
    said_by = words["by"] or by
    if not said_by:
        raise UserError(f"{where}: nobody said it; name them in a column `by`, or with --by")
    return PersonLabel(
        episode_id=episode_id,
        by=said_by,
        kind=kind,
        text=text,
        detail=words["detail"],
        from_s=_number(row.get("from_s"), f"{where}, from_s"),
        to_s=_number(row.get("to_s"), f"{where}, to_s"),
        at_ns=_time(row.get("at"), f"{where}, at"),
    )


def _word(value: Any, where: str) -> str | None:
    if not isinstance(value, None | str):
        raise UserError(f"{where}: {value!r:.80} is no text; put it in quotes")
    return value


def _number(value: Any, where: str) -> float | None:
    try:
        if isinstance(value, bool):
            raise TypeError
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: {value!r:.80} is no number of seconds") from None


def _time(value: Any, where: str) -> int | None:
    """A moment in ISO form, UTC where it names no zone, as ns since the epoch."""
    said = _word(value, where)
    if said is None:
        return None
    try:
        whole, _, rest = said.removesuffix("Z").partition(".")
        digits = rest[:9] if rest.isdecimal() else ""
        moment = datetime.fromisoformat(whole if digits or not rest else said)
    except ValueError:
        raise UserError(f"{where}: {value!r} is no time; write 2026-01-31T12:00:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + (
        int(digits.ljust(9, "0")) if digits else since.microseconds * 1000
    )
