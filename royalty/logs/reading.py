"""Stage one: files of any shape become one table of rows in native units.

The table `rows`: `file` (place of the source, from 0), `line`, `usage_id` (null: the file has no ids),
`work`, `kind` (as the ledger numbers it), `started_us` (since 1970), `day` (since 1970), `watched_us`,
`duration_us`, `identity` (viewer, else session), `resend` (whether the last of an id counts), what the
steps of the policy need (`royalty.logs.steps`), and `malformed` (why the row cannot be used, else null).
Everything is text or an integer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from royalty.logs.fastparquet import FastParquet, fast_parquet
from royalty.logs.formats import FORMATS, Format, Gather, named
from royalty.logs.jsonrows import read_json
from royalty.logs.lines import BLOCK
from royalty.logs.parquetrows import read_parquet
from royalty.logs.policy import Policy
from royalty.logs.sources import Source, decompressed, opened, read_chunks
from royalty.logs.steps import STEP_COLUMNS, Coder, insert_sql, line_columns, of_lines, plays_sql
from royalty.logs.zones import stretches
from royalty.usage import MAX_SECONDS, Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Progress = Callable[[int, int], None]

MEMORY = "1GB"
PLAIN = "plain.parquet"
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
    *(f"{name} {kind}" for name, kind in STEP_COLUMNS),
)


@contextmanager
def engine(memory: str = MEMORY, threads: int | None = None) -> Iterator[DuckDBPyConnection]:
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
    policy: Policy | None = None,
    *,
    sections: bool = False,
    empty: bool = False,
) -> list[Source]:
    """Read files into the table `rows` and return the sources with their SHA-256 and number of rows.

    With `sections`, which a policy with that step reads, their texts go into the table `sections`.

    Of the fields that only steps need, those that the policy's steps need are read. `file` goes on from
    what the table already holds. Raises InputError where a file cannot be read as a whole, lacks a column
    of a step, or where no file has a row and `empty` does not allow it. `progress` is called with the
    bytes read and those there are.
    """
    if not sources:
        raise InputError("no log was given; name at least one file")
    make_rows(con)
    policy = policy or Policy()
    first = first_file(con)
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
            if sections:
                raise InputError(f"{source.path}: {form.name} logs have no sections for cues")
            _make_gathered(con, form.gather, policy)
            gathers[form.name] = form
        inserts = partial(_inserts, source, first + at, policy, sections)
        fast_as = None if policy.needs or sections else first + at
        read.append(_read_source(con, source, inserts, meter, policy, fast_as))
    for form in gathers.values():
        _add_plays(con, form, policy)
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
        _read_source(con, source, lambda *_, at=at: [insert(at)], meter, Policy())
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


def first_file(con: DuckDBPyConnection) -> int:
    """Return the number of the next file: `rows` may hold others."""
    return int(one_row(con, "SELECT coalesce(max(file) + 1, 0) FROM rows")[0])


@contextmanager
def distrusting(con: DuckDBPyConnection) -> Iterator[None]:
    """Leave no test of a value out for what a Parquet file's statistics say of it: they may lie."""
    con.execute("SET disabled_optimizers = 'statistics_propagation'")
    try:
        yield
    finally:
        con.execute("RESET disabled_optimizers")


@contextmanager
def unchanged(paths: Sequence[Path]) -> Iterator[None]:
    """Raise InputError where one of these files is another at the end: its digest would be of what was."""
    before = {path: _mark(path) for path in paths}
    yield
    for path, mark in before.items():
        if _mark(path) != mark:
            raise InputError(
                f"{path} was changed while it was read; try again when nobody writes to it"
            )


def _mark(path: Path) -> tuple[int, ...]:
    try:
        at = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns


def digests(sources: Sequence[Source], tick: Callable[[int], None]) -> list[str]:
    """Return the SHA-256 of plain files; `tick` is told the bytes read so far."""
    found, before = [], 0
    for source in sources:
        digest = sha256()
        with opened(source.path) as raw:
            for chunk in read_chunks(raw, source.path, BLOCK):
                digest.update(chunk)
                tick(before + raw.done)
            before += raw.done
        found.append("0x" + digest.hexdigest())
    return found


