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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from royalty.days import Period
from royalty.errors import EngineFailed, InputError, MissingProgram, RoyaltyError
from royalty.logs.counting import LISTED, TOTALS, Count, Counting, write_excluded
from royalty.logs.formats import FORMATS
from royalty.logs.matching import WorkTable
from royalty.logs.policy import Policy
from royalty.logs.reading import Progress, engine, make_rows, read_rows, refuse_empty
from royalty.logs.rules import apply_rules
from royalty.logs.sources import Source
from royalty.logs.sparksql import is_drop, macro_of, table_of, to_spark

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from royalty.logs.engines import Counter

JAVA = 17
TASK_MEMORY = "512MB"
ROWS_A_BATCH = 65_536
KEPT = frozenset({"five"})
"""Tables that later statements read several times: computed once (a cache of Spark's is not found again)."""
STEPS = frozenset({"name", "version", "view", "double_click", "cap"})
"""The parts of a policy's canonical form that are counted here."""

_COLUMNS = (
    ("file", "INT"),
    ("line", "BIGINT"),
    ("usage_id", "STRING"),
    ("work", "STRING"),
    ("kind", "SMALLINT"),
    ("started_us", "BIGINT"),
    ("day", "INT"),
    ("watched_us", "BIGINT"),
    ("duration_us", "BIGINT"),
    ("identity", "STRING"),
    ("resend", "BOOLEAN"),
    ("malformed", "STRING"),
)
_SCHEMA = ", ".join(f"{name} {kind}" for name, kind in (*_COLUMNS, ("summary", "STRING")))
_GOOD = ", ".join(name for name, _ in _COLUMNS if name != "malformed")
_MOST_LINES = 2**40


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
    excluded_to: Path | None = None,
    progress: Progress | None = None,
) -> Count:
    """Return what `royalty.logs.count` returns, counted on Spark.

    Every machine of the cluster reads the files under the same paths, and has this package and Python
    installed as here. Raises InputError as `count` does, and for logs and policies that only DuckDB
    counts; MissingProgram without pyspark or Java; EngineFailed where the cluster fails.
    """
    asked = policy or Policy()
    _refuse_steps(asked)
    _refuse_formats(sources)
    with spark_session(master) as session, _translated():
        counted = _count(session, sources, period, matcher, asked, excluded_to)
    if progress is not None:
        progress(len(sources), len(sources))
    return counted


def _count(
    session: Any,
    sources: Sequence[Source],
    period: Period,
    matcher: WorkTable,
    policy: Policy,
    listing: Path | None,
) -> Count:
    rows = _read(session, sources).persist()
    try:
        read = _summaries(rows, sources)
        refuse_empty(read)
        spark = Connection(session)
        rows.createOrReplaceTempView("everything")
        malformed, first, last = spark.execute(
            "SELECT count(malformed), min(day), max(day) FROM everything WHERE summary IS NULL"
        ).fetchall()[0]
        with engine() as con:
            counting = Counting(con, matcher, policy, period, listing=listing is not None)
            if first is not None:
                matcher.install(cast("DuckDBPyConnection", spark))
                _judge(spark, Period(first, last), period, matcher, policy)
                _keep(con, "totals", spark.query(TOTALS).toArrow())
            if listing is not None:
                _list(spark, con, judged=first is not None)
                write_excluded(con, read, listing)
            return counting.result(read, sum(one.rows for one in read), int(malformed))
    finally:
        rows.unpersist()


def _judge(
    spark: Connection, days: Period, asked: Period, matcher: WorkTable, policy: Policy
) -> None:
    """Leave all rows judged in the view `judged`: at once, as a cluster has room for all days."""
    good = f"SELECT {_GOOD} FROM everything WHERE summary IS NULL AND malformed IS NULL"
    apply_rules(cast("DuckDBPyConnection", spark), good, days, policy, matcher, asked=asked)


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


@dataclass(slots=True)
class Found:
    """What a statement found: its rows, asked for when they are fetched."""

    frame: Any

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return [tuple(row) for row in self.frame.collect()]


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
        if (table := table_of(sql)) is not None:
            name, query = table
            frame = self.session.sql(query)
            if {"file", "line"} <= set(frame.columns) and "rowid" not in frame.columns:
                frame = frame.selectExpr(
                    "*", f"CAST(file AS BIGINT) * {_MOST_LINES} + line AS rowid"
                )
            if name in KEPT:
                frame = self._kept(frame)
            frame.createOrReplaceTempView(name)
            return Found(frame)
        if (macro := macro_of(sql)) is not None:
            return Found(self.session.sql(macro))
        if is_drop(sql):  # views take no room, and to drop one would forget what was kept of it
            return Found(None)
        return Found(self.query(sql))

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


# --- reading, on the executors ---


def _read(session: Any, sources: Sequence[Source]) -> Any:
    """Return the frame of all rows, with one more of each file that sums it up (`_summaries`)."""
    files = session.range(0, len(sources), 1, len(sources))
    return files.mapInArrow(_reader([*sources], our_version()), _SCHEMA)


def _reader(sources: list[Source], version: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def read(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            for place in batch.column(0).to_pylist():
                yield from read_file(sources[place], place, version)

    return read


def read_file(source: Source, place: int, version: str) -> Iterator[Any]:
    """Yield a file's rows in Arrow batches, then its summary, which is an error where it has one."""
    try:
        if our_version() != version:
            raise InputError(f"a worker has royalty {our_version()}, and the driver {version}")
        with engine(TASK_MEMORY, threads=1) as con:
            (read,) = read_rows(con, [source], empty=True)
            yield from con.sql(_rows_sql(place)).fetch_record_batch(ROWS_A_BATCH)
        yield _summary(
            place, {"sha256": read.sha256, "rows": read.rows, "passed": dict(read.passed)}
        )
    except (RoyaltyError, OSError) as error:
        why = str(error) if isinstance(error, RoyaltyError) else f"{source.path}: {error.strerror}"
        yield _summary(place, {"error": why})


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


def _refuse_formats(sources: Sequence[Source]) -> None:
    for source in sources:
        form = FORMATS.get(source.format)
        if form is not None and (form.gather is not None or form.sums):
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
    if context.master.startswith("local"):
        session.conf.set(
            "spark.sql.shuffle.partitions", str(max(4, 2 * context.defaultParallelism))
        )
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
