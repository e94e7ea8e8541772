"""Stage two: the rules of design section 4 after `malformed`, as integers in SQL, over whole days.

The rules look at days; a pass takes one day or several, with the ids of the day before beside them.
Rows come from any relation with the columns of `reading.ROW_COLUMNS` whose rows are not malformed, so
a platform's own store of rows is judged by the same text. `identity` may be text or a keyed hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from royalty.days import Period, format_day
from royalty.errors import InputError
from royalty.logs import steps
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import one_row
from royalty.usage import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MICRO = 10**6


def apply_rules(
    con: DuckDBPyConnection,
    rows: str,
    days: Period,
    policy: Policy,
    matcher: WorkTable,
    *,
    asked: Period | None = None,
) -> None:
    """Judge the rows of `days` and leave them in the temporary table `judged`.

    `rows` is the SQL of a relation that holds the rows of `days` and of the day before. `asked` is the
    period that usage is wanted of (default: `days`). The matcher must have been installed on `con`.

    `judged` has, beside the columns of the rows: `catalogue`, `index` (null where not matched), `units`,
    `reason` (null: the row is qualified) and `anonymous` (qualified without an identity: rules 6 and 7
    did not look at it). Raises InputError where an id of the period has two answers.
    """
    asked = asked or days
    con.execute(_today_sql(rows, days, policy))
    con.execute(_duplicates_sql(rows, days, policy, resend=_resends(con)))
    con.execute(matches_sql("today"))
    con.execute(_first_five_sql(asked, policy))
    refuse_ambiguous(con, matcher, "five")
    _refuse_lacking(con, policy)
    con.execute(_clicked_sql(policy))
    _make_repeats(con, policy)
    con.execute(_judged_sql(policy))
    for table in ("today", "duplicates", "matches", "five", "clicked", "repeats"):
        con.execute(f"DROP TABLE {table}")


def _today_sql(rows: str, days: Period, policy: Policy) -> str:
    """The rows of the days, numbered, with a hash of their id that finds ids that occur twice."""
    return f"""
CREATE OR REPLACE TEMP TABLE today AS
SELECT file, line, usage_id, work, kind, started_us, day, watched_us, duration_us, identity, resend,
  {steps.needed_sql(policy)}
  CASE WHEN usage_id IS NULL THEN hash(identity, work, kind, started_us) ELSE hash(usage_id) END AS key
FROM ({rows}) WHERE day BETWEEN {days.since} AND {days.until}"""


def _resends(con: DuckDBPyConnection) -> bool:
    return bool(one_row(con, "SELECT coalesce(bool_or(resend), FALSE) FROM today")[0])


def _duplicates_sql(rows: str, days: Period, policy: Policy, *, resend: bool) -> str:
    """Rule 2: the same id again on the same or the previous UTC day.

    A day's row that counts is the first by the order below. Whatever it is, a row of the previous day
    with the same id makes all of today's duplicates. Kinds compare as the words that were read.
    """
    last = "CASE WHEN any_resend THEN -coalesce(watched_us, -1) END," if resend else ""
    same = (
        "PARTITION BY day, usage_id, CASE WHEN usage_id IS NULL THEN identity END,"
        " CASE WHEN usage_id IS NULL THEN work END, CASE WHEN usage_id IS NULL THEN kind END,"
        " CASE WHEN usage_id IS NULL THEN started_us END"
    )
    return f"""
CREATE OR REPLACE TEMP TABLE duplicates AS
WITH twice AS (
  SELECT key, day FROM today GROUP BY key, day HAVING count(*) > 1
), suspects AS (
  SELECT rowid AS number, *, bool_or(resend) OVER ({same}) AS any_resend
  FROM today SEMI JOIN twice ON today.key = twice.key AND today.day = twice.day
), placed AS (
  SELECT number, row_number() OVER ({same} ORDER BY {last} started_us, work, {_kind_word("kind")},
    watched_us NULLS FIRST, duration_us NULLS FIRST, identity NULLS FIRST{steps.order_sql(policy)},
    file, line) AS place
  FROM suspects
), before AS (
  SELECT DISTINCT usage_id, day + 1 AS day FROM ({rows})
  WHERE usage_id IS NOT NULL AND day BETWEEN {days.since - 1} AND {days.until - 1}
)
SELECT number FROM placed WHERE place > 1
UNION
SELECT today.rowid FROM today SEMI JOIN before
  ON today.usage_id = before.usage_id AND today.day = before.day"""


def _kind_word(kind: str) -> str:
    return f"(CASE {kind} WHEN {Kind.DOWNLOAD.value} THEN 0 WHEN {Kind.EXCERPT.value} THEN 1 ELSE 2 END)"


def matches_sql(rows: str) -> str:
    """What each id in a table of rows stands for: its entry in map or notes, else itself as a reference."""
    return f"""