def _read_source(
    con: DuckDBPyConnection,
    given: Source,
    inserts: Callable[[Columns, Sequence[str]], list[str]],
    meter: _Meter,
    policy: Policy,
    fast_as: int | None = None,
) -> Source:
    """Read one file; `fast_as` is its place where it may be read in SQL if it is typed."""
    gather = _gather_of(given)
    by_path = given.format == "parquet" and given.compression is None
    with unchanged([given.path] if by_path else []):
        return _read_whole(con, given, gather, inserts, meter, policy, fast_as)


def _read_whole(
    con: DuckDBPyConnection,
    given: Source,
    gather: Gather | None,
    inserts: Callable[[Columns, Sequence[str]], list[str]],
    meter: _Meter,
    policy: Policy,
    fast_as: int | None,
) -> Source:
    digest = sha256()
    source = replace(given, columns=_step_columns(given.columns, gather, policy))
    rows = 0
    with opened(source.path) as raw, tempfile.TemporaryDirectory(prefix="royalty-") as folder:
        chunks = _hashed(
            read_chunks(decompressed(raw, source.compression), source.path, BLOCK),
            digest,
            lambda: meter.at(raw.done),
        )
        reading = _open_reading(source, chunks, Path(folder), policy)
        if fast_as is not None:
            found = _insert_fast(con, source, reading, fast_as, Path(folder))
            if found is not None:
                meter.done(raw.done)
                return replace(given, sha256="0x" + digest.hexdigest(), rows=found)
        coded = policy if gather is None else of_lines(policy)
        coder = Coder(coded, source.columns, reading.names, source.path)
        statements = inserts(source.columns, reading.names)
        zone = source.columns.fields["started_at"].zone
        _make_zone(con, zone)
        for table in reading.tables:
            rows += table.num_rows
            con.register("batch", coder.coded(table))
            for statement in statements:
                con.execute(statement)
            con.unregister("batch")
        for _ in chunks:
            pass
        if source.format == "json":
            coder.check()
        meter.done(raw.done)
    return replace(given, sha256="0x" + digest.hexdigest(), rows=rows, passed=dict(reading.passed))


def _gather_of(source: Source) -> Gather | None:
    form = FORMATS.get(source.format)
    return None if form is None else form.gather


def _step_columns(columns: Columns, gather: Gather | None, policy: Policy) -> Columns:
    """Return columns with the fields that the steps need; InputError where the log has no such field.

    Those of lines that are joined do not stand in the format's columns, whose digest names a reading.
    """
    if gather is None:
        return columns.for_steps(policy.needs)
    facts = (*gather.facts, *(["sections"] if gather.union else []))
    fields = {**columns.fields, **{fact: Column(fact) for fact in facts}}
    return replace(columns, fields=fields).for_steps(policy.needs)


def _make_gathered(con: DuckDBPyConnection, gather: Gather, policy: Policy) -> None:
    """Make the table of lines that become plays: their texts, and what the steps know of each."""
    texts = [(name, "VARCHAR") for name in gather.names]
    kept = ", ".join(f"{name} {kind}" for name, kind in (*texts, *line_columns(policy)))
    con.execute(f"CREATE TEMP TABLE gathered (file INTEGER, line BIGINT, {kept})")


def _insert_fast(
    con: DuckDBPyConnection, source: Source, reading: Reading, file: int, folder: Path
) -> int | None:
    """Put a typed Parquet file into `rows` and return how many, None where it is to be read slowly."""
    import duckdb

    if reading.parquet is None:
        return None
    path = source.path if source.compression is None else folder / PLAIN
    schema = reading.parquet.schema_arrow
    fast = fast_parquet(con, path, source.columns, reading.names, schema)
    if fast is None:
        return None
    try:
        with distrusting(con):
            odd = f"SELECT count(*) FROM {fast.relation(f' WHERE {fast.odd_start}')}"
            if one_row(con, odd)[0]:
                return None
            con.execute(f"INSERT INTO rows BY NAME {fast_rows_sql(source.columns, fast, file)}")
    except duckdb.FatalException as error:
        raise InputError(f"{source.path} is damaged: {str(error).splitlines()[0][:200]}") from None
    except duckdb.Error as error:
        if is_full(error):
            raise
        return None
    rows = int(reading.parquet.metadata.num_rows)
    reading.parquet.close()
    return rows


