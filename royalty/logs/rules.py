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
from royalty.logs.policy import ALL_REASONS, Policy
from royalty.logs.reading import one_row
from royalty.usage import MAX_SECONDS, Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MICRO = 10**6
MOST_DAYS_AT_HAND = 1_000
_REASON = "ENUM(" + ", ".join(f"'{reason}'" for reason in ALL_REASONS) + ")"


def apply_rules(
    con: DuckDBPyConnection,
    rows: str,
    days: Period,
    policy: Policy,
    matcher: WorkTable,
    *,
    asked: Period | None = None,
) -> None:
    """Judge the rows of `days` and leave them in `judged`, until `drop_judged`.

    `rows` is the SQL of a relation that holds the rows of `days` and of the day before. `asked` is the
    period that usage is wanted of (default: `days`). The matcher must have been installed on `con`.

    `judged` has, beside the columns of the rows: `catalogue`, `index` (null where not matched), `units`,
    `reason` (null: the row is qualified) and `anonymous` (qualified without an identity: rules 6 and 7
    did not look at it). `verdicts` has the same without what is text, save `unknown`, the work of a row
    that is not matched. Raises InputError where an id of the period has two answers.
    """
    con.execute(today_sql(rows, f"day BETWEEN {days.since} AND {days.until}", policy))
    before = (
        f"SELECT {next_key('usage_id', 'day')} AS key, usage_id, day FROM ({rows})"
        f" WHERE usage_id IS NOT NULL AND day = {days.since - 1}"
    )
    judge_today(con, before, days, policy, matcher, asked=asked or days)


def judge_today(
    con: DuckDBPyConnection,
    before: str,
    days: Period,
    policy: Policy,
    matcher: WorkTable,
    *,
    asked: Period,
) -> None:
    """Judge the table `today`, which holds the rows of `days`, and leave `judged` as `apply_rules` does.

    `before` is the SQL of the ids of the day before: `key` (`next_key`), `usage_id` and `day`.
    """
    con.execute(_duplicates_sql(before, days, policy, resend=_resends(con)))
    con.execute(matches_sql("(SELECT work FROM today WHERE catalogue IS NULL)"))
    con.execute(_open_sql(days))
    (named,) = one_row(con, "SELECT count(*) FROM matches")
    con.execute(_first_five_sql(asked, policy, named=bool(named)))
    refuse_ambiguous(
        con, matcher, "(SELECT work, reason FROM five JOIN today ON number = today.rowid) AS five"
    )
    _refuse_lacking(con, policy)
    con.execute(_clicked_sql(policy))
    _make_repeats(con, policy)
    con.execute(_late_sql(policy))
    con.execute(_VERDICTS)
    con.execute(_judged_sql(policy))


def drop_judged(con: DuckDBPyConnection) -> None:
    """Drop what `apply_rules` left."""
    for view in ("judged", "verdicts"):
        con.execute(f"DROP VIEW {view}")
    for table in (
        "today",
        "duplicates",
        "matches",
        "open_days",
        "five",
        "clicked",
        "repeats",
        "late",
    ):
        con.execute(f"DROP TABLE {table}")


def today_sql(rows: str, where: str, policy: Policy, more: str = "") -> str:
    """The rows to judge, numbered, with the work of the map, and a hash that finds ids that occur twice.

    `more` are further columns of theirs. Only the hash tells a day's ids from those of another.
    """
    return f"""
CREATE OR REPLACE TEMP TABLE today AS
SELECT file, line, usage_id, seen.work, kind, started_us, day, watched_us, duration_us, identity, resend,
  answers.catalogue, answers.index, {steps.needed_sql(policy)}
  CASE WHEN usage_id IS NULL THEN hash(identity, seen.work, kind, started_us) ELSE hash(usage_id, day) END
    AS key{more}
FROM ({rows}) AS seen LEFT JOIN answers ON seen.work = answers.work WHERE {where}"""


def next_key(usage_id: str, day: str) -> str:
    """Return the SQL of the hash that the same id has on the next day."""
    return f"hash({usage_id}, CAST({day} + 1 AS INTEGER))"


def _resends(con: DuckDBPyConnection) -> bool:
    return bool(one_row(con, "SELECT coalesce(bool_or(resend), FALSE) FROM today")[0])


