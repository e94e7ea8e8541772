"""Stage one: files of any shape become one table of rows in native units.

The table `rows`: `file` (place of the source, from 0), `line`, `usage_id` (null: the file has no ids),
`work`, `kind` (as the ledger numbers it), `started_us` (since 1970), `day` (since 1970), `watched_us`,
`duration_us`, `identity` (viewer, else session), `resend` (whether the last of an id counts), and
`malformed` (why the row cannot be used, else null). Everything is text or an integer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.errors import InputError
from royalty.logs.batches import Reading
from royalty.logs.columns import UNITS, Column, Columns
from royalty.logs.csvrows import read_csv
from royalty.logs.formats import FORMATS, Format, named
from royalty.logs.jsonrows import read_json
from royalty.logs.lines import BLOCK
from royalty.logs.parquetrows import read_parquet
from royalty.logs.sources import Source, decompressed, opened, read_chunks
from royalty.logs.zones import stretches
from royalty.usage import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Progress = Callable[[int, int], None]

MAX_SECONDS = 10**9
MICRO_PER_DAY = 86_400 * 10**6
LAST_INSTANT = 253_402_300_800 * 10**6 - 1

ROW_COLUMNS = (
    "file INTEGER",
    "line BIGINT",
    "usage_id VARCHAR",
    "work VARCHAR",
    "kind UTINYINT",
    "started_us BIGINT",
    "day INTEGER",
    "watched_us BIGINT",
    "duration_us BIGINT",
    "identity VARCHAR",
    "resend BOOLEAN",
)


@contextmanager
def engine(memory: str = "1GB", threads: int | None = None) -> Iterator[DuckDBPyConnection]:
    """Open a DuckDB whose tables lie in a temporary folder that is removed at the end.

    What does not fit into `memory` (for example `512MB`) is moved to that folder. Raises InputError
    where even so it is too little.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="royalty-") as folder:
        config: dict[str, Any] = {
            "memory_limit": memory,
            "temp_directory": str(Path(folder, "spill")),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "preserve_insertion_order": "false",
        }
        if threads is not None:
            config["threads"] = str(threads)
        try:
            con = duckdb.connect(str(Path(folder, "count.duckdb")), config=config)
        except duckdb.Error as error:
            raise InputError(f"memory '{memory}' cannot be used: {error}") from None
        try:
            con.execute("SET checkpoint_threshold = '1GB'")
            yield con
        except duckdb.OutOfMemoryException:
            raise InputError(
                f"the log cannot be counted in {memory} of memory; allow more"
            ) from None
        except duckdb.IOException as error:
            if "No space left" not in str(error):
                raise
            raise InputError(
                "no room is left on the disk to count the log; free some and run it again"
            ) from None
        finally:
            con.close()


def read_rows(
    con: DuckDBPyConnection,
    sources: Sequence[Source],
    progress: Progress | None = None,
    *,
    empty: bool = False,
) -> list[Source]:
    """Read files into the table `rows` and return the sources with their SHA-256 and number of rows.

    `file` goes on from what the table already holds. Raises InputError where a file cannot be read as a
    whole, or where no file has a row and `empty` does not allow it. `progress` is called with the bytes
    read and the bytes there are.
    """
    if not sources:
        raise InputError("no log was given; name at least one file")
    make_rows(con)
    (first,) = one_row(con, "SELECT coalesce(max(file) + 1, 0) FROM rows")
    meter = _Meter(sum(source.path.stat().st_size for source in sources), progress)
    read = []
    gathers: dict[str, Format] = {}
    for at, source in enumerate(sources):
        form = FORMATS.get(source.format)
        if form is not None and form.sums:
            raise InputError(
                f"{source.path} holds sums ({form.name}), no rows: `royalty usage check` shows what they"
                " come to, apart; they cannot be reported"
            )
        if form is not None and form.gather is not None and form.name not in gathers:
            con.execute(
                f"CREATE TEMP TABLE gathered (file INTEGER, line BIGINT, {form.gather.table})"
            )
            gathers[form.name] = form
        inserts = partial(_inserts, source, first + at)
        read.append(_read_source(con, source, inserts, meter))
    for form in gathers.values():
        _add_plays(con, form)
    if not empty:
        refuse_empty(read)
    return read


