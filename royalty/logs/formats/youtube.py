"""YouTube's channel reports: views of a video on a day, already added up."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.logs.batches import Reading, Rows
from royalty.logs.columns import Column, Columns
from royalty.logs.csvrows import read_csv
from royalty.logs.formats.base import BOM, SUMS, Chunks, Format, head_lines, sums_columns

NEEDED = ("date", "video_id", "views")
SIGNS = {*NEEDED, "channel_id", "watch_time_minutes"}

_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


def read_youtube(chunks: Chunks, path: Path, _option: str | None) -> Reading:
    """Return the views of each row; rows of a channel without a video are passed over."""
    stream = iter(chunks)
    first = next(stream, b"")
    header = _header(first.removeprefix(BOM).split(b"\n", 1)[0].decode("utf-8", "replace"))
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise InputError(f"{path}: no column {', '.join(missing)}: no channel report of YouTube")
    columns = Columns({name: Column(name) for name in NEEDED})
    reading = read_csv(chain([first], stream), path, columns)
    passed: dict[str, int] = Counter()
    places = [reading.names.index(name) for name in NEEDED]
    return Reading(SUMS, _tables(reading.tables, places, passed), passed)


def _header(line: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r")]), [])
    except csv.Error:
        return []


def _tables(tables: Iterator[Any], places: list[int], passed: dict[str, int]) -> Iterator[Any]:
    for table in tables:
        rows = Rows(len(SUMS))
        texts = [table.column(f"c{at}").to_pylist() for at in places]
        lines, broken = table.column("line").to_pylist(), table.column("broken").to_pylist()
        for line, why, day, video, views in zip(lines, broken, *texts, strict=True):
            if why is not None:
                rows.bad.append((line, why))
            elif not video:
                passed["channel without a video"] = passed.get("channel without a video", 0) + 1
            else:
                found = _DAY.fullmatch(day or "")
                iso = "-".join(found.groups()) if found else day
                rows.lines.append(line)
                rows.cells.append([video, "view", iso, iso, views])
        yield rows.table()


def _looks(head: bytes) -> bool:
    lines = head_lines(head, most=1)
    return bool(lines) and set(_header(lines[0])) >= SIGNS


YOUTUBE = Format(
    name="youtube",
    title="YouTube channel reports: sums",
    columns=sums_columns("youtube"),
    looks=_looks,
    read=read_youtube,
    sums=True,
)
