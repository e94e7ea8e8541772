"""The SQL of stage one: what the cells of a row say, in native units, and why a row is malformed (rule 1).

Texts of any file come through the registered table `batch`; typed Parquet is read where it lies, and
only whether a number is there is looked at (`royalty.logs.fastparquet` says what it comes to).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from royalty.logs.columns import UNITS, Column, Columns
from royalty.logs.fastparquet import FastParquet
from royalty.logs.policy import Policy
from royalty.logs.steps import insert_sql
from royalty.usage import MAX_SECONDS, Kind

MICRO_PER_DAY = 86_400 * 10**6
LAST_INSTANT = 253_402_300_800 * 10**6 - 1


def insert_rows_sql(columns: Columns, names: Sequence[str], file: str, policy: Policy) -> str:
    """Return the SQL that reads the registered table `batch` into `rows`; `file` is SQL, too."""
    texts = {
        name: text
        for name, column in columns.fields.items()
        if (text := text_sql(column, names)) is not None
    }
    read, kept = insert_sql(policy)
    head = f"SELECT {file} AS file, line, broken{read}"
    return f"INSERT INTO rows BY NAME {_rows_sql(columns, texts, head, 'batch', kept=kept)}"


def fast_rows_sql(
    columns: Columns, fast: FastParquet, file: int, where: str = "", *, bare: bool = True
) -> str:
    """Return the SQL of the rows of a typed file, as they would stand in `rows`.

    Not `bare`: malformed rows keep what could be read of them, which is cheaper and for whoever drops them.
    """
    head = f"SELECT {file} AS file, file_row_number + 1 AS line, {fast.broken} AS broken"
    return _rows_sql(columns, fast.texts, head, fast.relation(where), fast.numbers, bare=bare)


def _rows_sql(
    columns: Columns,
    texts: Mapping[str, str],
    head: str,
    relation: str,
    numbers: Mapping[str, str] | None = None,
    *,
    kept: str = "",
    bare: bool = True,
) -> str:
    """Return the SQL of rows; `texts` is the SQL of what is there of each field, `kept` of further columns.

    `numbers`, where given, is the SQL of what starts and durations come to in microseconds; they are
    then no text, and only whether they are there is looked at.
    """
    started, typed = columns.fields["started_at"], numbers is not None
    watched, duration = (
        columns.fields.get("watched_seconds"),
        columns.fields.get("duration_seconds"),
    )
    missing = "CAST(NULL AS VARCHAR)"
    cells = {
        f"{name}_text": texts.get(field, missing)
        if typed
        else f"nullif({texts.get(field, missing)}, '')"
        for name, field in _MEASURES
    }
    if numbers is not None:
        cells |= {
            f"{name}_us": numbers.get(field, "CAST(NULL AS BIGINT)") for name, field in _MEASURES
        }
    measures = ", ".join(f"{cell} AS {name}" for name, cell in cells.items())
    reading = (
        ", read AS (SELECT * FROM kinds)"
        if typed
        else f"""
, shapes AS (
  SELECT *, {_micro_sql("watched_text", _places(watched))} AS watched_micro,
    {_micro_sql("duration_text", _places(duration))} AS duration_micro,
    {_shape_sql(started)}
  FROM kinds
), parts AS (
  SELECT *,
    {_number_sql("watched", watched)},
    {_number_sql("duration", duration)},
    {_started_parts_sql(started)}
  FROM shapes
), read AS (
  SELECT *, {_started_sql(started)} AS started_us FROM parts {_zone_join_sql(started)}
)"""
    )
    values = {name: name for name in ("work", "kind", "started_us")}
    values["day"] = f"CAST({day_sql('started_us')} AS INTEGER)"
    values |= {name: name for name in ("watched_us", "duration_us", "identity")}
    cleared = ",\n  ".join(
        f"CASE WHEN malformed IS NULL THEN {value} END AS {name}" if bare else f"{value} AS {name}"
        for name, value in values.items()
    )
    return f"""
SELECT file, line, CASE WHEN broken IS NULL THEN nullif(usage_id, '') END AS usage_id,
  {cleared},
  {str(columns.resend == "last").upper()} AS resend,
  {kept}
  malformed
FROM (
WITH texts AS (
  {head},
    {texts.get("usage_id", missing)} AS usage_id,
    {texts.get("work", missing)} AS work,
    {texts.get("kind") or "'view'"} AS kind_text,
    {measures},
    coalesce(nullif({texts.get("viewer", missing)}, ''), nullif({texts.get("session", missing)}, ''))
      AS identity
  FROM {relation}
), kinds AS (
  SELECT *,
    CASE kind_text WHEN 'view' THEN {Kind.VIEW.value} WHEN 'download' THEN {Kind.DOWNLOAD.value}
      WHEN 'excerpt' THEN {Kind.EXCERPT.value} END AS kind
  FROM texts
){reading}
SELECT *, {_malformed_sql(columns)} AS malformed FROM read
)"""


_MEASURES = (
    ("started", "started_at"),
    ("watched", "watched_seconds"),
    ("duration", "duration_seconds"),
)


def text_sql(column: Column, names: Sequence[str]) -> str | None:
    """Return the SQL of a field's text, or None where the file lacks its column."""
    if column.value is not None:
        return "'" + column.value.replace("'", "''") + "'"
    return f"c{names.index(column.column)}" if column.column in names else None


