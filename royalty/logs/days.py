"""A long log of typed Parquet, judged as its files are read: a few days at a time in a bounded table.

No row is kept beyond its days but the malformed ones, and the ids of the day before. Files that are
nearly in the order of time are read once: their row groups say in which days they lie. Others are put
into one table first (`reading.read_rows`), as every other log is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from royalty.days import MAX_DAY, SECONDS_PER_DAY, Period, format_day
from royalty.logs.fastparquet import FastParquet, fast_parquet
from royalty.logs.parquetrows import read_parquet
from royalty.logs.reading import fast_rows_sql, first_file
from royalty.logs.sources import Source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TWICE_READ = 1.5
"""How often a row may be read, on average, before one table for all is taken instead (chosen, not measured)."""
MAX_FILES = 500
PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: its file's place, the days it lies in, its rows, and those of them without a start.

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
            fast, columns = self.fasts[at], self.sources[at].columns
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

    They are plain Parquet that is read fast (`fastparquet`), every start is known to lie in the days that
    the row groups say, and reading by day reads few rows twice. Raises InputError as the reader does.
    """
    if len(sources) > MAX_FILES:
        return None
    fasts, groups = [], []
    for at, source in enumerate(sources):
        if source.format != "parquet" or source.compression is not None:
            return None
        reading = read_parquet(source.path, source.columns, name=source.path)
        file = reading.parquet
        try:
            started = source.columns.fields["started_at"]
            if started.unit is not None:
                return None
            fast = fast_parquet(con, source.path, source.columns, reading.names, file.schema_arrow)
            found = [] if fast is None else list(_groups(file, at, str(started.column)))
        finally:
            file.close()
        if fast is None or None in found:
            return None
        fasts.append(fast)
        groups += [group for group in found if group is not None]
    if not any(group.since <= group.until for group in groups):
        return None
    batches = tuple(_batches(groups, rows_at_once))
    plan = DayPlan(tuple(sources), tuple(fasts), tuple(groups), batches, first_file(con))
    return plan if _read(groups, batches) <= TWICE_READ * plan.rows else None


def _groups(file: Any, at: int, column: str) -> Iterator[Group | None]:
    """Yield a file's row groups; None for one that does not say in which days its rows lie."""
    unit = file.schema_arrow.field(column).type.unit
    per_day = SECONDS_PER_DAY * PER_SECOND[unit]
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        if group.num_rows:
            yield _group(group, at, column, per_day)


def _group(group: Any, file: int, column: str, per_day: int) -> Group | None:
    chunks = (group.column(at) for at in range(group.num_columns))
    said = next((c.statistics for c in chunks if c.path_in_schema == column), None)
    if said is None or not said.has_null_count:
        return None
    if said.null_count == group.num_rows:
        return Group(file, 0, -1, group.num_rows, group.num_rows)
    if not said.has_min_max or said.physical_type != "INT64":
        return None
    since, until = said.min_raw // per_day, said.max_raw // per_day
    if not 0 <= since <= until < MAX_DAY:
        return None
    return Group(file, since, until, group.num_rows, said.null_count)


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
