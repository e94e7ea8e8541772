"""Counting a log: how many units of each work, day and kind are qualified, and why the rest is not."""

from __future__ import annotations

import csv
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from royalty.days import Period
from royalty.errors import InputError
from royalty.logs.columns import Columns
from royalty.logs.days import DayPlan, may_be_planned, plan_days
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import (
    MEMORY,
    Progress,
    digests,
    distrusting,
    engine,
    is_full,
    make_rows,
    one_row,
    read_rows,
)
from royalty.logs.rules import apply_rules, drop_judged, judge_today, next_key, today_sql
from royalty.logs.sources import Source, unchanged
from royalty.sheets import csv_text
from royalty.usage import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from royalty.logs.aggregates import Aggregates

ROWS_AT_ONCE = 2_000_000
PLANNED_AT_ONCE = 1_000_000
UNMATCHED_LISTED = 10_000
KIND = {kind.value: kind for kind in Kind}
EXCLUDED_HEADER = ("reason", "file", "line", "detail", "usage_id", "work")

GOOD_ROWS = "SELECT * EXCLUDE (malformed) FROM rows WHERE malformed IS NULL"


class UnitRow(NamedTuple):
    """Qualified units of one work, UTC day and kind."""

    day: int
    catalogue: int
    index: int  # type: ignore[assignment]  # hides a method of tuple that nobody calls
    kind: Kind
    units: int


class WorkRow(NamedTuple):
    """What became of the rows of one work and kind that passed rules 1 to 4."""

    catalogue: int
    index: int  # type: ignore[assignment]  # hides a method of tuple that nobody calls
    kind: Kind
    rows: int
    qualified: int
    units: int


class UnmatchedRow(NamedTuple):
    """Rows of an id, as the log writes it, that is no work in an accepted catalogue with a deal."""

    work: str
    day: int
    kind: Kind
    rows: int


@dataclass(frozen=True, slots=True)
class Count:
    """What a log comes to: `rows` = `qualified` + the sum of `excluded`; all are rows but the units.

    `excluded` has each of the seven reasons, and those of the policy's steps. `without_identity` are
    qualified rows that rules 6 and 7 did not look at. `units` is sorted. `unmatched` lists those of most
    rows first, at most 10,000 of `unmatched_total`. `sources` carry SHA-256 and rows. `aggregates` are
    what files of sums come to, apart from all else (`royalty.logs.aggregates`).
    """

    rows: int
    qualified: int
    excluded: dict[str, int]
    without_identity: int
    units: list[UnitRow]
    works: list[WorkRow]
    unmatched: list[UnmatchedRow]
    unmatched_total: int
    sources: list[Source]
    aggregates: Aggregates | None = None


def count(
    sources: Sequence[Source],
    period: Period,
    matcher: WorkTable,
    policy: Policy | None = None,
    *,
    columns: Columns | None = None,
    excluded_to: Path | None = None,
    memory: str = MEMORY,
    progress: Progress | None = None,
) -> Count:
    """Return the qualified units of a log's period, and the other rows by reason.

    `columns`, where given, stands for every source's own. `excluded_to` names a CSV file to write that
    lists each excluded row with reason, file and line. `memory` bounds the database; what is more goes
    to a temporary folder. Raises InputError where a file cannot be read as a whole, or where an id of
    the period has two answers; bad rows are counted as `malformed`.
    """
    if columns is not None:
        sources = [replace(source, columns=columns) for source in sources]
    asked, listing = policy or Policy(), excluded_to is not None
    planned = not asked.needs and may_be_planned(sources)
    for way in (_by_day, _in_a_table) if planned else (_in_a_table,):
        with engine(memory) as con:  # a new one each time: a damaged file can spoil it
            counting = Counting(con, matcher, asked, period, listing=listing)
            counted = way(counting, sources, progress)
            if counted is None:
                continue
            read, rows = counted
            if excluded_to is not None:
                write_excluded(con, read, excluded_to)
            (malformed,) = one_row(con, "SELECT count(malformed) FROM rows")
            return counting.result(read, rows, int(malformed))
    raise AssertionError("a table holds any log")


