"""What a person's query may do: read. Decided by DuckDB's own parser and by the plan it would run.

The kind of a statement is not enough: a SELECT may hold a COPY in its WITH, and a table function may run
another statement that is written as a text. So the statement is planned first, and every operator and table
function of the plan is looked at; functions that nobody here knows are refused.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, cast

from lwd_core.lake.query import Wrong, WrongQuery, connection, fence, kind, require_select, scan
from storage_schemas.tables import TABLES

#: Table functions that read the files the connection may read, or nothing.
_READS = re.compile(
    r"read_(parquet|csv|csv_auto|text|blob|(nd)?json(_auto|_objects|_objects_auto)?)|parquet_\w+|duckdb_\w+"
    r"|pragma_(collations|database_size|metadata_info|platform|show|storage_info|table_info|user_agent|version)"
    r"|range|generate_series|repeat|repeat_row|unnest|json_each|json_tree|seq_scan|summary|glob|sniff_csv"
    r"|query|query_table|test_all_types|test_vector_types|icu_calendar_names|pg_timezone_names|which_secret"
)
#: Table functions that read no file.
_COMPUTES = re.compile(r"range|generate_series|repeat|repeat_row|unnest|json_each|json_tree|seq_scan|summary")
_WRITES = re.compile(
    r"(batch_)?(copy|insert|update|delete|merge|create|drop|alter|attach|detach|export)(_.*)?"
)
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\b\s*)?(\([\w\s,]*\)\s*)?", re.IGNORECASE)
_PRAGMAS = re.compile(r"\s*PRAGMA\s+(table_info|show|show_tables|database_list|version)\b", re.IGNORECASE)


def admit_condition(statement: str, params: Sequence[Any] = ()) -> None:
    """Raise ``WrongQuery`` unless a query with a person's conditions reads the lake's tables alone, no file.

    It is planned, over tables that hold nothing.
    """
    con = _empty_lake().cursor()
    require_select(con, statement)
    try:
        _admit(con, statement, "SELECT", params, _COMPUTES)
    except Wrong as error:
        raise WrongQuery(error) from error


@cache
def _empty_lake() -> Any:
    con = connection()
    for table in TABLES.values():
        con.execute(f'CREATE TABLE "{table.name}" AS {scan(table, [])}')
    # or a part of the plan that finds no row is left out of it, with what it would call
    con.execute("PRAGMA disable_optimizer")
    fence(con, [])
    return con


def admit(con: Any, text: str, params: Sequence[Any] = ()) -> None:
    """Raise ``WrongQuery`` unless every statement of ``text`` only reads. Nothing is run.

    ``params`` stand for the marks of a single statement.
    """
    statements = con.extract_statements(text)
    if not statements:
        raise WrongQuery("there is no statement in it; write a SELECT")
    for statement in statements:
        _admit(con, statement.query, kind(statement), params)


def _admit(
    con: Any, text: str, is_a: str, params: Sequence[Any] = (), functions: re.Pattern[str] = _READS
) -> None:
    if is_a == "EXPLAIN":
        text, is_a = _explained(con, text)
    if is_a == "PRAGMA" and _PRAGMAS.match(text):
        return
    if is_a == "MULTI":
        raise WrongQuery("a PIVOT must name its columns here; write PIVOT … ON column IN (values)")
    if is_a != "SELECT":
        raise WrongQuery(
            f"{is_a or 'this'} is not admitted, it may change something; a query here only reads"
        )
    # a line of its own, so that DuckDB's messages point to the right column
    (_, plan), *_ = con.execute(f"EXPLAIN (FORMAT json)\n{text}", params or None).fetchall()
    known = _table_functions()
    for name, function in _operators(json.loads(plan)):
        if _WRITES.fullmatch(name):
            raise WrongQuery(f"it holds {name.upper()}, which writes; a query here only reads")
        for called in {function, *({name} & known)} - {""}:
            if not functions.fullmatch(called):
                does = "do more than read" if functions is _READS else "read what is not the lake's"
                raise WrongQuery(f"the function {called} is not admitted, it may {does}")


@cache
def _table_functions() -> frozenset[str]:
    rows = connection().execute("SELECT function_name FROM duckdb_functions() WHERE function_type = 'table'")
    return frozenset(name for (name,) in rows.fetchall())


def _operators(nodes: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Name of every operator of a plan, and of the table function it calls or nothing."""
    for node in nodes:
        more = node.get("extra_info")
        function = cast("dict[str, Any]", more).get("Function", "") if isinstance(more, dict) else ""
        yield str(node["name"]).strip().lower(), str(function).strip().lower()
        yield from _operators(node.get("children", []))


def _explained(con: Any, text: str) -> tuple[str, str]:
    """The statement an EXPLAIN is about, and its kind. No comment may hide where that one begins."""
    head = _EXPLAIN.match(text)
    if head:
        rest = text[head.end() :]
        with suppress(Wrong, ValueError):
            (statement,) = con.extract_statements(rest)
            return rest, kind(statement)
    raise WrongQuery("an EXPLAIN that can't be looked into; write EXPLAIN or EXPLAIN ANALYZE, then a SELECT")
