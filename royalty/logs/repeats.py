"""Ids that stand in a log more than once, and where: which usage was given twice, in whatever files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from royalty.days import Period
from royalty.logs.reading import engine, read_rows
from royalty.logs.sources import Source
from royalty.usage import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Place(NamedTuple):
    """Where rows of an id stand: the file, and work as the log writes it, day and kind."""

    file: str
    work: str
    day: int
    kind: Kind


class Repeat(NamedTuple):
    """Rows of one id in two places; rule 2 makes those of `again` duplicates of those of `first`."""

    again: Place
    first: Place


def repeats(sources: Sequence[Source], days: Period) -> list[Repeat]:
    """Return where ids of some days stand again on the same or the previous day, each place once.

    Files are told by the SHA-256 of their content (`0x...`). Of rows of one day either is `again`.
    Raises InputError where a file cannot be read.
    """
    with engine() as connection:
        read = read_rows(connection, sources)
        return list(_repeats(connection, [source.sha256 for source in read], days))


def _repeats(con: DuckDBPyConnection, digests: Sequence[str], days: Period) -> Iterator[Repeat]:
    found = con.execute(_repeats_sql(days))
    while some := found.fetchmany(10_000):
        for file, work, day, kind, other, other_work, other_day, other_kind in some:
            yield Repeat(
                Place(digests[file], work, day, Kind(kind)),
                Place(digests[other], other_work, other_day, Kind(other_kind)),
            )


def _repeats_sql(days: Period) -> str:
    """The id is that of rule 2: without ids, identity, work, kind and instant."""
    return f"""
WITH keyed AS (
  SELECT file, line, work, day, kind,
    CASE WHEN usage_id IS NULL THEN concat_ws('|', 'none', length(identity), identity, length(work), work,
      kind, started_us) ELSE 'id|' || usage_id END AS key
  FROM rows WHERE malformed IS NULL AND day BETWEEN {days.since - 1} AND {days.until}
), twice AS (
  SELECT * FROM keyed SEMI JOIN (SELECT key FROM keyed GROUP BY key HAVING count(*) > 1) AS several
    ON keyed.key = several.key
)
SELECT DISTINCT again.file, again.work, again.day, again.kind, one.file, one.work, one.day, one.kind
FROM twice AS again JOIN twice AS one ON again.key = one.key
  AND (again.file, again.line) <> (one.file, one.line) AND one.day IN (again.day, again.day - 1)
WHERE again.day >= {days.since}"""
