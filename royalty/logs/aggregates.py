"""Sums of other programs: units per work, day and kind without rows, which rules 1, 3 and 4 alone can judge.

They are shown apart and never reported: nobody can say which of their units are duplicates, too short or
too many of one viewer, and a sum of a month has no day of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.days import Period, format_day
from royalty.logs.counting import (
    UNMATCHED_LISTED,
    Count,
    UnitRow,
    UnmatchedRow,
    make_list,
    write_excluded,
)
from royalty.logs.formats import FORMATS
from royalty.logs.matching import WorkTable
from royalty.logs.policy import REASONS
from royalty.logs.reading import Progress, engine, make_rows, one_row, read_sums
from royalty.logs.rules import matches_sql, refuse_ambiguous
from royalty.logs.sources import Source
from royalty.usage import KINDS, Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

JUDGED_BY = ("malformed", "outside_period", "unmatched_work")
MAX_UNITS = 10**12


@dataclass(frozen=True, slots=True)
class Aggregates:
    """What sums come to: `rows` = `qualified` + the sum of `excluded`; `units` stand on the last day.

    `unmatched` lists ids that are no work of an accepted catalogue, those of most rows first.
    """

    rows: int
    qualified: int
    excluded: dict[str, int]
    units: list[UnitRow]
    unmatched: list[UnmatchedRow]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        total = {kind.word: 0 for kind in Kind}
        for row in self.units:
            total[row.kind.word] += row.units
        return {
            "rows": self.rows,
            "qualified": self.qualified,
            "excluded": dict(self.excluded),
            "units": total,
            "works": [
                {
                    "day": format_day(row.day),
                    "work": f"{row.catalogue}/{row.index}",
                    "kind": row.kind.word,
                    "units": row.units,
                }
                for row in self.units
            ],
        }


def are_sums(sources: Sequence[Source]) -> bool:
    """Return whether files hold sums, and so no rows."""
    return any(one.format in FORMATS and FORMATS[one.format].sums for one in sources)


def add_up(
    sources: Sequence[Source],
    period: Period,
    matcher: WorkTable,
    *,
    excluded_to: Path | None = None,
    memory: str = "1GB",
    progress: Progress | None = None,
) -> Count:
    """Return a count without rows, whose `aggregates` are what the sums of a period come to.

    A sum belongs to the period if all of its days do, and to the deal of the last of them. Raises
    InputError as `count` does.
    """
    with engine(memory) as con:
        make_rows(con)
        make_list(con)
        con.execute(_SUMS)
        read = read_sums(con, sources, _insert_sql, progress)
        con.execute(_BAD)
        matcher.install(con)
        con.execute(matches_sql("sums"))
        con.execute(_judged_sql(period))
        refuse_ambiguous(con, matcher, "judged")
        con.execute(_LISTED)
        if excluded_to is not None:
            write_excluded(con, read, excluded_to)
        return _result(con, read)


def _insert_sql(file: int) -> str:
    """Return the SQL that keeps the registered table `batch`, each sum with why it is malformed."""
    return f"""
INSERT INTO sums
WITH texts AS (
  SELECT line, broken, nullif(c0, '') AS work, c1 AS kind, TRY_CAST(c2 AS DATE) - DATE '1970-01-01' AS since,
    TRY_CAST(c3 AS DATE) - DATE '1970-01-01' AS day,
    CASE WHEN regexp_full_match(c4, '[0-9]{{1,12}}') THEN CAST(c4 AS BIGINT) END AS units
  FROM batch
)
SELECT {file}, line, work, kind, since, day, units,
  CASE WHEN broken IS NOT NULL THEN broken WHEN work IS NULL THEN 'work is missing'
    WHEN since IS NULL OR day IS NULL OR day < since THEN 'its days cannot be read'
    WHEN units IS NULL OR units > {MAX_UNITS} THEN 'its units cannot be read' END
FROM texts"""


def _judged_sql(asked: Period) -> str:
    return f"""
CREATE OR REPLACE TEMP TABLE judged AS
WITH dealt AS (
  SELECT DISTINCT matches.work, matches.catalogue, matches.index, day
  FROM (SELECT DISTINCT work, day FROM sums) AS seen
  JOIN matches ON seen.work = matches.work
  JOIN deals ON deals.catalogue = matches.catalogue
    AND seen.day >= deals.since AND (deals.until IS NULL OR seen.day < deals.until)
)
SELECT sums.*, dealt.catalogue, dealt.index,
  CASE WHEN since < {asked.since} OR sums.day > {asked.until} THEN 'outside_period'
    WHEN dealt.work IS NULL THEN 'unmatched_work' END AS reason
FROM sums LEFT JOIN dealt ON sums.work = dealt.work AND sums.day = dealt.day
WHERE malformed IS NULL"""


def _result(con: DuckDBPyConnection, read: list[Source]) -> Count:
    rows, malformed = one_row(con, "SELECT count(*), count(malformed) FROM sums")
    excluded = dict.fromkeys(JUDGED_BY, 0)
    excluded["malformed"] = int(malformed)
    for reason, number in con.execute(_EXCLUDED).fetchall():
        excluded[reason] = int(number)
    units = [
        UnitRow(day, catalogue, index, KINDS[kind], int(total))
        for day, catalogue, index, kind, total in con.execute(_UNITS).fetchall()
    ]
    unmatched = [
        UnmatchedRow(work, day, KINDS[kind], int(number))
        for work, day, kind, number in con.execute(_UNMATCHED).fetchall()
    ]
    qualified = int(rows) - sum(excluded.values())
    found = Aggregates(int(rows), qualified, excluded, units, unmatched)
    nothing = Count(0, 0, dict.fromkeys(REASONS, 0), 0, [], [], [], 0, read)
    return replace(nothing, aggregates=found)


_SUMS = """
CREATE TEMP TABLE sums (file INTEGER, line BIGINT, work VARCHAR, kind VARCHAR, since INTEGER, day INTEGER,
  units BIGINT, malformed VARCHAR)"""

_BAD = """
INSERT INTO rows (file, line, malformed) SELECT file, line, malformed FROM sums WHERE malformed IS NOT NULL"""

_LISTED = """
INSERT INTO listed SELECT reason, file, line, NULL, NULL, work FROM judged WHERE reason IS NOT NULL"""

_EXCLUDED = "SELECT reason, count(*) FROM judged WHERE reason IS NOT NULL GROUP BY reason"

_UNITS = """
SELECT day, catalogue, index, kind, sum(units) FROM judged WHERE reason IS NULL
GROUP BY ALL ORDER BY day, catalogue, index, kind"""

_UNMATCHED = f"""
SELECT work, day, kind, count(*) AS n FROM judged WHERE reason = 'unmatched_work'
GROUP BY work, day, kind ORDER BY n DESC, work, day, kind LIMIT {UNMATCHED_LISTED}"""
