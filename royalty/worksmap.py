"""A platform's own map: which work each id of its logs stands for, a CSV file `platform_id,work`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from royalty.errors import InputError
from royalty.sheets import Row, read_sheet
from royalty.usage import WorkRef

COLUMNS = ("platform_id", "work")

WorksMap = dict[str, WorkRef]
"""Works by the platform's ids."""


def read_map(path: str | Path) -> WorksMap:
    """Return a map; InputError with file and line for a bad work, or an id with two works."""
    found: WorksMap = {}
    lines: dict[str, int] = {}
    for row in read_sheet(Path(path), COLUMNS):
        platform_id, work = row.need("platform_id"), row.read(WorkRef.parse, row.need("work"))
        if found.setdefault(platform_id, work) != work:
            raise _conflict(row, platform_id, found[platform_id], lines[platform_id])
        lines.setdefault(platform_id, row.line)
    return found


def map_csv(works: Mapping[str, WorkRef]) -> bytes:
    """Return a map as canonical CSV: sorted by id, quoted where needed; equal maps are equal bytes."""
    rows = [f"{_cell(platform_id)},{work}" for platform_id, work in sorted(works.items())]
    return "".join(f"{row}\n" for row in [",".join(COLUMNS), *rows]).encode()


def _cell(text: str) -> str:
    """Return a text as a cell. Python's csv quotes a carriage return in some versions only."""
    if any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _conflict(row: Row, platform_id: str, other: WorkRef, line: int) -> InputError:
    return row.refuse(
        f"'{platform_id[:60]}' stands for {row['work']} here and for {other} in line {line};"
        " remove one of them"
    )