def is_full(error: Exception) -> bool:
    """Return whether DuckDB stopped for want of memory or disk, which no other way of reading mends."""
    import duckdb

    return isinstance(error, duckdb.OutOfMemoryException) or "No space left" in str(error)


def _inserts(
    source: Source,
    file: int,
    policy: Policy,
    sections: bool,
    columns: Columns,
    names: Sequence[str],
) -> list[str]:
    """Return the SQL that keeps the registered table `batch`: its rows, or lines that become rows."""
    gather = _gather_of(source)
    if gather is None:
        more = [_sections_sql(columns, names, file)] if sections else []
        return [_insert_sql(columns, names, str(file), policy), *more]
    texts = (f"c{at}" for at in range(len(gather.names)))
    kept = ", ".join((*texts, *(name for name, _ in line_columns(policy))))
    return [
        f"INSERT INTO gathered SELECT {file}, line, {kept} FROM batch WHERE broken IS NULL",
        f"INSERT INTO rows (file, line, resend, malformed) SELECT {file}, line, FALSE, broken"
        " FROM batch WHERE broken IS NOT NULL",
    ]


def _sections_sql(columns: Columns, names: Sequence[str], file: int) -> str:
    """Return the SQL that keeps the texts of watched sections of the registered table `batch`."""
    text = _text_sql(columns.fields["sections"], names)
    return (
        f"INSERT INTO sections SELECT {file}, line, {text} FROM batch"
        f" WHERE broken IS NULL AND {text} IS NOT NULL"
    )


def _add_plays(con: DuckDBPyConnection, form: Format, policy: Policy) -> None:
    """Turn the gathered lines of a format into rows: one a play, at its first line."""
    if form.gather is None:
        return
    names = [column.column or "" for column in form.columns.fields.values()]
    texts = (f"{name} AS c{at}" for at, name in enumerate(names))
    cells = ", ".join((*texts, *(f"s_{name}" for name in policy.step_columns)))
    con.execute(
        "CREATE OR REPLACE TEMP VIEW batch AS"
        f" SELECT file, line, CAST(NULL AS VARCHAR) AS broken, {cells}"
        f" FROM ({plays_sql(policy, form.gather.plays)})"
    )
    con.execute(_insert_sql(form.columns, names, "file", policy))
    con.execute("DROP VIEW batch")
    con.execute("DROP TABLE gathered")


def _open_reading(source: Source, chunks: Iterator[bytes], folder: Path, policy: Policy) -> Reading:
    if source.columns.format is not None:
        form, option = named(source.columns.format)
        if form.gather is not None:
            return form.gather.read(chunks, source.path, option, policy.needs)
        return form.read(chunks, source.path, option)
    if source.format == "csv":
        return read_csv(chunks, source.path, source.columns, source.separator)
    if source.format == "json":
        return read_json(chunks, source.path, source.columns)
    if source.compression is None:
        for _ in chunks:
            pass
        return read_parquet(source.path, source.columns, name=source.path)
    plain = folder / PLAIN
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


def _insert_sql(columns: Columns, names: Sequence[str], file: str, policy: Policy) -> str:
    """Return the SQL that reads the registered table `batch` into `rows`; `file` is SQL, too."""
    texts = {
        name: text
        for name, column in columns.fields.items()
        if (text := _text_sql(column, names)) is not None
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


def _text_sql(column: Column, names: Sequence[str]) -> str | None:
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


def one_row(con: DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """Return the only row of a query. (DuckDB 2 refuses further work while a result is unread.)"""
    (row,) = con.execute(sql).fetchall()
    return tuple(row)