CREATE OR REPLACE TEMP TABLE matches AS
WITH named AS (
  SELECT DISTINCT work FROM {rows}
), found AS (
  SELECT named.work,
    coalesce(answers.catalogue,
      CASE WHEN is_reference(named.work) THEN CAST(split_part(named.work, '/', 1) AS BIGINT) END)
      AS catalogue,
    coalesce(answers.index,
      CASE WHEN is_reference(named.work) THEN CAST(split_part(named.work, '/', 2) AS BIGINT) END)
      AS index
  FROM named LEFT JOIN answers ON named.work = answers.work
)
SELECT found.work, found.catalogue, found.index
FROM found JOIN catalogues ON found.catalogue = catalogues.catalogue AND found.index < catalogues.works"""


def _first_five_sql(asked: Period, policy: Policy) -> str:
    """Rules 2 to 5 and the steps between: a row's first reason, its watched time, and its work."""
    return f"""
CREATE OR REPLACE TEMP TABLE five AS
WITH dealt AS (
  SELECT DISTINCT matches.work, matches.catalogue, matches.index, day
  FROM (SELECT DISTINCT work, day FROM today) AS seen
  JOIN matches ON seen.work = matches.work
  JOIN deals ON deals.catalogue = matches.catalogue
    AND seen.day >= deals.since AND (deals.until IS NULL OR seen.day < deals.until)
)
SELECT today.*, dealt.catalogue, dealt.index,
  hash(identity, dealt.catalogue, dealt.index, kind, today.day) AS company,
  CASE
    WHEN duplicates.number IS NOT NULL THEN 'duplicate'
    WHEN today.day NOT BETWEEN {asked.since} AND {asked.until} THEN 'outside_period'
    WHEN dealt.work IS NULL THEN 'unmatched_work'
    {steps.reasons_sql(policy)}
    WHEN {_below_threshold_sql(policy)} THEN 'below_threshold'
  END AS reason
FROM (SELECT rowid AS number, * REPLACE ({steps.watched_sql(policy)} AS watched_us) FROM today) AS today
LEFT JOIN duplicates ON today.number = duplicates.number
LEFT JOIN dealt ON today.work = dealt.work AND today.day = dealt.day"""


def _below_threshold_sql(policy: Policy) -> str:
    """Rule 5, exact: watched is at least the smaller of two bounds where it is at least one of them."""
    fraction = policy.fraction
    enough = (
        f"watched_us >= {policy.minimum_micro} OR (duration_us > 0 AND"
        f" CAST(watched_us AS HUGEINT) * {fraction.denominator}"
        f" >= CAST(duration_us AS HUGEINT) * {fraction.numerator})"
    )
    return (
        f"(kind = {Kind.VIEW.value} AND NOT coalesce({enough}, FALSE))"
        f" OR (kind = {Kind.EXCERPT.value} AND watched_us < {MICRO})"
    )


def refuse_ambiguous(con: DuckDBPyConnection, matcher: WorkTable, judged: str) -> None:
    """Raise InputError where an id that counts, in a table of judged rows, has two answers."""
    if not matcher.ambiguous:
        return
    (work,) = one_row(
        con,
        f"SELECT min(work) FROM {judged} SEMI JOIN ambiguous USING (work)"
        " WHERE reason IS NULL OR reason NOT IN ('duplicate', 'outside_period')",
    )
    if work is not None:
        raise matcher.refusal(work)


