"""Which episodes a person looks at next, and why: queues, each a question to the lake.

What somebody has judged leaves a queue by itself; the same question by another person finds the rest.
"""

import re
from datetime import date
from typing import Any

import pyarrow as pa

from lwd_core.errors import UserError, suggest
from lwd_core.lake.query import WrongQuery, condition, text
from lwd_core.lake.read_only import admit_condition
from lwd_core.lake.store import Lake

#: The queues there are, with a line for a person.
QUEUES = {
    "failures": "failures that nobody has judged, the newest first",
    "unlabelled": "episodes that nobody has judged, the newest first",
    "doubts": "nobody has judged it, and a critic or model says otherwise: the furthest apart first",
    "agreement": "a random sample, the same for everybody, that this person has not judged",
    "contested": "episodes of whose outcome two people say different things",
}
#: Episodes of the sample that several people judge.
SAMPLE = 50
#: Episodes of a queue or a sample at most.
MOST = 1_000_000
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

_SHOWN = "e.episode_id, e.day, e.site, e.robot_id, e.task, e.outcome, e.steps, e.start_ns"
#: People's verdicts that count.
_JUDGED = "FROM labels WHERE kind = 'outcome' AND said_by IS NOT NULL AND replaced_ns IS NULL"
_NEWEST = "ORDER BY start_ns DESC, episode_id"
#: How far from an outcome of 0 or 1 what layers say of it is: the last value of the newest critic, a model's
#: probability of success, or its word.
_APART = """
told AS (
    SELECT episode_id, layer_id, arg_max(value, step) AS said, 'last value' AS what FROM labels
    WHERE day >= $since AND value IS NOT NULL AND layer_id = (
        SELECT layer_id FROM labels WHERE day >= $since AND starts_with(layer_id, 'value.')
        ORDER BY created_ns DESC, layer_id LIMIT 1) GROUP BY ALL
    UNION ALL
    SELECT episode_id, layer_id, if(value BETWEEN 0 AND 1, value, (text = 'success')::INT), text FROM labels
    WHERE day >= $since AND kind = 'outcome' AND said_by IS NULL AND replaced_ns IS NULL
    AND NOT starts_with(layer_id, 'outcome.recorded@') AND text IN ('success', 'failure')
), apart AS (
    SELECT t.*, abs(greatest(least(said, 1), 0) - (e.outcome = 'success')::INT) AS distance
    FROM told t JOIN episodes e USING (episode_id) WHERE e.outcome IN ('success', 'failure')
    QUALIFY row_number() OVER (PARTITION BY episode_id ORDER BY distance DESC, layer_id) = 1
)"""


def queue(
    lake: Lake, name: str, *, by: str = "", limit: int = 50, where: str = "true", since: str = "",
    sample: int = SAMPLE, seed: int = 0,
) -> pa.Table:  # fmt: skip
    """The next episodes of a queue for a person: what they are, ``why`` they are in it, how many ``wait``.

    ``where`` is SQL over ``episodes``, ``since`` the first day (YYYY-MM-DD) looked at: a critic says so much
    that the doubts of a year take seconds. ``sample`` and ``seed`` say which episodes those of ``agreement``
    are, ``score`` (0 to 1) orders the doubts. Raises `UserError` for no such queue or day, and a condition
    that means nothing.
    """
    if name not in QUEUES:
        raise UserError(f"queue {name}: no such queue{suggest(name, QUEUES)}")
    if name == "agreement" and not by:
        raise UserError("queue agreement: say for whom it is, with --by NAME")
    if not 0 < limit <= MOST or not 0 < sample <= MOST:
        raise UserError(f"queue {name}: of {limit} episodes, {sample} in the sample; give 1 to {MOST}")
    if since and not _is_day(since):
        raise UserError(f"queue {name}, since {since!r}: no day; write 2026-01-31")
    try:
        statement, params = _statement(name, by, where, since, sample, seed)
        whole = f"{statement.replace('SELECT ', 'SELECT count(*) OVER () AS wait, ', 1)} LIMIT {limit}"
        if name == "doubts":
            whole = f"WITH {_APART.replace('$since', text(since))} {whole}"
        if where != "true":
            admit_condition(whole, params)
        return lake.sql(whole, params)
    except WrongQuery as error:
        raise UserError(f"queue {name}, where: {error}") from error


def _is_day(said: str) -> bool:
    try:
        return bool(_DAY.fullmatch(said)) and bool(date.fromisoformat(said))
    except ValueError:
        return False


def _statement(name: str, by: str, where: str, since: str, sample: int, seed: int) -> tuple[str, list[Any]]:
    here = f"WHERE {condition(where)} AND e.day >= {text(since)}"
    unjudged = f"{here} AND e.episode_id NOT IN (SELECT episode_id {_JUDGED})"
    plain = "NULL::DOUBLE AS score FROM episodes e"
    match name:
        case "failures":
            why = "'recorded as failure by ' || outcome_from AS why"
            return f"SELECT {_SHOWN}, {why}, {plain} {unjudged} AND outcome = 'failure' {_NEWEST}", []
        case "unlabelled":
            return f"SELECT {_SHOWN}, 'nobody has judged it' AS why, {plain} {unjudged} {_NEWEST}", []
        case "doubts":
            why = "format('{}: {} {:.2f}, recorded as {}', layer_id, what, said, outcome) AS why"
            return (
                f"SELECT {_SHOWN}, {why}, a.distance AS score FROM episodes e "
                f"JOIN apart a USING (episode_id) {unjudged} AND a.distance > 0.5 "
                "ORDER BY score DESC, start_ns DESC, episode_id"
            ), []
        case "agreement":
            drawn = f"SELECT * FROM episodes e {here} ORDER BY md5(? || episode_id) LIMIT {sample}"
            return (
                f"SELECT {_SHOWN}, 'one of {sample} that several people judge' AS why, NULL::DOUBLE AS score "
                f"FROM ({drawn}) e WHERE episode_id NOT IN (SELECT episode_id {_JUDGED} AND said_by = ?) "
                "ORDER BY md5(? || episode_id)"
            ), [str(seed), by, str(seed)]
        case _:
            said = "string_agg(said_by || ': ' || text, ', ' ORDER BY said_by) AS said"
            split = f"SELECT episode_id, {said} {_JUDGED} GROUP BY ALL HAVING count(DISTINCT text) > 1"
            return (
                f"SELECT {_SHOWN}, p.said AS why, NULL::DOUBLE AS score FROM episodes e "
                f"JOIN ({split}) p USING (episode_id) {here} {_NEWEST}"
            ), []
