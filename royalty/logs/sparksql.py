"""The rules' SQL in Spark's dialect: the few words in which it differs from DuckDB's, replaced one by one.

The rules are stated once, in `royalty.logs.rules`. What is not replaced here means the same to both
engines; where a statement says something that Spark does not know, Spark refuses it and nothing is counted.
"""

from __future__ import annotations

import re

# Hashes only find rows that might belong together, before they are compared in full: any hash will do.
# Microseconds, units and marks are never negative, so both divisions cut alike. A reason is text on
# Spark; its order among the others, which an ENUM has, is nowhere asked for.
_WORDS = (
    (r"\bENUM\([^()]*\)", "STRING"),
    (r"\bHUGEINT\b", "DECIMAL(38, 0)"),
    (r"\bVARCHAR\b", "STRING"),
    (r" // ", " div "),
    (r"\bhash\(", "xxhash64("),
    (r"\* EXCLUDE \(([^()]*)\) REPLACE \((.+) AS (\w+)\)", r"* EXCEPT (\1, \3), \2 AS \3"),
    (r"\* EXCLUDE \(", "* EXCEPT ("),
    (r"\bAS (?:NOT )?MATERIALIZED \(", "AS ("),
    (r"\bFILTER \((?!WHERE\b)", "FILTER (WHERE "),
    (r"\bregexp_full_match\((\w+), '([^'\\]*)'\)", r"regexp_like(\1, r'\\A(?:\2)\\z')"),
)
_RELATION = re.compile(r"\s*CREATE OR REPLACE TEMP (?:TABLE|VIEW) (\w+) AS\b(.*)", re.DOTALL)
_EMPTY = re.compile(r"\s*CREATE OR REPLACE TEMP TABLE (\w+) \(([^()]*)\)\s*")
_INSERT = re.compile(r"\s*INSERT INTO (\w+) (SELECT\b.*)", re.DOTALL)
_MACRO = re.compile(r"\s*CREATE OR REPLACE TEMP MACRO (\w+)\((\w+)\) AS\b(.*)", re.DOTALL)
_DROP = re.compile(r"\s*DROP (?:TABLE|VIEW) \w+\s*")


def to_spark(sql: str) -> str:
    """Return a query in Spark's dialect.

    >>> to_spark("SELECT CAST(units AS HUGEINT) // 2, count(*) FILTER (anonymous) FROM verdicts")
    'SELECT CAST(units AS DECIMAL(38, 0)) div 2, count(*) FILTER (WHERE anonymous) FROM verdicts'
    """
    for pattern, words in _WORDS:
        sql = re.sub(pattern, words, sql)
    return sql


def relation_of(sql: str) -> tuple[str, str] | None:
    """Return the name and the query of a statement that makes a table or a view of one, else None."""
    return _named(_RELATION, sql)


def empty_of(sql: str) -> tuple[str, str] | None:
    """Return the name and the columns of a statement that makes an empty table, else None."""
    return _named(_EMPTY, sql)


def insert_of(sql: str) -> tuple[str, str] | None:
    """Return the name of the table that a statement adds to, and the query of what it adds, else None."""
    return _named(_INSERT, sql)


def _named(pattern: re.Pattern[str], sql: str) -> tuple[str, str] | None:
    found = pattern.fullmatch(sql)
    return None if found is None else (found[1], to_spark(found[2]))


def macro_of(sql: str) -> str | None:
    """Return the statement that makes a test of one text, which DuckDB calls a macro, else None."""
    found = _MACRO.fullmatch(sql)
    if found is None:
        return None
    return (
        f"CREATE OR REPLACE TEMPORARY FUNCTION {found[1]}({found[2]} STRING) RETURNS BOOLEAN"
        f" RETURN {to_spark(found[3])}"
    )


def is_drop(sql: str) -> bool:
    """Return whether a statement drops a table or a view."""
    return _DROP.fullmatch(sql) is not None
