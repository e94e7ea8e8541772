"""Help for the tests of royalty.logs: write rows, count them, ask for the reason of each."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from royalty import logs
from royalty.days import Period, parse_day
from royalty.usage import WorkRef

HEADER = (
    "usage_id",
    "work",
    "kind",
    "started_at",
    "watched_seconds",
    "duration_seconds",
    "viewer",
    "session",
)
DAY = "2026-11-19"
EVE = "2026-11-18"
MORROW = "2026-11-20"

NUMBER = parse_day(DAY)
WORKS = {1: 3, 2: 1}
DEALS = [(1, 1, 0, None), (2, 1, NUMBER, None)]
ANSWERS = {"film": WorkRef(1, 0), "trailer": WorkRef(1, 1)}


def row(usage_id: str = "a", at: str = "10:00:00", day: str = DAY, **cells: Any) -> dict[str, str]:
    """A row that is qualified as it stands, save what is named otherwise."""
    usual = {
        "usage_id": usage_id,
        "work": "film",
        "kind": "view",
        "started_at": f"{day}T{at}Z",
        "watched_seconds": "60",
        "duration_seconds": "",
        "viewer": f"viewer of {usage_id}",
        "session": "",
    }
    return {**usual, **{name: str(value) for name, value in cells.items()}}


def write(path: Path, rows: Iterable[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def matcher(**changes: Any) -> logs.WorkTable:
    given = {"rows": list(ANSWERS.items()), "deals": DEALS, "works": WORKS, **changes}
    return logs.WorkTable(**given)


def period(since: str = DAY, until: str | None = None) -> Period:
    return Period(parse_day(since), parse_day(until or since))


def count(paths: Path | list[Path], **options: Any) -> logs.Count:
    """Count files of the day, or as the options say."""
    files = paths if isinstance(paths, list) else [paths]
    columns = options.pop("columns", None)
    table = None if columns is None else logs.Columns.of(columns)
    sources = logs.find_sources(files, table, options.pop("separator", None))
    return logs.count(
        sources,
        options.pop("period", period()),
        options.pop("matcher", matcher()),
        options.pop("policy", logs.Policy()),
        **options,
    )


def reasons(folder: Path, rows: list[dict[str, str]], **options: Any) -> list[str]:
    """The reason of each row, `qualified` for those that have none."""
    listed = folder / "excluded.csv"
    count(write(folder / "log.csv", rows), excluded_to=listed, **options)
    with listed.open(newline="", encoding="utf-8") as file:
        found = {int(line["line"]): line["reason"] for line in csv.DictReader(file)}
    return [found.get(line, "qualified") for line in range(2, len(rows) + 2)]
