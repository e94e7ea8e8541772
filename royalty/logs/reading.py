"""Stage one: files of any shape become one table of rows in native units.

The table `rows`: `file` (place of the source, from 0), `line`, `usage_id` (null: the file has no ids),
`work`, `kind` (as the ledger numbers it), `started_us` (since 1970), `day` (since 1970), `watched_us`,
`duration_us`, `identity` (viewer, else session), `resend` (whether the last of an id counts), what the
steps of the policy need (`royalty.logs.steps`), and `malformed` (why the row cannot be used, else null).
Everything is text or an integer.
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
from royalty.logs.columns import Column, Columns
from royalty.logs.csvrows import read_csv
from royalty.logs.fastparquet import fast_parquet
from royalty.logs.formats import FORMATS, Format, Gather, named
from royalty.logs.jsonrows import read_json
from royalty.logs.lines import BLOCK
from royalty.logs.parquetrows import read_parquet
from royalty.logs.policy import Policy
from royalty.logs.rowsql import fast_rows_sql, insert_rows_sql, text_sql
from royalty.logs.sources import Source, decompressed, opened, read_chunks, unchanged
from royalty.logs.steps import STEP_COLUMNS, Coder, line_columns, of_lines, plays_sql
from royalty.logs.zones import stretches

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Progress = Callable[[int, int], None]

MEMORY = "1GB"
PLAIN = "plain.parquet"

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
        by_path = source.format == "parquet" and source.compression is None
        with unchanged([source.path] if by_path else []):
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
    digest = sha256()
    gather = _gather_of(given)
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
        return [insert_rows_sql(columns, names, str(file), policy), *more]
    texts = (f"c{at}" for at in range(len(gather.names)))
    kept = ", ".join((*texts, *(name for name, _ in line_columns(policy))))
    return [
        f"INSERT INTO gathered SELECT {file}, line, {kept} FROM batch WHERE broken IS NULL",
        f"INSERT INTO rows (file, line, resend, malformed) SELECT {file}, line, FALSE, broken"
        " FROM batch WHERE broken IS NOT NULL",
    ]


def _sections_sql(columns: Columns, names: Sequence[str], file: int) -> str:
    """Return the SQL that keeps the texts of watched sections of the registered table `batch`."""
    text = text_sql(columns.fields["sections"], names)
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
    con.execute(insert_rows_sql(form.columns, names, "file", policy))
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


def one_row(con: DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """Return the only row of a query. (DuckDB 2 refuses further work while a result is unread.)"""
    (row,) = con.execute(sql).fetchall()
    return tuple(row)
