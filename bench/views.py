"""Made-up view logs of any length for the measurements: the same seed gives the same files.

Zipf over 100,000 works, 1 % ids that occurred before, 0.5 % works nobody knows, a few rows without a
watched time, a viewer's quick second click here and there; thirty days in time order, as Parquet files
typed as a platform would write them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SEED = 7
WORKS, PER_CATALOGUE, DAYS, FIRST = 100_000, 1_000, 30, 20_000
CATALOGUES = WORKS // PER_CATALOGUE
LATE, LATE_FROM = 7, FIRST + 10
"""A catalogue whose deal begins within the period: its views before that are not matched."""
MICRO_PER_DAY = 86_400_000_000
PER_FILE = 10_000_000
LOTS = 1 << 20


def connect(memory: str, folder: Path) -> Any:
    """Open a DuckDB in memory that spills into a folder."""
    import duckdb

    con = duckdb.connect()
    con.execute(f"SET memory_limit = '{memory}'")
    con.execute(f"SET temp_directory = '{folder / 'spill'}'")
    con.execute("SET preserve_insertion_order = false")
    con.execute("SET enable_progress_bar = false")
    return con


def answers() -> list[tuple[str, int, int]]:
    """What the platform's map says: (id in the log, catalogue, index)."""
    return [
        (f"film-{work:06}", 1 + work // PER_CATALOGUE, work % PER_CATALOGUE)
        for work in range(WORKS)
    ]


def deals() -> list[tuple[int, int, int, int | None]]:
    """The deals: (catalogue, version, from day, until)."""
    return [(at, 1, LATE_FROM if at == LATE else 0, None) for at in range(1, CATALOGUES + 1)]


def make(rows: int, folder: Path) -> list[Path]:
    """Write a log of so many rows and return its files, the earliest first; files that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    files = max(3, -(-rows // PER_FILE))
    paths = [folder / f"views-{at:03}.parquet" for at in range(files)]
    if all(path.exists() for path in paths):
        return paths
    con = connect("3GB", folder)
    con.execute("SET preserve_insertion_order = true")
    con.execute(_LOTS)
    for at, path in enumerate(paths):
        since, until = rows * at // files, rows * (at + 1) // files
        part = path.with_suffix(".part")
        con.execute(
            f"COPY ({_rows_sql(since, until, rows)}) TO '{part}' (FORMAT parquet, COMPRESSION snappy)"
        )
        part.rename(path)
    con.close()
    return paths


def _random(what: str, of: str = "i") -> str:
    """SQL of a number that looks random, of a row's number and a purpose."""
    return f"hash({of} * 1000003 + {sum(map(ord, what)) * 7919 + SEED})"


# A lot for every millionth of the views: the works' shares under Zipf, popular ones hold many lots.
_LOTS = f"""
CREATE OR REPLACE TEMP TABLE lots AS
WITH shares AS (
  SELECT work, sum(1.0 / (work + 1)) OVER (ORDER BY work) AS upto FROM range({WORKS}) AS t(work)
), ends AS (
  SELECT work, CAST(round({LOTS} * upto / max(upto) OVER ()) AS BIGINT) AS until FROM shares
)
SELECT unnest(range(coalesce(lag(until) OVER (ORDER BY work), 0), until)) AS lot, work FROM ends"""


def _rows_sql(since: int, until: int, rows: int) -> str:
    step = DAYS * MICRO_PER_DAY // rows
    viewers = max(1_000, rows // 50)
    return f"""
WITH numbered AS (
  SELECT i,
    i - CASE WHEN {_random("again")} % 100 = 0 THEN 1 + CAST({_random("which")} % 50000 AS BIGINT)
      ELSE 0 END AS named,
    i - CASE WHEN {_random("click")} % 40 = 0 THEN 1 + CAST({_random("back")} % 3 AS BIGINT)
      ELSE 0 END AS seen
  FROM range({since}, {until}) AS t(i)
), drawn AS (
  SELECT i, named, seen, CAST({_random("lot", "seen")} % {LOTS} AS BIGINT) AS lot FROM numbered
)
SELECT
  lower(printf('%016x%016x', {_random("id", "named")}, {_random("more", "named")})) AS usage_id,
  CASE WHEN {_random("gone", "seen")} % 200 = 0 THEN 'gone-' || {_random("lost", "seen")} % 5000
    ELSE printf('film-%06d', work) END AS work,
  CASE WHEN {_random("kind")} % 100 < 95 THEN 'view' WHEN {_random("kind")} % 100 < 98 THEN 'download'
    ELSE 'excerpt' END AS kind,
  make_timestamp({FIRST * MICRO_PER_DAY} + i * {step} + CAST({_random("late")} % {step} AS BIGINT))
    AS started_at,
  CASE WHEN {_random("unsaid")} % 1000 > 0 THEN {_random("watched")} % (60000 + work % 600000) / 1000.0
    END AS watched_seconds,
  CAST((60000 + work % 600000) / 1000.0 AS DOUBLE) AS duration_seconds,
  CASE WHEN {_random("known", "seen")} % 50 > 0
    THEN printf('viewer-%09d', {_random("viewer", "seen")} % {viewers}) END AS viewer
FROM drawn JOIN lots USING (lot) ORDER BY i"""
