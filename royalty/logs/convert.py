"""Any log as a native Parquet file: counting that file gives the count of the log."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.errors import InputError
from royalty.logs.cues import Cues, excerpts
from royalty.logs.policy import Policy
from royalty.logs.reading import Progress, engine, one_row, read_rows
from royalty.logs.rowsql import LAST_INSTANT
from royalty.logs.sources import Source
from royalty.logs.steps import sections_of
from royalty.usage import Kind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTED = 1_000
ROWS_AT_ONCE = 50_000
FIRST_INSTANT = -62_167_219_200 * 10**6  # the year 0, the first that RFC 3339 can write
_SHIFT = (23 * 60 + 59) * 60 * 10**6


@dataclass(frozen=True, slots=True)
class Converted:
    """What became a Parquet file: `rows`, of which `malformed` hold nothing but why.

    `listed` has the first 1,000 malformed ones as (file, line, reason). `sources` carry SHA-256, rows
    (of a format that joins lines, its lines) and what was passed over. `excerpts` are rows made of cues.
    """

    out: Path
    rows: int
    malformed: int
    listed: tuple[tuple[str, int, str], ...]
    sources: tuple[Source, ...]
    excerpts: int = 0

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "out": str(self.out),
            "rows": self.rows,
            "malformed": self.malformed,
            "excerpts": self.excerpts,
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
    cues: Cues | None = None,
    memory: str = "1GB",
    progress: Progress | None = None,
) -> Converted:
    """Write the rows of a log as native Parquet, all columns text, in the order of the log.

    Identities stand in `viewer`. A malformed row stays a row, empty but for `malformed`, so that it is
    counted again. With `cues`, what was watched of them follows as rows of excerpts of the cited works,
    `ID#3` by the third cue of its sheet. Rows without ids get one made of what identifies them, which
    sorts as they would. Raises InputError where a file cannot be read as a whole, the log says
    `resend = "last"` of single rows (a native log cannot), or `out` cannot be written or is one of the
    files; with `cues`, where a log has no sections.
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
        con.execute("CREATE TABLE sections (file INTEGER, line BIGINT, text VARCHAR)")
        con.execute(_CUED)
        asked = None if cues is None else Policy(sections=True)
        read = read_rows(con, sources, progress, asked, sections=cues is not None)
        cited = _cite(con, cues or {})
        _write(con, target)
        rows, malformed = one_row(con, "SELECT count(*), count(malformed) FROM rows")
        listed = con.execute(
            "SELECT file, line, malformed FROM rows WHERE malformed IS NOT NULL"
            f" ORDER BY file, line LIMIT {LISTED}"
        ).fetchall()
    named = tuple((str(read[file].path), line, reason) for file, line, reason in listed)
    return Converted(target, int(rows), int(malformed), named, tuple(read), cited)


def _cite(con: DuckDBPyConnection, cues: Cues) -> int:
    """Fill the table `cued` with what views watched of cues, and return how many excerpts that are."""
    con.execute("CREATE TABLE citing (work VARCHAR)")
    con.executemany("INSERT INTO citing VALUES (?)", [(work,) for work in cues] or [(None,)])
    views = con.cursor().execute(
        "SELECT file, line, work, text FROM rows JOIN sections USING (file, line)"
        f" JOIN citing USING (work) WHERE malformed IS NULL AND kind = {Kind.VIEW.value}"
    )
    cited = 0
    while some := views.fetchmany(ROWS_AT_ONCE):
        found = [
            (file, line, cue.number, cue.cited, micro)
            for file, line, work, text in some
            for cue, micro in excerpts(sections_of(text) or (), cues[work])
        ]
        if found:
            con.executemany("INSERT INTO cued VALUES (?, ?, ?, ?, ?)", found)
        cited += len(found)
    return cited


def _write(con: DuckDBPyConnection, target: Path) -> None:
    import duckdb

    part = target.with_name(f".{target.name}.part")
    quoted = str(part).replace("'", "''")
    try:
        con.execute(f"COPY ({_BOTH}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
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

_CUED = """
CREATE TABLE cued (file INTEGER, line BIGINT, cue INTEGER, cited VARCHAR, micro BIGINT)"""

# Excerpts come after all rows: equal ids, works and instants in equal order, whatever was cited.
_BOTH = f"""
(SELECT * FROM ({_NATIVE}))
UNION ALL
(SELECT coalesce(usage_id, {_MADE}) || '#' || cue, cited, 'excerpt', {_instant("started_us")},
  {_seconds("micro")}, NULL, identity, NULL, NULL
FROM cued JOIN rows USING (file, line) ORDER BY file, line, cue)"""
