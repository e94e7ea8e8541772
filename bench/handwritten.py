"""The count of a month of views as somebody who knows these files well would write it by hand.

The very same rules, in SQL for DuckDB (a day at a time, and all days at once) and in Polars. None of it
checks what the made-up files never hold (text that is no UTF-8, numbers out of range, other kinds).
Each returns units and reasons as `Counted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import views

Unit = tuple[int, int, int, str, int]
"""Day, catalogue, index, kind, units."""


class Counted(NamedTuple):
    """Units by day, work and kind, sorted; rows by reason, qualified ones as `qualified`."""

    units: list[Unit]
    reasons: dict[str, int]


def by_day(files: Sequence[Path], memory: str, folder: Path) -> Counted:
    """Count a day at a time: its rows in a table, the ids of the day before beside it."""
    con = _prepared(memory, folder)
    con.execute("CREATE TEMP TABLE before (key UBIGINT, usage_id VARCHAR)")
    for day in range(views.FIRST, views.FIRST + views.DAYS):
        con.execute(_today_sql(files, day))
        con.execute(_DUPLICATES.format(day="", before=_BEFORE))
        con.execute(_ADD.format(day=""))
        con.execute(
            "CREATE OR REPLACE TEMP TABLE before AS SELECT key, usage_id FROM today WHERE NOT bad"
        )
    return _result(con)


def at_once(files: Sequence[Path], memory: str, folder: Path) -> Counted:
    """Count all days in one table."""
    con = _prepared(memory, folder)
    con.execute(_today_sql(files, None))
    con.execute(_DUPLICATES.format(day="day,", before=_BEFORE_AT_ONCE))
    con.execute(_ADD.format(day="day,"))
    return _result(con)


def decode(files: Sequence[Path], memory: str, folder: Path) -> Counted:
    """Read every value and do nothing with it: what Parquet alone costs."""
    con = views.connect(memory, folder)
    con.execute(
        "SELECT count(usage_id), count(work), count(kind), max(started_at), max(watched_seconds),"
        f" max(duration_seconds), count(viewer) FROM read_parquet({[str(path) for path in files]})"
        " WHERE NOT (strlen(usage_id) = 0 OR strlen(work) = 0 OR strlen(kind) = 0 OR strlen(viewer) = 0)"
    ).fetchall()
    return Counted([], {})


def _prepared(memory: str, folder: Path) -> Any:
    import pyarrow as pa

    con = views.connect(memory, folder)
    works, numbers, places = zip(*views.answers(), strict=True)
    con.register("given", pa.table([works, numbers, places], ["work", "catalogue", "index"]))
    con.execute("CREATE TEMP TABLE works AS SELECT work, catalogue::INT AS catalogue,"
                " index::INT AS index FROM given")  # fmt: skip
    con.execute(
        "CREATE TEMP TABLE totals (day INTEGER, catalogue INTEGER, index INTEGER, kind UTINYINT,"
        " reason VARCHAR, rows BIGINT, units BIGINT)"
    )
    return con


def _today_sql(files: Sequence[Path], day: int | None) -> str:
    date = "CAST(started_at AS DATE)"
    only = "" if day is None else (
        f"WHERE started_at >= make_timestamp({day * views.MICRO_PER_DAY})"
        f" AND started_at < make_timestamp({(day + 1) * views.MICRO_PER_DAY})"
    )  # fmt: skip
    return f"""
CREATE OR REPLACE TEMP TABLE today AS
SELECT hash(usage_id) AS key, usage_id, seen.work,
  CASE WHEN works.catalogue <> {views.LATE} OR {date} >= DATE '1970-01-01' + {views.LATE_FROM}
    THEN works.catalogue END AS catalogue, index,
  CASE kind WHEN 'download' THEN 0 WHEN 'excerpt' THEN 1 ELSE 2 END::UTINYINT AS kind,
  {date} - DATE '1970-01-01' AS day, epoch_us(started_at) AS started,
  CAST(round(watched_seconds * 1e6) AS BIGINT) AS watched,
  CAST(round(duration_seconds * 1e6) AS BIGINT) AS duration, viewer,
  watched_seconds IS NULL AND kind <> 'download' AS bad
FROM read_parquet({[str(path) for path in files]}) AS seen LEFT JOIN works ON seen.work = works.work
{only}"""


_BEFORE = "SELECT rowid FROM today SEMI JOIN before USING (key, usage_id) WHERE NOT bad"
_BEFORE_AT_ONCE = """
SELECT today.rowid FROM today SEMI JOIN (SELECT key, usage_id, day FROM today WHERE NOT bad) AS earlier
  ON today.key = earlier.key AND today.usage_id = earlier.usage_id AND today.day = earlier.day + 1