def read_sums(
    con: DuckDBPyConnection,
    sources: Sequence[Source],
    insert: Callable[[int], str],
    progress: Progress | None = None,
) -> list[Source]:
    """Read files of sums: `insert` gives the SQL that keeps the table `batch` of a file's place."""
    meter = _Meter(sum(source.path.stat().st_size for source in sources), progress)
    read = [
        _read_source(con, source, lambda _, at=at: [insert(at)], meter)  # type: ignore[misc]
        for at, source in enumerate(sources)
    ]
    refuse_empty(read)
    return read


def refuse_empty(read: Sequence[Source]) -> None:
    """Raise InputError where no file that was read has a row."""
    if not any(source.rows for source in read):
        raise InputError(_no_rows(read))


def _no_rows(read: Sequence[Source]) -> str:
    said = f"{read[0].path} has no rows" if len(read) == 1 else "no file has a row"
    passed: dict[str, int] = {}
    for source in read:
        for why, lines in source.passed.items():
            passed[why] = passed.get(why, 0) + lines
    listed = ", ".join(f"{lines:,} {why}" for why, lines in sorted(passed.items()))
    return f"{said} of usage (lines passed over: {listed})" if listed else said


def make_rows(con: DuckDBPyConnection) -> None:
    """Make the table `rows` where there is none yet."""
    con.execute(f"CREATE TABLE IF NOT EXISTS rows ({', '.join(ROW_COLUMNS)}, malformed VARCHAR)")


def _read_source(
    con: DuckDBPyConnection,
    source: Source,
    inserts: Callable[[Sequence[str]], list[str]],
    meter: _Meter,
) -> Source:
    digest = sha256()
    rows = 0
    with opened(source.path) as raw, tempfile.TemporaryDirectory(prefix="royalty-") as folder:
        chunks = _hashed(
            read_chunks(decompressed(raw, source.compression), source.path, BLOCK),
            digest,
            lambda: meter.at(raw.done),
        )
        reading = _open_reading(source, chunks, Path(folder))
        statements = inserts(reading.names)
        zone = source.columns.fields["started_at"].zone
        _make_zone(con, zone)
        for table in reading.tables:
            rows += table.num_rows
            con.register("batch", table)
            for statement in statements:
                con.execute(statement)
            con.unregister("batch")
        for _ in chunks:
            pass
        meter.done(raw.done)
    return replace(source, sha256="0x" + digest.hexdigest(), rows=rows, passed=dict(reading.passed))


def _inserts(source: Source, file: int, names: Sequence[str]) -> list[str]:
    """Return the SQL that keeps the registered table `batch`: its rows, or lines that become rows."""
    form = FORMATS.get(source.format)
    if form is None or form.gather is None:
        return [_insert_sql(source.columns, names, str(file))]
    kept = ", ".join(f"c{at}" for at in range(len(names)))
    return [
        f"INSERT INTO gathered SELECT {file}, line, {kept} FROM batch WHERE broken IS NULL",
        f"INSERT INTO rows (file, line, resend, malformed) SELECT {file}, line, FALSE, broken"
        " FROM batch WHERE broken IS NOT NULL",
    ]


def _add_plays(con: DuckDBPyConnection, form: Format) -> None:
    """Turn the gathered lines of a format into rows: one a play, at its first line."""
    if form.gather is None:
        return
    names = [column.column or "" for column in form.columns.fields.values()]
    cells = ", ".join(f"{name} AS c{at}" for at, name in enumerate(names))
    con.execute(
        "CREATE OR REPLACE TEMP VIEW batch AS"
        f" SELECT file, line, CAST(NULL AS VARCHAR) AS broken, {cells} FROM ({form.gather.plays})"
    )
    con.execute(_insert_sql(form.columns, names, "file"))
    con.execute("DROP VIEW batch")
    con.execute("DROP TABLE gathered")


def _open_reading(source: Source, chunks: Iterator[bytes], folder: Path) -> Reading:
    if source.columns.format is not None:
        form, option = named(source.columns.format)
        return form.read(chunks, source.path, option)
    if source.format == "csv":
        return read_csv(chunks, source.path, source.columns, source.separator)
    if source.format == "json":
        return read_json(chunks, source.path, source.columns)
    if source.compression is None:
        for _ in chunks:
            pass
        return read_parquet(source.path, source.columns, name=source.path)
    plain = folder / "plain.parquet"
    with plain.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    return read_parquet(plain, source.columns, name=source.path)


