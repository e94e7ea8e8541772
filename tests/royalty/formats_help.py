"""Help for the tests of formats: files of lines, and the rows that a reader makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from royalty import logs
from royalty.days import Period
from royalty.usage import WorkRef

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
COLUMNS = (
    "file, line, usage_id, work, kind, started_us, watched_us, duration_us, identity, malformed"
)


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def rows(*paths: Path, form: str | None = None) -> list[dict[str, Any]]:
    """The rows of files, in the order of the log."""
    names = COLUMNS.split(", ")
    with logs.engine() as con:
        logs.read_rows(con, logs.find_sources(paths, form=form))
        found = con.execute(f"SELECT {COLUMNS} FROM rows ORDER BY file, line").fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]


def bad(*paths: Path, form: str | None = None) -> list[tuple[int, str]]:
    """The lines that are malformed, and why."""
    return [(row["line"], row["malformed"]) for row in rows(*paths, form=form) if row["malformed"]]


def count_all(*paths: Path, form: str | None = None) -> logs.Count:
    """Count files of any day, each of their works in one catalogue."""
    works = sorted({row["work"] for row in rows(*paths, form=form) if row["work"]})
    table = [(work, WorkRef(1, at)) for at, work in enumerate(works)]
    matcher = logs.WorkTable(rows=table, deals=[(1, 1, 0, None)], works={1: max(len(works), 1)})
    return logs.count(logs.find_sources(paths, form=form), Period(0, 60_000), matcher)