def _in_a_table(
    counting: Counting, sources: Sequence[Source], progress: Progress | None
) -> tuple[list[Source], int] | None:
    """Count files that are put into one table first; return them as they were read, and the rows in all."""
    read = read_rows(counting.con, sources, progress, counting.policy)
    counting.add(GOOD_ROWS)
    (rows,) = one_row(counting.con, "SELECT count(*) FROM rows")
    return read, int(rows)


def _by_day(
    counting: Counting, sources: Sequence[Source], progress: Progress | None
) -> tuple[list[Source], int] | None:
    """Count files as they are read, a few days at a time; None where a table of all is needed."""
    import duckdb

    make_rows(counting.con)
    with unchanged([source.path for source in sources]):
        plan = plan_days(counting.con, sources, min(ROWS_AT_ONCE, PLANNED_AT_ONCE))
        if plan is None:
            return None
        told = DayProgress(sum(source.path.stat().st_size for source in sources), progress)
        read = plan.counted_sources(digests(sources, told.hashed))
        try:
            counted = counting.add_planned(plan, told)
        except duckdb.Error as error:
            if is_full(error):
                raise
            return None  # it cannot be read as it is typed: the slow reader knows what is wrong
    return (read, plan.rows) if counted and counting.rows_seen() == plan.rows else None


class DayProgress:
    """Tells of progress in bytes: a quarter of them for hashing the files, the rest as days are counted."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.progress = total, progress

    def hashed(self, done: int) -> None:
        """Tell that so many bytes were hashed."""
        self._tell(min(done, self.total) // 4)

    def counted(self, done: int, rows: int) -> None:
        """Tell that so many of all rows were counted."""
        self._tell(
            self.total // 4 + (self.total - self.total // 4) * min(done, rows) // max(rows, 1)
        )

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, self.total)


class Counting:
    """Adds up judged rows of any relation, a few days at a time, so that memory stays bounded."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        matcher: WorkTable,
        policy: Policy,
        period: Period,
        *,
        listing: bool = False,
    ) -> None:
        self.con, self.matcher, self.policy, self.period = con, matcher, policy, period
        self.listing = listing
        matcher.install(con)
        con.execute(_TOTALS)
        make_list(con)

    def add(self, rows: str, days: Period | None = None) -> None:
        """Judge and add up the rows of a relation (see `rules.apply_rules` for its shape).

        With `days`, only rows of these days are judged, the day before still looked at for ids.
        """
        for some in batches_of_days(self.con, rows, days):
            apply_rules(self.con, rows, some, self.policy, self.matcher, asked=self.period)
            self._add_judged()
            drop_judged(self.con)

    def add_planned(self, plan: DayPlan, told: DayProgress) -> bool:
        """Judge and add up files as they are read; malformed rows go to the table `rows`.

        Return False, and what was added up is nothing worth, where rows came that lie in no day asked for.
        """
        con, done = self.con, 0
        con.execute("CREATE TEMP TABLE before (key UBIGINT, usage_id VARCHAR, day INTEGER)")
        for days in plan.batches:
            with distrusting(con):
                con.execute(today_sql(plan.rows_sql(days), "TRUE", self.policy, ", malformed"))
            rows, malformed, since, until = one_row(
                con, "SELECT count(*), count(malformed), min(day), max(day) FROM today"
            )
            if rows and not days.since <= since <= until <= days.until:
                return False
            done += rows
            if malformed:
                con.execute(_KEEP_MALFORMED.format(rows="today"))
                con.execute("DELETE FROM today WHERE malformed IS NOT NULL")
            judge_today(con, "FROM before", days, self.policy, self.matcher, asked=self.period)
            self._add_judged()
            con.execute(_IDS_BEFORE.format(day=days.until))
            drop_judged(con)
            told.counted(done, plan.rows)
        if rest := plan.rest_sql():
            with distrusting(con):
                con.execute(_KEEP_MALFORMED.format(rows=f"({rest})"))
        told.counted(plan.rows, plan.rows)
        return True

    def rows_seen(self) -> int:
        """Return how many rows were judged or found malformed."""
        return sum(
            one_row(self.con, f"SELECT coalesce({what}, 0) FROM {table}")[0]
            for what, table in (("sum(rows)", "totals"), ("count(*)", "rows"))
        )

    def _add_judged(self) -> None:
        self.con.execute(_ADD)
        if self.listing:
            self.con.execute(_ADD_TO_LIST)

    def result(self, sources: list[Source], rows: int = 0, malformed: int = 0) -> Count:
        """Return what was added up; `malformed` of `rows` never came to the rules."""
        con = self.con
        excluded = dict.fromkeys(self.policy.reasons, 0)
        excluded["malformed"] = malformed
        for reason, number in _fetch(con, _EXCLUDED):
            excluded[reason] = int(number)
        qualified, anonymous = one_row(con, _QUALIFIED)
        (unmatched_total,) = one_row(con, _UNMATCHED_TOTAL)
        total = int(qualified) + sum(excluded.values())
        if rows and total != rows:
            raise AssertionError(f"{rows} rows were read but {total} counted")
        with _uncollected(), _exact():
            units = [UnitRow(d, c, i, KIND[k], u) for d, c, i, k, u in _fetch(con, _UNITS)]
            works = [WorkRow(c, i, KIND[k], n, q, u) for c, i, k, n, q, u in _fetch(con, _WORKS)]
        return Count(
            rows=total,
            qualified=int(qualified),
            excluded=excluded,
            without_identity=int(anonymous),
            units=units,
            works=works,
            unmatched=[
                UnmatchedRow(w, d, KIND[k], int(n)) for w, d, k, n in _fetch(con, _UNMATCHED)
            ],
            unmatched_total=int(unmatched_total),
            sources=sources,
        )