def _duplicates_sql(before: str, days: Period, policy: Policy, *, resend: bool) -> str:
    """Rule 2: the same id again on the same or the previous UTC day.

    A day's row that counts is the first by the order below. Whatever it is, a row of the previous day
    with the same id makes all of today's duplicates. Kinds compare as the words that were read. Equal
    hashes only make suspects, whose ids are then compared.
    """
    last = "CASE WHEN any_resend THEN -coalesce(watched_us, -1) END," if resend else ""
    same = (
        "PARTITION BY day, usage_id, CASE WHEN usage_id IS NULL THEN identity END,"
        " CASE WHEN usage_id IS NULL THEN work END, CASE WHEN usage_id IS NULL THEN kind END,"
        " CASE WHEN usage_id IS NULL THEN started_us END"
    )
    within = (
        f" UNION ALL SELECT {next_key('usage_id', 'day')}, usage_id, day FROM today"
        f" WHERE usage_id IS NOT NULL AND day < {days.until}"
        if days.since < days.until
        else ""
    )
    return f"""
CREATE OR REPLACE TEMP TABLE duplicates AS
WITH twice AS (
  SELECT key FROM today GROUP BY key HAVING count(*) > 1
), marked AS (
  SELECT today.rowid AS number, today.*, bool_or(resend) OVER ({same}) AS any_resend
  FROM today SEMI JOIN twice ON today.key = twice.key
), placed AS (
  SELECT number, row_number() OVER ({same} ORDER BY {last} started_us, work, {_kind_word("kind")},
    watched_us NULLS FIRST, duration_us NULLS FIRST, identity NULLS FIRST{steps.order_sql(policy)},
    file, line) AS place
  FROM marked
), before AS NOT MATERIALIZED (
  {before}{within}
), near AS MATERIALIZED (
  SELECT today.rowid AS number, today.key, today.usage_id, today.day
  FROM today SEMI JOIN before ON today.key = before.key WHERE today.usage_id IS NOT NULL
)
SELECT number FROM placed WHERE place > 1
UNION
SELECT number FROM near JOIN before
  ON near.key = before.key AND near.usage_id = before.usage_id AND near.day = before.day + 1"""


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


def _open_sql(days: Period) -> str:
    """The catalogues with a deal on each day, and how many works they have."""
    far = days.until - days.since > MOST_DAYS_AT_HAND
    seen = "(SELECT DISTINCT day FROM today)" if far else f"range({days.since}, {days.until + 1})"
    return f"""
CREATE OR REPLACE TEMP TABLE open_days AS
SELECT DISTINCT deals.catalogue, CAST(seen.day AS INTEGER) AS day, works
FROM {seen} AS seen(day)
JOIN deals ON seen.day >= deals.since AND (deals.until IS NULL OR seen.day < deals.until)
JOIN catalogues ON deals.catalogue = catalogues.catalogue"""


def _first_five_sql(asked: Period, policy: Policy, *, named: bool) -> str:
    """Rules 2 to 5 and the steps between: a row's first reason, the work that it stands for, and its units.

    `named`: some works are references, to be looked up in `matches`. `company` is a hash of viewer,
    work, kind and day, null where rules 6 and 7 do not look.
    """
    meant = "today.catalogue AS meant, today.index AS place FROM today"
    if named:
        meant = (
            "coalesce(today.catalogue, matches.catalogue) AS meant,"
            " coalesce(today.index, matches.index) AS place FROM today LEFT JOIN matches"
            " ON CASE WHEN today.catalogue IS NULL THEN today.work END = matches.work"
        )
    steps_between = "".join(
        f"\n      WHEN {test} THEN {_as_reason(reason)}"
        for reason, test in steps.exclusions(policy)
    )
    return f"""
CREATE OR REPLACE TEMP TABLE five AS
WITH placed AS (
  SELECT today.rowid AS number,
    today.* EXCLUDE (catalogue, index) REPLACE ({steps.watched_sql(policy)} AS watched_us), {meant}
), told AS (
  SELECT placed.number, placed.day, kind, work, identity, watched_us,
    CASE WHEN place < works THEN meant END AS catalogue,
    CASE WHEN place < works THEN place END AS index,
    CASE
      WHEN duplicates.number IS NOT NULL THEN {_as_reason("duplicate")}
      WHEN placed.day NOT BETWEEN {asked.since} AND {asked.until} THEN {_as_reason("outside_period")}
      WHEN NOT coalesce(place < works, FALSE) THEN {_as_reason("unmatched_work")}{steps_between}
      WHEN {_below_threshold_sql(policy)} THEN {_as_reason("below_threshold")}
    END AS reason
  FROM placed
  LEFT JOIN duplicates ON placed.number = duplicates.number
  LEFT JOIN open_days ON placed.meant = open_days.catalogue AND placed.day = open_days.day
)
SELECT number, day, kind, catalogue, index, reason,
  CASE WHEN reason = 'unmatched_work' THEN work END AS unknown,
  CASE WHEN reason IS NULL AND identity IS NOT NULL THEN hash(identity, catalogue, index, kind, day) END
    AS company,
  CASE kind WHEN {Kind.EXCERPT.value} THEN watched_us // {MICRO} ELSE 1 END AS units
FROM told"""


def _as_reason(reason: str) -> str:
    return f"CAST('{reason}' AS {_REASON})"