def _refuse_lacking(con: DuckDBPyConnection, policy: Policy) -> None:
    """Raise InputError where a row that came so far was kept without what a step needs."""
    if not policy.step_columns:
        return
    found = con.execute(
        f"SELECT day, {steps.lacking_sql(policy)} AS lacking FROM five WHERE lacking IS NOT NULL"
        " AND (reason IS NULL OR reason NOT IN ('duplicate', 'outside_period', 'unmatched_work'))"
        " ORDER BY day, lacking LIMIT 1"
    ).fetchall()
    for day, lacking in found:
        raise InputError(
            f"{format_day(day)} has rows that were kept without the column '{lacking}', which the"
            f" policy {policy.name} needs; report it from its logs under this policy, or under one"
            " without that step"
        )


_SAME = "PARTITION BY identity, catalogue, index, kind, day"
_ORDER = "started_us, usage_id NULLS FIRST, work"


def _clicked_sql(policy: Policy) -> str:
    """Rule 6, among the rows of one viewer, work, kind and day, in order.

    Rows without such company are left alone, which most are (a cap of 0 looks at them all).
    """
    fewest = 1 if policy.per_viewer_work_day == 0 else 2
    return f"""
CREATE OR REPLACE TEMP TABLE clicked AS
WITH several AS (
  SELECT company FROM five WHERE reason IS NULL AND identity IS NOT NULL
  GROUP BY company HAVING count(*) >= {fewest}
), viewed AS (
  SELECT number, identity, catalogue, index, kind, day, started_us, usage_id, work
  FROM five SEMI JOIN several ON five.company = several.company
  WHERE reason IS NULL AND identity IS NOT NULL
)
SELECT *, coalesce(
  lead(started_us) OVER ({_SAME} ORDER BY {_ORDER}) - started_us <= {policy.double_click_micro}, FALSE)
  AS again
FROM viewed"""


def _make_repeats(con: DuckDBPyConnection, policy: Policy) -> None:
    """Leave in `repeats` the rows that come within the window after one of their session that counts."""
    con.execute("CREATE OR REPLACE TEMP TABLE repeats (number BIGINT)")
    if policy.repeat_seconds is None:
        return
    found = con.execute(f"""
WITH left_over AS (
  SELECT * FROM five
  WHERE reason IS NULL AND CAST(session AS VARCHAR) NOT IN ('', '0')
    AND number NOT IN (SELECT number FROM clicked WHERE again)
)
SELECT session, catalogue, index, kind, day, started_us, number FROM left_over
QUALIFY count(*) OVER (PARTITION BY session, catalogue, index, kind, day) > 1
ORDER BY session, catalogue, index, kind, day, {_ORDER}""")

    def rows() -> Iterator[tuple[Any, ...]]:
        while some := found.fetchmany(10_000):
            yield from some

    numbers = steps.repeated(rows(), policy.repeat_micro)
    if numbers:
        import pyarrow as pa

        con.register("repeating", pa.table({"number": pa.array(numbers, pa.int64())}))
        con.execute("INSERT INTO repeats SELECT number FROM repeating")
        con.unregister("repeating")


def _judged_sql(policy: Policy) -> str:
    """Rule 7, the units, and each row's reason."""
    return f"""
CREATE OR REPLACE TEMP TABLE judged AS
WITH capped AS (
  SELECT number, row_number() OVER ({_SAME} ORDER BY {_ORDER}) > {policy.per_viewer_work_day} AS beyond
  FROM clicked ANTI JOIN repeats ON clicked.number = repeats.number
  WHERE NOT again
)
SELECT five.* EXCLUDE (number, key, company, reason),
  CASE five.kind WHEN {Kind.EXCERPT.value} THEN five.watched_us // {MICRO} ELSE 1 END AS units,
  CASE
    WHEN five.reason IS NOT NULL THEN five.reason
    WHEN clicked.again THEN 'double_click'
    WHEN repeats.number IS NOT NULL THEN 'repeat_in_window'
    WHEN capped.beyond THEN 'over_cap'
  END AS reason,
  five.reason IS NULL AND five.identity IS NULL AS anonymous
FROM five
LEFT JOIN clicked ON five.number = clicked.number
LEFT JOIN repeats ON five.number = repeats.number
LEFT JOIN capped ON five.number = capped.number"""
