"""Counting on Spark: this package's own readers on the executors, the one statement of the rules in SQL.

Each file is a task: an executor reads it as `royalty.logs.reading` does and hands on its rows, so that
nothing is read in two ways. `royalty.logs.rules` then judges them, through a connection that runs its
statements on Spark. What comes out is small, and is added up on the driver as it is without Spark.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from royalty.days import Period
from royalty.errors import EngineFailed, InputError, MissingProgram, RoyaltyError
from royalty.logs.columns import Columns
from royalty.logs.counting import LISTED, TOTALS, Count, Counting, write_excluded
from royalty.logs.formats import FORMATS
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import (
    MEMORY,
    ROW_COLUMNS,
    Progress,
    engine,
    make_rows,
    read_rows,
    refuse_empty,
)
from royalty.logs.rules import apply_rules
from royalty.logs.sources import Source
from royalty.logs.sparksql import empty_of, insert_of, is_drop, macro_of, relation_of, to_spark

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from royalty.logs.engines import Counter

JAVA = 17
ROWS_A_BATCH = 65_536
KEPT = frozenset({"five"})
"""Tables that later statements read several times: computed once (a cache of Spark's is not found again)."""
STEPS = frozenset(
    {"name", "version", "view", "double_click", "cap", "watched", "status", "robots", "own_plays"}
    | {"autoplay", "territory", "repeat", "spike"}
)
"""The parts of a policy's canonical form that are counted here; `spike` is held later, by what was counted."""

# What DuckDB calls otherwise; a mark has 63 bits.
_TYPES = {"INTEGER": "INT", "VARCHAR": "STRING", "UTINYINT": "SMALLINT", "UBIGINT": "BIGINT"}
_COLUMNS = tuple(
    (name, _TYPES.get(kind, kind))
    for name, kind in (column.split() for column in (*ROW_COLUMNS, "malformed VARCHAR"))
)
_SCHEMA = ", ".join(f"{name} {kind}" for name, kind in (*_COLUMNS, ("summary", "STRING")))
_GOOD = ", ".join(name for name, _ in _COLUMNS if name != "malformed")
_MOST_LINES = 2**40
_PARTS = "spark.sql.shuffle.partitions"


def counter_on(master: str | None = None) -> Counter:
    """Return what counts on a Spark master; without one, on that of Spark's own settings.

    Raises MissingProgram without pyspark or Java.
    """
    require_pyspark()
    require_java()
    return partial(count_on_spark, master=master)


def count_on_spark(
    sources: Sequence[Source],
    period: Period,
    matcher: WorkTable,
    policy: Policy | None = None,
    *,
    master: str | None = None,
    columns: Columns | None = None,
    excluded_to: Path | None = None,
    memory: str = MEMORY,
    progress: Progress | None = None,
) -> Count:
    """Return what `royalty.logs.count` returns, counted on Spark.

    Every machine of the cluster reads the files under the same paths, and has this package and Python
    installed as here. `memory` bounds the database of each task that reads a file, and the driver's.
    Raises InputError as `count` does, and for logs and policies that only DuckDB counts; MissingProgram
    without pyspark or Java; EngineFailed where the cluster fails.
    """
    asked = policy or Policy()
    _refuse_steps(asked)
    if columns is not None:
        sources = [replace(source, columns=columns) for source in sources]
    _refuse_joined(sources)
    reader = Reader((*sources,), asked, memory, our_version())
    with engine(memory) as con, spark_session(master) as session, _translated():
        counting = Counting(con, matcher, asked, period, listing=excluded_to is not None)
        counted = _count(session, reader, counting, excluded_to)
    if progress is not None:
        progress(len(sources), len(sources))
    return counted


def _count(session: Any, reader: Reader, counting: Counting, listing: Path | None) -> Count:
    """Return what the files come to, added up in the driver's own database."""
    con, rows = counting.con, _read(session, reader).persist()
    try:
        read = _summaries(rows, reader.sources)
        refuse_empty(read)
        spark = Connection(session)
        rows.createOrReplaceTempView("everything")
        malformed, first, last = spark.execute(
            "SELECT count(malformed), min(day), max(day) FROM everything WHERE summary IS NULL"
        ).fetchall()[0]
        if first is not None:
            _judge(spark, Period(first, last), counting)
            _keep(con, "totals", spark.query(TOTALS).toArrow())
        if listing is not None:
            _list(spark, con, judged=first is not None)
            write_excluded(con, read, listing)
        return counting.result(read, sum(one.rows for one in read), int(malformed))
    finally:
        rows.unpersist()


def _judge(spark: Connection, days: Period, counting: Counting) -> None:
    """Leave all rows judged in the view `judged`: at once, as a cluster has room for all days."""
    good = f"SELECT {_GOOD} FROM everything WHERE summary IS NULL AND malformed IS NULL"
    con = cast("DuckDBPyConnection", spark)
    counting.matcher.install(con)
    apply_rules(con, good, days, counting.policy, counting.matcher, asked=counting.period)


def _keep(con: DuckDBPyConnection, table: str, arrived: Any) -> None:
    con.register("arrived", arrived)
    con.execute(f"INSERT INTO {table} SELECT * FROM arrived")
    con.unregister("arrived")


def _list(spark: Connection, con: DuckDBPyConnection, *, judged: bool) -> None:
    """Put the excluded rows where `write_excluded` looks for them, some at a time."""
    import pyarrow as pa

    make_rows(con)
    some = [("file", pa.int32()), ("line", pa.int64()), ("malformed", pa.string())]
    bad = spark.query("SELECT file, line, malformed FROM everything WHERE malformed IS NOT NULL")
    for table in _tables(bad, some):
        _keep(con, "rows BY NAME", table)
    if judged:
        names = ("reason", "file", "line", "detail", "usage_id", "work")
        kinds = {"file": pa.int32(), "line": pa.int64()}
        schema = [(name, kinds.get(name, pa.string())) for name in names]
        for table in _tables(spark.query(LISTED), schema):
            _keep(con, "listed", table)


def _tables(frame: Any, schema: list[tuple[str, Any]]) -> Iterator[Any]:
    import pyarrow as pa

    rows = frame.toLocalIterator()
    names = [name for name, _ in schema]
    while some := [tuple(row) for row in islice(rows, ROWS_A_BATCH)]:
        columns = zip(*some, strict=True)
        arrays = [pa.array(c, kind) for c, (_, kind) in zip(columns, schema, strict=True)]
        yield pa.table(arrays, names)


# --- the rules' statements on Spark ---


class Found:
    """What a statement found: its rows, asked for when they are fetched."""

    def __init__(self, frame: Any) -> None:
        self.frame = frame
        self._left: Iterator[Any] | None = None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return [tuple(row) for row in self.frame.collect()]

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """Return the next rows, at most so many, in their order; none at the end."""
        if self._left is None:
            self._left = self.frame.toLocalIterator()
        return [tuple(row) for row in islice(self._left, size)]


class Connection:
    """A Spark session with the face of DuckDB's connection, as far as rules and matcher use it.

    Tables become views. Rows of a log get `rowid`, which DuckDB gives to the rows of any table.
    """

    def __init__(self, session: Any) -> None:
        self.session = session

    def query(self, sql: str) -> Any:
        """Return the frame of a query that is written in DuckDB's dialect."""
        return self.session.sql(to_spark(sql))

    def execute(self, sql: str) -> Found:
        """Run a statement that is written in DuckDB's dialect."""
        if (made := self._made(sql)) is not None:
            name, frame = made
            frame.createOrReplaceTempView(name)
            return Found(frame)
        if (macro := macro_of(sql)) is not None:
            return Found(self.session.sql(macro))
        if is_drop(sql):  # views take no room, and to drop one would forget what was kept of it
            return Found(None)
        return Found(self.query(sql))

    def _made(self, sql: str) -> tuple[str, Any] | None:
        """Return the name of the relation that a statement makes or adds to, and its frame from now on."""
        if (relation := relation_of(sql)) is not None:
            name, query = relation
            frame = _numbered(self.session.sql(query))
            return name, self._kept(frame) if name in KEPT else frame
        if (empty := empty_of(sql)) is not None:
            name, columns = empty
            return name, self.session.createDataFrame([], columns)
        if (insert := insert_of(sql)) is not None:
            name, query = insert
            return name, self.session.table(name).unionAll(self.session.sql(query))
        return None

    def _kept(self, frame: Any) -> Any:
        """Return a frame of what a frame holds now, without the plan that led to it.

        It survives a lost executor where the cluster has a folder for checkpoints.
        """
        safe = self.session.sparkContext.getCheckpointDir() is not None
        return frame.checkpoint() if safe else frame.localCheckpoint()

    def register(self, name: str, table: Any) -> None:
        """Let statements see an Arrow table under a name."""
        self.session.createDataFrame(table).createOrReplaceTempView(name)

    def unregister(self, name: str) -> None:
        """Forget a name; what was made of it stays."""
        self.session.catalog.dropTempView(name)


def _numbered(frame: Any) -> Any:
    """Return a frame whose rows have a number where they are rows of a log."""
    if not {"file", "line"} <= set(frame.columns) or "rowid" in frame.columns:
        return frame
    return frame.selectExpr("*", f"CAST(file AS BIGINT) * {_MOST_LINES} + line AS rowid")


# --- reading, on the executors ---


@dataclass(frozen=True, slots=True)
class Reader:
    """What an executor needs to read files by their places; it travels with every task."""

    sources: tuple[Source, ...]
    policy: Policy
    memory: str
    version: str

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yield the rows of the files whose places come in Arrow batches, as `read_file` does."""
        for batch in batches:
            for place in batch.column(0).to_pylist():
                yield from self.read_file(place)

    def read_file(self, place: int) -> Iterator[Any]:
        """Yield a file's rows in Arrow batches, then its summary, which is an error where it has one."""
        source = self.sources[place]
        try:
            if our_version() != self.version:
                raise InputError(
                    f"a worker has royalty {our_version()}, and the driver {self.version}"
                )
            with engine(self.memory, threads=1) as con:
                (read,) = read_rows(con, [source], policy=self.policy, empty=True)
                yield from con.sql(_rows_sql(place)).fetch_record_batch(ROWS_A_BATCH)
            yield _summary(
                place, {"sha256": read.sha256, "rows": read.rows, "passed": dict(read.passed)}
            )
        except (RoyaltyError, OSError) as error:
            why = str(error)
            if not isinstance(error, RoyaltyError):
                why = f"{source.path}: {error.strerror}"
            yield _summary(place, {"error": why})


def _read(session: Any, reader: Reader) -> Any:
    """Return the frame of all rows, with one more of each file that sums it up (`_summaries`)."""
    many = len(reader.sources)
    return session.range(0, many, 1, many).mapInArrow(reader.__call__, _SCHEMA)


def _rows_sql(place: int) -> str:
    kinds = {"STRING": "VARCHAR", "INT": "INTEGER"}
    cells = [f"CAST({name} AS {kinds.get(kind, kind)}) AS {name}" for name, kind in _COLUMNS[1:]]
    return (
        f"SELECT CAST({place} AS INTEGER) AS file, {', '.join(cells)},"
        " CAST(NULL AS VARCHAR) AS summary FROM rows"
    )


def _summary(place: int, said: dict[str, Any]) -> Any:
    import pyarrow as pa

    kinds = {"STRING": pa.string(), "INT": pa.int32(), "BIGINT": pa.int64()}
    kinds |= {"SMALLINT": pa.int16(), "BOOLEAN": pa.bool_()}
    cells = [pa.nulls(1, kinds[kind]) for _, kind in _COLUMNS]
    cells[0] = pa.array([place], pa.int32())
    names = [name for name, _ in _COLUMNS]
    return pa.record_batch([*cells, pa.array([json.dumps(said)])], [*names, "summary"])


def _summaries(rows: Any, sources: Sequence[Source]) -> list[Source]:
    """Return the sources as they were read; InputError where one could not be."""
    said = {
        row.file: json.loads(row.summary)
        for row in rows.where("summary IS NOT NULL").select("file", "summary").collect()
    }
    for place in range(len(sources)):
        if "error" in said[place]:
            raise InputError(said[place]["error"])
    return [replace(source, **said[place]) for place, source in enumerate(sources)]


# --- what is refused ---


def _refuse_steps(policy: Policy) -> None:
    unknown = sorted(set(policy.document()) - STEPS)
    if unknown:
        raise InputError(
            f"the Spark engine does not know the policy's step [{unknown[0]}]; leave --engine out"
        )


def _refuse_joined(sources: Sequence[Source]) -> None:
    """Raise InputError for logs whose lines are joined over files, of which a task sees one alone."""
    for source in sources:
        form = FORMATS.get(source.format)
        if form is not None and form.gather is not None:
            raise InputError(
                f"{source.path} is a log of {form.name}, which the Spark engine does not count; write"
                " it as native Parquet first (`royalty usage convert`), or leave --engine out"
            )


# --- Spark itself ---


@contextmanager
def spark_session(master: str | None = None) -> Iterator[Any]:
    """Open a Spark session of exact arithmetic, beside the caller's own where there is one.

    Views and settings are its own; a Spark that was started here is stopped at the end. Raises
    MissingProgram without pyspark or Java, EngineFailed where the master does not answer.
    """
    require_pyspark()
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is None:
        require_java()
        with _translated():
            started = _start(SparkSession, master)
    elif master is not None and running.sparkContext.master != master:
        raise InputError(
            f"a Spark of {running.sparkContext.master} runs in this process; stop it, or leave master out"
        )
    else:
        started = running
    try:
        yield _exact(started)
    finally:
        if running is None:
            started.stop()


def _start(spark: Any, master: str | None) -> Any:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.app.name": "royalty",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    builder = spark.builder
    if master is not None:
        builder = builder.master(master)
        if master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _exact(started: Any) -> Any:
    """Return a session in which nothing wraps around, and which suits the machines there are."""
    session = started.newSession()
    session.conf.set("spark.sql.ansi.enabled", "true")
    session.conf.set("spark.sql.session.timeZone", "UTC")
    context = session.sparkContext
    if context.master.startswith("local") and not context.getConf().contains(_PARTS):
        session.conf.set(_PARTS, str(max(4, 2 * context.defaultParallelism)))
    return session


def require_pyspark() -> None:
    """Raise MissingProgram where pyspark is not installed."""
    if find_spec("pyspark") is None:
        raise MissingProgram(
            "the Spark engine is not installed: pip install 'royalty[spark]' (it needs Java 17 too)"
        )


def require_java() -> None:
    """Raise MissingProgram where there is no Java, or one that is too old for Spark."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin/java")) if home else shutil.which("java")
    advice = f"Spark needs Java {JAVA} or later; install it (openjdk-{JAVA}-jre-headless), or set JAVA_HOME"
    try:
        done = subprocess.run(
            [java or "java", "-version"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        raise MissingProgram(f"no Java was found; {advice}") from None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if found is not None and int(found[1]) < JAVA:
        raise MissingProgram(f"Java {found[1]} is too old; {advice}")


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what goes wrong on the cluster into EngineFailed; a statement that is wrong stays a bug."""
    from py4j.protocol import Py4JError
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException:
        raise
    except (PySparkException, Py4JError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), "")
        raise EngineFailed(f"Spark failed: {said[:300]}") from error


def our_version() -> str:
    from royalty import __version__

    return __version__
