"""A long log of typed Parquet, judged as its files are read: a few days at a time in a bounded table.

No row is kept beyond its days but the malformed ones, and the ids of the day before. Files that are
nearly in the order of time are read once, and their starts twice. Others are put
into one table first (`reading.read_rows`), as every other log is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from royalty.days import MAX_DAY, Period, format_day
from royalty.logs.fastparquet import FastParquet, fast_parquet
from royalty.logs.parquetrows import read_parquet
from royalty.logs.reading import distrusting, first_file, is_full
from royalty.logs.rowsql import day_sql, fast_rows_sql
from royalty.logs.sources import Source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TWICE_READ = 1.5
"""How often a row may be read, on average, before one table for all is taken instead (chosen, not measured)."""
MAX_FILES = 500


@dataclass(frozen=True, slots=True)
class Group:
    """A row group's rows: their file's place, the days they lie in, how many, and those without a start.

    Where no row has a start, `since` is after `until`.
    """

    file: int
    since: int
    until: int
    rows: int
    nulls: int


@dataclass(frozen=True, slots=True)
class DayPlan:
    """Files to be read by day: how each is read, its row groups, and the days that go together."""

    sources: tuple[Source, ...]
    fasts: tuple[FastParquet, ...]
    groups: tuple[Group, ...]
    batches: tuple[Period, ...]
    first: int

    @property
    def rows(self) -> int:
        """How many rows the files have."""
        return sum(group.rows for group in self.groups)

    def rows_sql(self, days: Period) -> str:
        """Return the SQL of the rows that start on some days, malformed ones too, with their `malformed`."""
        since, until = format_day(days.since), format_day(days.until + 1)
        return self._of(
            {g.file for g in self.groups if g.since <= days.until and days.since <= g.until},
            lambda fast: (
                f"{fast.started} >= {fast.instant(since)} AND {fast.started} < {fast.instant(until)}"
            ),
        )

    def rest_sql(self) -> str:
        """Return the SQL of the rows that have no start, empty where there is none."""
        return self._of(
            {g.file for g in self.groups if g.nulls}, lambda fast: f"{fast.started} IS NULL"
        )

    def _of(self, files: Iterable[int], where: Callable[[FastParquet], str]) -> str:
        parts = []
        for at in sorted(files):
            fast, columns = self.fasts[at], self.sources[at].columns.for_steps({})
            parts.append(
                fast_rows_sql(columns, fast, self.first + at, f" WHERE {where(fast)}", bare=False)
            )
        return "\nUNION ALL\n".join(f"SELECT * FROM ({part})" for part in parts)

    def counted_sources(self, digests: Sequence[str]) -> list[Source]:
        """Return the sources with their SHA-256 and rows."""
        rows = [0] * len(self.sources)
        for group in self.groups:
            rows[group.file] += group.rows
        return [
            replace(source, sha256=digest, rows=number)
            for source, digest, number in zip(self.sources, digests, rows, strict=True)
        ]


def plan_days(
    con: DuckDBPyConnection, sources: Sequence[Source], rows_at_once: int
) -> DayPlan | None:
    """Return how files are read by day, None where they are to be put into a table first.

    The files are such as `may_be_planned`. Each is read fast (`fastparquet`), and reading by day reads few
    rows twice. Raises InputError as the reader does.
    """
    fasts, groups = [], []
    for at, source in enumerate(sources):
        planned = _of_file(con, source, at)
        if planned is None:
            return None
        fast, found = planned
        fasts.append(fast)
        groups += found
    if not any(group.since <= group.until for group in groups):
        return None
    batches = tuple(_batches(groups, rows_at_once))
    plan = DayPlan(tuple(sources), tuple(fasts), tuple(groups), batches, first_file(con))
    return plan if _read(groups, batches) <= TWICE_READ * plan.rows else None


def may_be_planned(sources: Sequence[Source]) -> bool:
    """Return whether it is worth looking: plain Parquet files with starts that are instants, not too many."""
    return len(sources) <= MAX_FILES and all(
        source.format == "parquet"
        and source.compression is None
        and source.columns.fields["started_at"].unit is None
        for source in sources
    )


def _of_file(
    con: DuckDBPyConnection, source: Source, at: int
) -> tuple[FastParquet, list[Group]] | None:
    columns = source.columns.for_steps({})
    reading = read_parquet(source.path, columns, name=source.path)
    file = reading.parquet
    try:
        fast = fast_parquet(con, source.path, columns, reading.names, file.schema_arrow)
        many = range(file.metadata.num_row_groups)
        most = max((file.metadata.row_group(number).num_rows for number in many), default=0)
    finally:
        file.close()
    if fast is None or not most:
        return None
    groups = _groups(con, fast, at, most)
    return None if groups is None else (fast, groups)


def _groups(con: DuckDBPyConnection, fast: FastParquet, file: int, most: int) -> list[Group] | None:
    """Return a file's rows by lots of a row group's size, None where a start cannot be read in SQL.

    The starts themselves are looked at: what a file's statistics say of its days may be wrong, and
    reading them from a damaged file has ended the process.
    """
    import duckdb

    micro = fast.numbers["started_at"]
    try:
        with distrusting(con):
            lots = con.execute(
                "SELECT min(day), max(day), count(*), count(*) - count(started), count(started) - count(day)"
                f" FROM (SELECT file_row_number // {most} AS lot, {fast.started} AS started,"
                f" {day_sql(f'({micro})')} AS day FROM {fast.relation()}) GROUP BY lot ORDER BY lot"
            ).fetchall()
    except duckdb.Error as error:
        if is_full(error):
            raise
        return None
    groups = []
    for since, until, rows, nulls, odd in lots:
        if odd or (since is not None and not 0 <= since <= until < MAX_DAY):
            return None
        groups.append(
            Group(file, 0 if since is None else since, -1 if until is None else until, rows, nulls)
        )
    return groups


def _batches(groups: Sequence[Group], rows_at_once: int) -> Iterator[Period]:
    """Yield ranges of days that hold every row, of few rows or a single day; a group's rows lie evenly."""
    lying = [group for group in groups if group.since <= group.until]
    edges = sorted({day for g in lying for day in (g.since, g.until + 1)})
    heavy = [0.0] * len(edges)
    for group in lying:
        a_day = group.rows / (group.until + 1 - group.since)
        for at in range(bisect_right(edges, group.since) - 1, len(edges)):
            if edges[at] > group.until:
                break
            heavy[at] += a_day
    since, rows = edges[0], 0.0
    for at, (begin, end) in enumerate(pairwise(edges)):
        if not heavy[at]:
            continue
        for day in range(begin, end):
            if rows and rows + heavy[at] > rows_at_once:
                yield Period(since, day - 1)
                since, rows = day, 0.0
            if not rows:
                since = day
            rows += heavy[at]
    yield Period(since, edges[-1] - 1)


def _read(groups: Sequence[Group], batches: Sequence[Period]) -> int:
    """Return how many rows are read where each batch reads the groups that it meets."""
    return sum(
        g.rows for days in batches for g in groups
        if g.since <= days.until and days.since <= g.until
    )  # fmt: skip
