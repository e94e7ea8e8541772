"""What was recorded goes into the store: segments of recorders, and files that `usage ingest` reads.

A segment is deleted after what it holds is in the store's files. A kill in between leaves both; rows are
a set, so they add nothing when they come again.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty import segments
from royalty.days import MAX_DAY
from royalty.errors import InputError, StoreFailed
from royalty.journal import crash_at
from royalty.segments import Segment
from royalty.store import ROW_FIELDS, STEP_FIELDS, UsageStore, kept_columns, month_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from royalty.logs import Columns

Progress = Callable[[int, int], None]

MEMORY = "512MB"
LISTED = 1_000
OUTSIDE = "started_at lies outside 1970 to 2149"
MICRO_PER_DAY = 86_400 * 10**6
_TABLE = f"""
CREATE OR REPLACE TABLE recorded
  ({", ".join(f"{name} {kind}" for name, kind in ROW_FIELDS)}, day INTEGER, resend BOOLEAN)"""


def flush(store: UsageStore, *, whole: bool = False) -> None:
    """Bring what recorders have written into the store's files, and delete the segments that ended.

    `whole` takes segments that are still being written too, as far as they are: a report does.
    Raises StoreFailed where the store is busy.
    """
    folder = store.folder / "ingest"
    if not any(folder.glob(f"*{segments.SUFFIX}")):
        return
    with store.locked(), segments.found(folder) as listed:
        for some in _portions(listed if whole else [one for one in listed if one.ended]):
            with _translated(store):
                _keep(store, some)
                segments.remove([one for one in some if one.ended], folder)


@contextmanager
def _translated(store: UsageStore) -> Iterator[None]:
    """Turn what the disk and the engine say into one line; the segments stay."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreFailed(f"the usage store {store.folder} cannot be written: {reason}") from None


def load(connection: DuckDBPyConnection, store: UsageStore) -> str:
    """Load what recorders have written into a table of `connection` and return its name."""
    connection.execute(_TABLE)
    with segments.found(store.folder / "ingest") as listed:
        for segment in listed:
            _load(connection, segment.payload())
    return "recorded"


def _portions(listed: Sequence[Segment]) -> Iterable[list[Segment]]:
    """Yield segments a few at a time, so that memory stays bounded."""
    few = 4
    for at in range(0, len(listed), few):
        yield list(listed[at : at + few])


def _keep(store: UsageStore, some: Sequence[Segment]) -> None:
    from royalty.logs import engine

    with engine(MEMORY, threads=1) as connection:
        connection.execute(_TABLE)
        rows = sum(_load(connection, segment.payload()) for segment in some)
        if rows:
            with store.gathered(connection, "recorded") as staged:
                staged.commit()
    crash_at("after-commit")


def _load(connection: DuckDBPyConnection, payload: bytes) -> int:
    """Add the lines of a segment to the table `recorded`, and return how many."""
    import pyarrow as pa
    from pyarrow import json

    if not payload:
        return 0
    schema = pa.schema(
        [
            *((name, pa.string()) for name in "iw"),
            ("k", pa.uint8()),
            *((name, pa.int64()) for name in "std"),
            ("v", pa.uint64()),
            ("r", pa.bool_()),
            *((name, _arrow(kind)) for name, kind in STEP_FIELDS),
        ]
    )
    lines = json.read_json(
        pa.BufferReader(payload),
        json.ReadOptions(use_threads=False, block_size=1 << 22),
        json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )
    connection.register("lines", lines)
    connection.execute(
        f"INSERT INTO recorded SELECT i, w, k, s, t, d, v, {', '.join(name for name, _ in STEP_FIELDS)},"
        f" CAST(s // {MICRO_PER_DAY} AS INTEGER), coalesce(r, FALSE) FROM lines"
    )
    connection.unregister("lines")
    return int(lines.num_rows)


def _arrow(kind: str) -> Any:
    """Return the Arrow type of a column of steps."""
    import pyarrow as pa

    types = {"BIGINT": pa.int64(), "SMALLINT": pa.int16(), "UTINYINT": pa.uint8()}
    return types.get(kind) or pa.uint64()


# --- files ---