def batches_of_days(
    con: DuckDBPyConnection, rows: str, within: Period | None = None
) -> Iterator[Period]:
    """Yield ranges of days that together hold every row, each of few rows or of a single day."""
    some = f"WHERE day BETWEEN {within.since} AND {within.until}" if within else ""
    days = f"SELECT day, count(*) FROM ({rows}) {some} GROUP BY day ORDER BY day"
    since = until = None
    number = 0
    for day, found in con.execute(days).fetchall():
        if since is not None and until is not None and number + found > ROWS_AT_ONCE:
            yield Period(since, until)
            since, number = None, 0
        since = day if since is None else since
        until, number = day, number + found
    if since is not None and until is not None:
        yield Period(since, until)


def make_list(con: DuckDBPyConnection) -> None:
    """Make the table of excluded rows that `write_excluded` writes."""
    con.execute(_LIST)


def write_excluded(con: DuckDBPyConnection, sources: Sequence[Source], path: Path) -> None:
    """Write the listed rows and the malformed ones as CSV, in the order of the log.

    Columns: reason, file, line (a Parquet file's row), detail, usage_id, work. Ids are other
    people's text: they are made harmless for spreadsheets and terminals.
    """
    names = [str(source.path) for source in sources]
    found = con.execute(_SORTED_LIST)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(EXCLUDED_HEADER)
            while some := found.fetchmany(10_000):
                writer.writerows(_shown(row, names) for row in some)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None


def _shown(row: Sequence[Any], names: Sequence[str]) -> list[Any]:
    reason, file, line, *texts = row
    return [reason, csv_text(names[file]), line, *(text and csv_text(text) for text in texts)]


def _fetch(con: DuckDBPyConnection, sql: str) -> Iterator[tuple]:  # type: ignore[type-arg]
    found = con.execute(sql)
    while some := found.fetchmany(10_000):
        yield from some


