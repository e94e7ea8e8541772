"""Any log as a native Parquet file: counting that file gives the count of the log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.errors import InputError
from royalty.logs.reading import LAST_INSTANT, Progress, engine, one_row, read_rows
from royalty.logs.sources import Source
from royalty.usage import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTED = 1_000
FIRST_INSTANT = -62_167_219_200 * 10**6  # the year 0, the first that RFC 3339 can write
_SHIFT = (23 * 60 + 59) * 60 * 10**6


@dataclass(frozen=True, slots=True)
class Converted:
    """What became a Parquet file: `rows`, of which `malformed` hold nothing but why.

    `listed` has the first 1,000 malformed ones as (file, line, reason). `sources` carry SHA-256, rows
    (of a format that joins lines, its lines) and what was passed over.
    """

    out: Path
    rows: int
    malformed: int
    listed: tuple[tuple[str, int, str], ...]
    sources: tuple[Source, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "out": str(self.out),
            "rows": self.rows,
            "malformed": self.malformed,
            "malformed_rows": [
                {"file": file, "line": line, "reason": reason} for file, line, reason in self.listed
            ],
            "sources": [
                {
                    "file": str(source.path),
                    "format": source.columns.format or source.format,
                    "sha256": source.sha256,
                    "rows": source.rows,
                    "passed_over": dict(source.passed),
                }
                for source in self.sources
            ],
        }


def convert(
    sources: Sequence[Source],
    out: str | Path,
    *,
    memory: str = "1GB",
    progress: Progress | None = None,
) -> Converted:
    """Write the rows of a log as native Parquet, all columns text, in the order of the log.

    Identities stand in `viewer`. A malformed row stays a row, empty but for `malformed`, so that it is
    counted again. Rows without ids get one made of what identifies them, which sorts as they would.
    Raises InputError where a file cannot be read as a whole, the log says `resend = "last"` of single
    rows (a native log cannot), or `out` cannot be written or is one of the files.
    """
    target = Path(out)
    if any(source.path.resolve() == target.resolve() for source in sources):
        raise InputError(f"{target} is one of the logs; write to another file")
    if any(one.columns.resend == "last" and one.columns.format is None for one in sources):
        raise InputError(
            'a log whose columns file says resend = "last" cannot be written as native rows: of equal'
            " ids another row would count"
        )
    with engine(memory) as con:
        read = read_rows(con, sources, progress)
        _write(con, target)
        rows, malformed = one_row(con, "SELECT count(*), count(malformed) FROM rows")
        listed = con.execute(
            "SELECT file, line, malformed FROM rows WHERE malformed IS NOT NULL"
            f" ORDER BY file, line LIMIT {LISTED}"
        ).fetchall()
    named = tuple((str(read[file].path), line, reason) for file, line, reason in listed)
    return Converted(target, int(rows), int(malformed), named, tuple(read))


def _write(con: DuckDBPyConnection, target: Path) -> None:
    import duckdb

    part = target.with_name(f".{target.name}.part")
    quoted = str(part).replace("'", "''")
    try:
        con.execute(f"COPY ({_NATIVE}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
        os.replace(part, target)  # noqa: PTH105
    except (OSError, duckdb.IOException) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{target} cannot be written: {reason}") from None
    finally:
        part.unlink(missing_ok=True)


def _seconds(micro: str) -> str:
    """Return the SQL of microseconds as decimal seconds without zeros at the end."""
    fraction = f"rtrim(lpad(CAST({micro} % 1000000 AS VARCHAR), 6, '0'), '0')"
    return (
        f"CAST({micro} // 1000000 AS VARCHAR)"
        f" || CASE WHEN {micro} % 1000000 = 0 THEN '' ELSE '.' || {fraction} END"
    )


def _instant(micro: str) -> str:
    """Return the SQL of an instant as RFC 3339; the few beyond its years by an offset that fits."""

    def text(shift: int, offset: str) -> str:
        return f"strftime(make_timestamp({micro} + {shift}), '%Y-%m-%dT%H:%M:%S.%f{offset}')"

    return (
        f"CASE WHEN {micro} > {LAST_INSTANT} THEN {text(-_SHIFT, '-23:59')}"
        f" WHEN {micro} < {FIRST_INSTANT} THEN {text(_SHIFT, '+23:59')} ELSE {text(0, 'Z')} END"
    )


_KINDS = " ".join(f"WHEN {kind.value} THEN '{kind.word}'" for kind in Kind)

# Made ids sort as rows without ids do, by the work as written: its bytes in hex, and a space, which
# stands before every digit.
_MADE = (
    "lower(hex(encode(work))) || ' ' || sha256(length(identity) || ':' || identity || ' ' || kind"
    " || ' ' || started_us || ' ' || work)"
)

_NATIVE = f"""
SELECT CASE WHEN malformed IS NULL THEN coalesce(usage_id, {_MADE}) END AS usage_id, work,
  CASE kind {_KINDS} END AS kind, {_instant("started_us")} AS started_at,
  {_seconds("watched_us")} AS watched_seconds, {_seconds("duration_us")} AS duration_seconds,
  identity AS viewer, CAST(NULL AS VARCHAR) AS session, malformed
FROM rows ORDER BY file, line"""