@dataclass(frozen=True, slots=True)
class Malformed:
    """A row that was not kept: its file, its line and why."""

    file: str
    line: int
    reason: str

    def document(self) -> dict[str, Any]:
        """Return the JSON row."""
        return {"file": self.file, "line": self.line, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the rows of files: `rows` = `kept` + `known` + `malformed`.

    `known` were in the store already, or came twice. `late` of the kept ones are of closed days: they
    stand in `held`. `listed` names the first 1,000 malformed rows.
    """

    rows: int
    kept: int
    late: int
    malformed: int
    listed: tuple[Malformed, ...] = field(default=(), repr=False)

    @property
    def known(self) -> int:
        """How many rows added nothing: they are there, field for field."""
        return self.rows - self.kept - self.malformed

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "rows": self.rows,
            "kept": self.kept,
            "late": self.late,
            "known": self.known,
            "malformed": self.malformed,
            "malformed_rows": [row.document() for row in self.listed],
        }


def ingest(
    store: UsageStore,
    logs: Iterable[str | Path],
    *,
    columns: str | Path | None = None,
    separator: str | None = None,
    format: str | None = None,
    policy: str | Path | None = None,
    progress: Progress | None = None,
) -> Ingested:
    """Keep the rows of files in the store for later reports, durable when this returns.

    `-` is the standard input. What the steps of `policy` need is kept too, so that days can be reported
    under it. The same rows again add nothing, so a run that was killed is repeated. Raises InputError
    where a file cannot be read as a whole or has no ids, StoreFailed where the store is busy.
    """
    from royalty.logs import Columns, Policy, are_sums, engine, find_sources, read_rows

    shape = Columns.load(columns)
    _require_ids(shape)
    with tempfile.TemporaryDirectory(prefix="royalty-") as folder, engine() as connection:
        files = [_spooled(Path(folder)) if str(one) == "-" else one for one in logs]
        found = find_sources(files, shape, separator, format)
        if not are_sums(found):  # they are refused as what they are
            _require_ids(found[0].columns)
        sources = read_rows(connection, found, progress, Policy.load(policy))
        connection.execute(
            f"UPDATE rows SET malformed = '{OUTSIDE}'"
            f" WHERE malformed IS NULL AND day NOT BETWEEN 0 AND {MAX_DAY}"
        )
        names = [_shown(source.path, Path(folder)) for source in sources]
        with store.locked(), _translated(store):
            kept, late = _keep_rows(connection, store)
        return _ingested(connection, kept, late, names)


def _require_ids(columns: Columns) -> None:
    """Raise InputError for rows without ids: a report knows their log by its SHA-256.

    Single rows, read by other columns, would be others.
    """
    if not columns.own_ids:
        raise InputError(
            "rows without a usage_id are reported, not ingested: read by other columns they would"
            " count twice; use `royalty usage report LOG`, or name the column of the id"
        )


def _keep_rows(connection: DuckDBPyConnection, store: UsageStore) -> tuple[int, int]:
    """Put the readable rows of the table `rows` into the store; return how many are new, how many late."""
    good = "FROM rows WHERE malformed IS NULL"
    days = connection.execute(f"SELECT DISTINCT day {good} ORDER BY day").fetchall()
    if not days:
        return 0, 0
    keys = {month: store.secret(month) for month in {month_of(day) for (day,) in days}}
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW recorded AS SELECT {kept_columns(keys)}, day, resend {good}"
    )
    with store.gathered(connection, "recorded") as staged:
        kept, late = staged.new_rows(), staged.late_rows()
        staged.commit()
    return kept, late


def _ingested(
    connection: DuckDBPyConnection, kept: int, late: int, names: Sequence[str]
) -> Ingested:
    ((rows, malformed),) = connection.execute(
        "SELECT count(*), count(malformed) FROM rows"
    ).fetchall()
    listed = connection.execute(
        "SELECT file, line, malformed FROM rows WHERE malformed IS NOT NULL"
        f" ORDER BY file, line LIMIT {LISTED}"
    ).fetchall()
    found = tuple(Malformed(names[file], line, reason) for file, line, reason in listed)
    return Ingested(int(rows), kept, late, int(malformed), found)


def _spooled(folder: Path) -> Path:
    """Return the standard input as a file, named after what it holds."""
    plain = folder / "stdin"
    with plain.open("wb") as file:
        while chunk := sys.stdin.buffer.read(1 << 20):
            file.write(chunk)
    with plain.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise InputError("the standard input is empty")
    return plain.rename(plain.with_suffix(_suffix(plain, head)))


def _suffix(path: Path, head: bytes) -> str:
    if head.startswith(b"PAR1"):
        return ".parquet"
    if head[:2] == b"\x1f\x8b" or head[:4] == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        kind = "gzip" if head[:2] == b"\x1f\x8b" else "zstd"
        try:
            with path.open("rb") as file:
                head = pa.CompressedInputStream(file, kind).read(4096)
        except OSError as error:
            raise InputError(f"the standard input is damaged or cut off: {error}") from None
    return ".jsonl" if head.lstrip().startswith(b"{") else ".csv"


def _shown(path: Path, folder: Path) -> str:
    return "-" if path.parent == folder else str(path)