def _hashed(chunks: Iterator[bytes], digest: Any, tick: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        tick()
        yield chunk


class _Meter:
    """Tells how many of all bytes on disk have been read."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.before, self.progress = total, 0, progress

    def at(self, here: int) -> None:
        if self.progress is not None:
            self.progress(min(self.before + here, self.total), self.total)

    def done(self, size: int) -> None:
        self.before += size
        self.at(0)


def _make_zone(con: DuckDBPyConnection, zone: str | None) -> None:
    if zone is None:
        return
    con.execute("CREATE OR REPLACE TEMP TABLE zone (since BIGINT, until BIGINT, shift BIGINT)")
    con.executemany("INSERT INTO zone VALUES (?, ?, ?)", stretches(zone))


def _insert_sql(columns: Columns, names: Sequence[str], file: str) -> str:
    """Return the SQL that reads the registered table `batch` into `rows`; `file` is SQL, too."""
    texts = {name: _text_sql(column, names) for name, column in columns.fields.items()}
    started = columns.fields["started_at"]
    watched, duration = (
        columns.fields.get("watched_seconds"),
        columns.fields.get("duration_seconds"),
    )
    missing = "CAST(NULL AS VARCHAR)"
    return f"""
INSERT INTO rows
WITH texts AS (
  SELECT {file} AS file, line, broken,
    nullif({texts.get("usage_id", missing)}, '') AS usage_id,
    nullif({texts.get("work", missing)}, '') AS work,
    {texts.get("kind") or "'view'"} AS kind_text,
    nullif({texts.get("started_at", missing)}, '') AS started_text,
    nullif({texts.get("watched_seconds") or missing}, '') AS watched_text,
    nullif({texts.get("duration_seconds") or missing}, '') AS duration_text,
    coalesce(nullif({texts.get("viewer") or missing}, ''), nullif({texts.get("session") or missing}, ''))
      AS identity
  FROM batch
), shapes AS (
  SELECT *, {_micro_sql("watched_text", _places(watched))} AS watched_micro,
    {_micro_sql("duration_text", _places(duration))} AS duration_micro,
    {_shape_sql(started)}
  FROM texts
), parts AS (
  SELECT *,
    CASE kind_text WHEN 'view' THEN {Kind.VIEW.value} WHEN 'download' THEN {Kind.DOWNLOAD.value}
      WHEN 'excerpt' THEN {Kind.EXCERPT.value} END AS kind,
    {_number_sql("watched", watched)},
    {_number_sql("duration", duration)},
    {_started_parts_sql(started)}
  FROM shapes
), read AS (
  SELECT *, {_started_sql(started)} AS started_us FROM parts {_zone_join_sql(started)}
), judged AS (
  SELECT *, {_malformed_sql(columns)} AS malformed FROM read
)
SELECT file, line,
  CASE WHEN malformed IS NULL THEN usage_id END,
  CASE WHEN malformed IS NULL THEN work END,
  CASE WHEN malformed IS NULL THEN kind END,
  CASE WHEN malformed IS NULL THEN started_us END,
  CASE WHEN malformed IS NULL THEN CAST({_day_sql("started_us")} AS INTEGER) END,
  CASE WHEN malformed IS NULL THEN watched_us END,
  CASE WHEN malformed IS NULL THEN duration_us END,
  CASE WHEN malformed IS NULL THEN identity END,
  {str(columns.resend == "last").upper()},
  malformed
FROM judged"""


def _text_sql(column: Column, names: Sequence[str]) -> str | None:
    """Return the SQL of a field's text, or None where the file lacks its column."""
    if column.value is not None:
        return "'" + column.value.replace("'", "''") + "'"
    return f"c{names.index(column.column)}" if column.column in names else None


def _malformed_sql(columns: Columns) -> str:
    """Return the SQL of why a row is malformed, null where it is not (rule 1)."""
    unreadable = [
        ("broken IS NOT NULL", "broken"),
        ("usage_id IS NULL" if columns.has_ids else "FALSE", "'usage_id is missing'"),
        ("work IS NULL", "'work is missing'"),
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


def _day_sql(micro: str) -> str:
    """Return the SQL of the UTC day of an instant; DuckDB's division cuts towards zero."""
    return (
        f"CASE WHEN {micro} >= 0 THEN {micro} // {MICRO_PER_DAY}"
        f" ELSE -((-{micro} + {MICRO_PER_DAY - 1}) // {MICRO_PER_DAY}) END"
    )


def one_row(con: DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """Return the only row of a query. (DuckDB 2 refuses further work while a result is unread.)"""
    (row,) = con.execute(sql).fetchall()
    return tuple(row)