@contextmanager
def _exact() -> Iterator[None]:
    """Say so where a sum has no room in 63 bits; it never wraps. Raises InputError."""
    import duckdb

    try:
        yield
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        raise InputError(
            f"one work has more than {2**63 - 1:,} units of a kind on a day or in all, which no count"
            " holds; look for times in the log that cannot be"
        ) from None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let no garbage be looked for while millions of rows are made, none of which is any: it took half of that."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


_TOTALS = """
CREATE OR REPLACE TEMP TABLE totals (day INTEGER, catalogue BIGINT, index BIGINT, work VARCHAR,
  kind UTINYINT, reason VARCHAR, rows BIGINT, units HUGEINT, anonymous BIGINT)"""

TOTALS = """
SELECT day, catalogue, index, NULL, kind, reason,
  count(*), sum(CASE WHEN reason IS NULL THEN units ELSE 0 END), count(*) FILTER (anonymous)
FROM verdicts WHERE unknown IS NULL GROUP BY ALL
UNION ALL
SELECT day, NULL, NULL, unknown, kind, reason, count(*), 0, 0
FROM five WHERE unknown IS NOT NULL GROUP BY ALL"""
"""What judged rows come to, in the columns of the table `totals`."""

_ADD = f"INSERT INTO totals {TOTALS}"

_KEEP_MALFORMED = """
INSERT INTO rows (file, line, resend, malformed)
SELECT file, line, resend, malformed FROM {rows} WHERE malformed IS NOT NULL"""

_IDS_BEFORE = f"""
CREATE OR REPLACE TEMP TABLE before AS
SELECT {next_key("usage_id", "day")} AS key, usage_id, day FROM today
WHERE usage_id IS NOT NULL AND day = {{day}}"""

_LIST = """
CREATE OR REPLACE TEMP TABLE listed (
  reason VARCHAR, file INTEGER, line BIGINT, detail VARCHAR, usage_id VARCHAR, work VARCHAR)"""

LISTED = """
SELECT reason, file, line, NULL, usage_id, work FROM judged WHERE reason IS NOT NULL"""
"""The excluded rows, in the columns of the table `listed`."""

_ADD_TO_LIST = f"INSERT INTO listed {LISTED}"

_SORTED_LIST = """
SELECT * FROM (
  SELECT 'malformed' AS reason, file, line, malformed AS detail, NULL AS usage_id, NULL AS work
  FROM rows WHERE malformed IS NOT NULL
  UNION ALL SELECT * FROM listed
) ORDER BY file, line"""

_EXCLUDED = "SELECT reason, sum(rows) FROM totals WHERE reason IS NOT NULL GROUP BY reason"

_QUALIFIED = """
SELECT coalesce(sum(rows), 0), coalesce(sum(anonymous), 0) FROM totals WHERE reason IS NULL"""

_UNITS = """
SELECT day, catalogue, index, kind, CAST(sum(units) AS BIGINT) FROM totals WHERE reason IS NULL
GROUP BY ALL ORDER BY day, catalogue, index, kind"""

_WORKS = """
SELECT catalogue, index, kind, CAST(sum(rows) AS BIGINT),
  CAST(coalesce(sum(rows) FILTER (reason IS NULL), 0) AS BIGINT), CAST(sum(units) AS BIGINT)
FROM totals
WHERE reason IS NULL OR reason NOT IN ('duplicate', 'outside_period', 'unmatched_work')
GROUP BY ALL ORDER BY catalogue, index, kind"""

_UNMATCHED_TOTAL = """
SELECT count(*) FROM (SELECT DISTINCT work, day, kind FROM totals WHERE reason = 'unmatched_work')"""

_UNMATCHED = f"""
SELECT work, day, kind, sum(rows) AS n FROM totals WHERE reason = 'unmatched_work'
GROUP BY work, day, kind ORDER BY n DESC, work, day, kind LIMIT {UNMATCHED_LISTED}"""
