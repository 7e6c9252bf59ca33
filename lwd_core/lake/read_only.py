"""What a person's query may do: read. Decided by DuckDB's own parser and by the plan it would run.

The kind of a statement is not enough: a SELECT may hold a COPY in its WITH, and a table function may run
another statement that is written as a text. So the statement is planned first, and every operator and table
function of the plan is looked at; functions that nobody here knows are refused.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lwd_core.errors import UserError
from lwd_core.lake.query import Wrong, kind

#: Table functions that read the files the connection may read, or nothing.
_READS = re.compile(
    r"read_(parquet|csv|csv_auto|text|blob|(nd)?json(_auto|_objects|_objects_auto)?)|parquet_\w+|duckdb_\w+"
    r"|pragma_(collations|database_size|metadata_info|platform|show|storage_info|table_info|user_agent|version)"
    r"|range|generate_series|repeat|repeat_row|unnest|json_each|json_tree|seq_scan|summary|glob|sniff_csv"
    r"|query|query_table|test_all_types|test_vector_types|icu_calendar_names|pg_timezone_names|which_secret"
)
_WRITES = re.compile(
    r"(batch_)?(copy|insert|update|delete|merge|create|drop|alter|attach|detach|export)(_.*)?"
)
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\b\s*)?(\([\w\s,]*\)\s*)?", re.IGNORECASE)
_PRAGMAS = re.compile(r"\s*PRAGMA\s+(table_info|show|show_tables|database_list|version)\b", re.IGNORECASE)


def admit(con: Any, text: str) -> None:
    """Raise UserError unless every statement of ``text`` only reads. Nothing is run."""
    statements = con.extract_statements(text)
    if not statements:
        raise UserError("query: there is no statement in it; write a SELECT")
    for statement in statements:
        _admit(con, statement.query, kind(statement))


def _admit(con: Any, text: str, is_a: str) -> None:
    if is_a == "EXPLAIN":
        text, is_a = _explained(con, text)
    if is_a == "PRAGMA" and _PRAGMAS.match(text):
        return
    if is_a == "MULTI":
        raise UserError("query: a PIVOT must name its columns here; write PIVOT … ON column IN (values)")
    if is_a != "SELECT":
        raise UserError(
            f"query: {is_a or 'this'} is not admitted, it may change something; a query here only reads"
        )
    # a line of its own, so that DuckDB's messages point to the right column
    (_, plan), *_ = con.execute(f"EXPLAIN (FORMAT json)\n{text}").fetchall()
    functions = {name for (name,) in con.execute(_FUNCTIONS).fetchall()}
    for name, function in _operators(json.loads(plan)):
        if _WRITES.fullmatch(name):
            raise UserError(f"query: it holds {name.upper()}, which writes; a query here only reads")
        for called in {function, *({name} & functions)} - {""}:
            if not _READS.fullmatch(called):
                raise UserError(f"query: the function {called} is not admitted, it may do more than read")


_FUNCTIONS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table'"


def _operators(nodes: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Name of every operator of a plan, and of the table function it calls or nothing."""
    for node in nodes:
        more = node.get("extra_info")
        function = more.get("Function", "") if isinstance(more, dict) else ""
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
    raise UserError(
        "query: an EXPLAIN that can't be looked into; write EXPLAIN or EXPLAIN ANALYZE, then a SELECT"
    )