def _below_threshold_sql(policy: Policy) -> str:
    """Rule 5, exact: watched is at least the smaller of two bounds where it is at least one of them."""
    fraction = policy.fraction
    fits = max(fraction.numerator, fraction.denominator) * MAX_SECONDS * MICRO < 2**63
    wide = "BIGINT" if fits else "HUGEINT"  # no product wraps in either, and narrow ones cost less
    enough = (
        f"watched_us >= {policy.minimum_micro} OR (duration_us > 0 AND"
        f" CAST(watched_us AS {wide}) * {fraction.denominator}"
        f" >= CAST(duration_us AS {wide}) * {fraction.numerator})"
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
        f"SELECT day, lacking FROM (SELECT five.day, reason, {steps.lacking_sql(policy)} AS lacking"
        " FROM five JOIN today ON number = today.rowid) WHERE lacking IS NOT NULL"
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
_KEYS = "started_us, usage_id NULLS FIRST, work"
_ORDER = f"ORDER BY {_KEYS}"


def _clicked_sql(policy: Policy) -> str:
    """Rule 6, among the rows of one viewer, work, kind and day, in order.

    Rows without such company are left alone, which most are (a cap of 0 looks at them all).
    """
    fewest = 1 if policy.per_viewer_work_day == 0 else 2
    return f"""
CREATE OR REPLACE TEMP TABLE clicked AS
WITH several AS (
  SELECT company FROM five WHERE company IS NOT NULL GROUP BY company HAVING count(*) >= {fewest}
), viewed AS (
  SELECT number, catalogue, index, kind, day FROM five SEMI JOIN several ON five.company = several.company
)
SELECT number, identity, viewed.catalogue, viewed.index, viewed.kind, viewed.day, started_us, usage_id,
  work, coalesce(
    lead(started_us) OVER (PARTITION BY identity, viewed.catalogue, viewed.index, viewed.kind, viewed.day
      {_ORDER}) - started_us <= {policy.double_click_micro}, FALSE) AS again
FROM viewed JOIN today ON number = today.rowid"""


def _make_repeats(con: DuckDBPyConnection, policy: Policy) -> None:
    """Leave in `repeats` the rows that come within the window after one of their session that counts."""
    con.execute("CREATE OR REPLACE TEMP TABLE repeats (number BIGINT)")
    if policy.repeat_seconds is None:
        return
    found = con.execute(f"""
WITH left_over AS (
  SELECT five.number, session, five.catalogue, five.index, five.kind, five.day, today.started_us,
    today.usage_id, today.work
  FROM five JOIN today ON five.number = today.rowid
  ANTI JOIN (SELECT number FROM clicked WHERE again) AS doubled ON five.number = doubled.number
  WHERE reason IS NULL AND CAST(session AS VARCHAR) NOT IN ('', '0')
), several AS (
  SELECT *, count(*) OVER (PARTITION BY session, catalogue, index, kind, day) AS alike FROM left_over
)
SELECT session, catalogue, index, kind, day, started_us, number FROM several WHERE alike > 1
ORDER BY session, catalogue, index, kind, day, {_KEYS}""")

    def rows() -> Iterator[tuple[Any, ...]]:
        while some := found.fetchmany(10_000):
            yield from some

    numbers = steps.repeated(rows(), policy.repeat_micro)
    if numbers:
        import pyarrow as pa

        con.register("repeating", pa.table({"number": pa.array(numbers, pa.int64())}))
        con.execute("INSERT INTO repeats SELECT number FROM repeating")
        con.unregister("repeating")


def _late_sql(policy: Policy) -> str:
    """Rules 6 and 7 and the window between: the rows that they exclude."""
    return f"""
CREATE OR REPLACE TEMP TABLE late AS
WITH capped AS (
  SELECT number, row_number() OVER ({_SAME} {_ORDER}) > {policy.per_viewer_work_day} AS beyond
  FROM clicked ANTI JOIN repeats ON clicked.number = repeats.number
  WHERE NOT again
)
SELECT number, {_as_reason("double_click")} AS reason FROM clicked WHERE again
UNION ALL SELECT number, {_as_reason("repeat_in_window")} FROM repeats
UNION ALL SELECT number, {_as_reason("over_cap")} FROM capped WHERE beyond"""


_VERDICTS = """
CREATE OR REPLACE TEMP VIEW verdicts AS
SELECT five.number, day, kind, catalogue, index, unknown, units, coalesce(five.reason, late.reason) AS reason,
  five.reason IS NULL AND company IS NULL AS anonymous
FROM five LEFT JOIN late ON five.number = late.number"""


def _judged_sql(policy: Policy) -> str:
    """The rows as they were read, but for a watched time that the policy changes, with their verdicts."""
    return f"""
CREATE OR REPLACE TEMP VIEW judged AS
SELECT today.* EXCLUDE (catalogue, index, key) REPLACE ({steps.watched_sql(policy)} AS watched_us),
  verdicts.catalogue, verdicts.index, units, reason, anonymous
FROM today JOIN verdicts ON today.rowid = verdicts.number"""