WHERE NOT bad"""

_DUPLICATES = """
CREATE OR REPLACE TEMP TABLE duplicate AS
WITH twice AS (
  SELECT {day} key FROM today WHERE NOT bad GROUP BY {day} key HAVING count(*) > 1
), placed AS (
  SELECT rowid AS number, row_number() OVER (PARTITION BY {day} usage_id ORDER BY started, work, kind,
    watched NULLS FIRST, duration NULLS FIRST, viewer NULLS FIRST) AS place
  FROM today SEMI JOIN twice USING ({day} key) WHERE NOT bad
)
SELECT number FROM placed WHERE place > 1 UNION ({before})"""

_ADD = """
INSERT INTO totals
WITH five AS (
  SELECT today.rowid AS number, usage_id, catalogue, index, kind, day, started, watched, viewer, work,
    hash(viewer, catalogue, index, kind, day) AS company,
    CASE WHEN bad THEN 'malformed' WHEN duplicate.number IS NOT NULL THEN 'duplicate'
      WHEN catalogue IS NULL THEN 'unmatched_work'
      WHEN kind = 2 AND NOT coalesce(watched >= 30000000 OR (duration > 0 AND watched * 2 >= duration),
        FALSE) OR kind = 1 AND watched < 1000000 THEN 'below_threshold' END AS reason
  FROM today LEFT JOIN duplicate ON today.rowid = duplicate.number
), several AS (
  SELECT company FROM five WHERE reason IS NULL AND viewer IS NOT NULL
  GROUP BY company HAVING count(*) > 1
), clicked AS (
  SELECT *, coalesce(lead(started) OVER (PARTITION BY {day} viewer, catalogue, index, kind
    ORDER BY started, usage_id, work) - started <= 30000000, FALSE) AS again
  FROM five SEMI JOIN several USING (company) WHERE reason IS NULL AND viewer IS NOT NULL
), capped AS (
  SELECT number, row_number() OVER (PARTITION BY {day} viewer, catalogue, index, kind
    ORDER BY started, usage_id, work) > 20 AS beyond
  FROM clicked WHERE NOT again
), outcome AS (
  SELECT number, 'double_click' AS reason FROM clicked WHERE again
  UNION ALL SELECT number, 'over_cap' FROM capped WHERE beyond
)
SELECT day, catalogue, index, kind, coalesce(five.reason, outcome.reason) AS reason, count(*),
  sum(CASE WHEN kind = 1 THEN watched // 1000000 ELSE 1 END)
FROM five LEFT JOIN outcome ON five.number = outcome.number GROUP BY ALL"""

_KIND = "CASE kind WHEN 0 THEN 'download' WHEN 1 THEN 'excerpt' ELSE 'view' END"


def _result(con: Any) -> Counted:
    units = con.execute(
        f"SELECT day, catalogue, index, {_KIND} AS kind, sum(units)::BIGINT FROM totals"
        " WHERE reason IS NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    reasons = con.execute(
        "SELECT coalesce(reason, 'qualified'), sum(rows)::BIGINT FROM totals GROUP BY ALL"
    ).fetchall()
    return Counted(units, dict(reasons))


def polars(files: Sequence[Path], memory: str, folder: Path) -> Counted:  # noqa: ARG001
    """Count in Polars, a day at a time (it has no limit to its memory; files are scanned lazily)."""
    import polars as pl

    works = pl.DataFrame(views.answers(), ["work", "catalogue", "index"], orient="row").lazy()
    log = pl.scan_parquet([str(path) for path in files])
    before = pl.DataFrame({"usage_id": []}, {"usage_id": pl.String}).lazy()
    totals = []
    for day in range(views.FIRST, views.FIRST + views.DAYS):
        today = _polars_day(pl, log, works, day).collect()
        outcome = _polars_judged(pl, today.lazy(), before, day).collect()
        totals.append(outcome)
        before = today.filter(~pl.col("bad")).select("usage_id").lazy()
    every = pl.concat(totals)
    units = (
        every.filter(pl.col("reason").is_null())
        .group_by("day", "catalogue", "index", "kind").agg(pl.col("units").sum())
        .sort("day", "catalogue", "index", "kind")
    )  # fmt: skip
    reasons = every.group_by(pl.col("reason").fill_null("qualified")).agg(pl.col("rows").sum())
    words = {0: "download", 1: "excerpt", 2: "view"}
    return Counted(
        [(d, c, i, words[k], int(u)) for d, c, i, k, u in units.iter_rows()],
        {reason: int(rows) for reason, rows in reasons.iter_rows()},
    )


def _polars_day(pl: Any, log: Any, works: Any, day: int) -> Any:
    start = pl.lit(day * views.MICRO_PER_DAY).cast(pl.Datetime("us"))
    end = pl.lit((day + 1) * views.MICRO_PER_DAY).cast(pl.Datetime("us"))
    late = (pl.col("catalogue") == views.LATE) & (day < views.LATE_FROM)
    return (
        log.filter((pl.col("started_at") >= start) & (pl.col("started_at") < end))
        .join(works, on="work", how="left")
        .with_columns(
            catalogue=pl.when(~late).then(pl.col("catalogue")),
            kind=pl.col("kind").replace_strict(
                {"download": 0, "excerpt": 1, "view": 2}, return_dtype=pl.UInt8
            ),
            started=pl.col("started_at").dt.epoch("us"),
            watched=(pl.col("watched_seconds") * 1e6).round().cast(pl.Int64),
            duration=(pl.col("duration_seconds") * 1e6).round().cast(pl.Int64),
        )
        .with_columns(bad=pl.col("watched").is_null() & (pl.col("kind") != 0))
        .drop("started_at", "watched_seconds", "duration_seconds")
    )


def _polars_judged(pl: Any, today: Any, before: Any, day: int) -> Any:
    bad, good = today.filter(pl.col("bad")), today.filter(~pl.col("bad"))
    order = ["started", "work", "kind", "watched", "duration", "viewer"]
    numbered = good.with_row_index("number")
    suspects = numbered.filter(pl.col("usage_id").is_duplicated())
    later = (
        suspects.sort(order, nulls_last=False)
        .filter(pl.int_range(pl.len()).over("usage_id") > 0).select("number")
    )  # fmt: skip
    known = numbered.select("number", "usage_id").join(before, on="usage_id", how="semi")
    again = pl.concat([later, known.select("number")]).unique().with_columns(dup=pl.lit(True))
    enough = (pl.col("watched") >= 30_000_000) | (
        (pl.col("duration") > 0) & (pl.col("watched") * 2 >= pl.col("duration"))
    ).fill_null(False)
    short = ((pl.col("kind") == 2) & ~enough) | (
        (pl.col("kind") == 1) & (pl.col("watched") < 10**6)
    )
    judged = numbered.join(again, on="number", how="left").with_columns(
        reason=pl.when(pl.col("dup")).then(pl.lit("duplicate"))
        .when(pl.col("catalogue").is_null()).then(pl.lit("unmatched_work"))
        .when(short).then(pl.lit("below_threshold"))
    )  # fmt: skip
    same = ["viewer", "catalogue", "index", "kind"]
    company = (
        judged.filter(pl.col("reason").is_null() & pl.col("viewer").is_not_null())
        .filter(pl.len().over(same) > 1)
        .sort("started", "usage_id", "work")
        .with_columns(
            clicked=(pl.col("started").shift(-1).over(same) - pl.col("started") <= 30_000_000)
            .fill_null(False)
        )
    )  # fmt: skip
    beyond = company.filter(~pl.col("clicked")).filter(pl.int_range(pl.len()).over(same) >= 20)
    outcome = pl.concat(
        [
            company.filter(pl.col("clicked")).select("number", late=pl.lit("double_click")),
            beyond.select("number", late=pl.lit("over_cap")),
        ]
    )
    worth = pl.when(pl.col("kind") == 1).then(pl.col("watched") // 10**6).otherwise(1)
    columns = ("catalogue", "index", "kind", "watched", "reason")
    every = pl.concat(
        [
            judged.join(outcome, on="number", how="left")
            .with_columns(reason=pl.coalesce("reason", "late")).select(columns),
            bad.with_columns(reason=pl.lit("malformed")).select(columns),
        ]
    )  # fmt: skip
    return (
        every.group_by("catalogue", "index", "kind", "reason")
        .agg(rows=pl.len().cast(pl.Int64), units=worth.sum().cast(pl.Int64))
        .with_columns(day=pl.lit(day))
    )


def digest_rows(found: Counted) -> Iterable[str]:
    """The tables as lines, for a comparison by hash."""
    yield from (f"{reason} {rows}" for reason, rows in sorted(found.reasons.items()) if rows)
    yield from (" ".join(map(str, row)) for row in found.units)