def _malformed_sql(columns: Columns) -> str:
    """Return the SQL of why a row is malformed, null where it is not (rule 1)."""
    unreadable = [
        ("broken IS NOT NULL", "broken"),
        ("coalesce(usage_id = '', TRUE)" if columns.has_ids else "FALSE", "'usage_id is missing'"),
        ("coalesce(work = '', TRUE)", "'work is missing'"),
        ("started_text IS NULL", "'started_at is missing'"),
        ("started_us IS NULL", "'started_at cannot be read'"),
        ("kind IS NULL", "'kind is not view, download or excerpt'"),
        (f"watched_text IS NULL AND kind <> {Kind.DOWNLOAD.value}", "'watched_seconds is missing'"),
        ("watched_text IS NOT NULL AND watched_us IS NULL", "'watched_seconds cannot be read'"),
        ("duration_text IS NOT NULL AND duration_us IS NULL", "'duration_seconds cannot be read'"),
        ("FALSE" if columns.has_ids else "identity IS NULL", "'neither an id nor a viewer'"),
    ]
    return "CASE " + " ".join(f"WHEN {test} THEN {why}" for test, why in unreadable) + " END"


def _places(column: Column | None) -> int:
    return UNITS[(column.unit if column else None) or "s"]


def _number_sql(name: str, column: Column | None) -> str:
    """Return the SQL column of a number in microseconds that is not above the bound, else null."""
    text, micro, most = f"{name}_text", f"{name}_micro", MAX_SECONDS * 10**6
    finer = f"substr(split_part({text}, '.', 2), {_places(column) + 1})"
    return f"""CASE WHEN {micro} < {most} THEN {micro}
      WHEN {micro} = {most} AND NOT regexp_matches({finer}, '[1-9]') THEN {micro} END AS {name}_us"""


def _micro_sql(text: str, places: int) -> str:
    """Return the SQL of a plain decimal times 10^places, the rest cut; null where it is none."""
    whole = f"split_part({text}, '.', 1)"
    fraction = f"rpad(substr(split_part({text}, '.', 2), 1, {places}), {places}, '0')"
    return f"""CASE WHEN NOT regexp_full_match({text}, '[0-9]+(\\.[0-9]+)?') THEN NULL
      WHEN contains({text}, '.') THEN TRY_CAST({whole} || {fraction if places else "''"} AS BIGINT)
      ELSE TRY_CAST({text} || '{"0" * places}' AS BIGINT) END"""


def _shape_sql(column: Column) -> str:
    """Return the SQL columns that say whether a start is well shaped, and what its offset is."""
    if column.unit is not None:
        return f"{_micro_sql('started_text', UNITS[column.unit])} AS epoch_us"
    offset = "([Zz]|[+-][0-9]{2}:[0-9]{2})" + ("?" if column.zone is not None else "")
    mark = "[Tt ]" if column.zone is not None else "[Tt]"
    clock = "[0-9]{4}-[0-9]{2}-[0-9]{2}" + mark + "[0-9]{2}:[0-9]{2}:[0-9]{2}"
    return f"""regexp_full_match(started_text, '{clock}(\\.[0-9]+)?{offset}') AS shaped,
    CASE WHEN upper(right(started_text, 1)) = 'Z' THEN 'Z'
      WHEN substr(started_text, -6, 1) IN ('+', '-') THEN right(started_text, 6) ELSE '' END
      AS offset_text"""


def _started_parts_sql(column: Column) -> str:
    """Return the SQL columns that the start is made of: see `_started_sql`."""
    if column.unit is not None:
        return "NULL AS local_us"
    fraction = (
        "substr(started_text, 21, greatest(length(started_text) - 20 - length(offset_text), 0))"
    )
    return f"""CASE WHEN shaped THEN
      (TRY_CAST(substr(started_text, 1, 10) AS DATE) - DATE '1970-01-01') * {MICRO_PER_DAY}
      + {_clock_sql("started_text", 12, 24)} * 3600000000
      + {_clock_sql("started_text", 15, 60)} * 60000000
      + {_clock_sql("started_text", 18, 60)} * 1000000
      + TRY_CAST(rpad(substr({fraction}, 1, 6), 6, '0') AS BIGINT) END AS local_us,
    CASE WHEN offset_text = 'Z' THEN 0 WHEN offset_text <> '' THEN
      (CASE WHEN offset_text[1] = '-' THEN -1 ELSE 1 END)
      * ({_clock_sql("offset_text", 2, 24)} * 3600000000 + {_clock_sql("offset_text", 5, 60)} * 60000000)
    END AS offset_us"""


def _clock_sql(text: str, at: int, below: int) -> str:
    part = f"TRY_CAST(substr({text}, {at}, 2) AS BIGINT)"
    return f"(CASE WHEN {part} < {below} THEN {part} END)"


def _started_sql(column: Column) -> str:
    """Return the SQL of the start in microseconds since 1970 UTC; null where it cannot be read."""
    if column.unit is not None:
        return f"CASE WHEN epoch_us <= {LAST_INSTANT} THEN epoch_us END"
    if column.zone is not None:
        return """CASE WHEN offset_text <> '' THEN local_us - offset_us
      WHEN local_us < zone.until THEN local_us - zone.shift END"""
    return "local_us - offset_us"


def _zone_join_sql(column: Column) -> str:
    return "" if column.zone is None else "ASOF LEFT JOIN zone ON parts.local_us >= zone.since"


def day_sql(micro: str) -> str:
    """Return the SQL of the UTC day of an instant; DuckDB's division cuts towards zero."""
    return (
        f"CASE WHEN {micro} >= 0 THEN {micro} // {MICRO_PER_DAY}"
        f" ELSE -((-{micro} + {MICRO_PER_DAY - 1}) // {MICRO_PER_DAY}) END"
    )
