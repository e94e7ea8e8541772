"""Jellyfin's Playback Reporting: tab-separated, nine columns, no header."""

from __future__ import annotations

import re
from pathlib import Path

from royalty.logs.batches import Reading
from royalty.logs.columns import Column, Columns
from royalty.logs.formats.base import Chunks, Format, fields_of, head_lines, text_rows

COLUMNS = (
    "DateCreated",
    "UserId",
    "ItemId",
    "ItemType",
    "ItemName",
    "PlaybackMethod",
    "ClientName",
    "DeviceName",
    "PlayDuration",
)
NAMES = ("started_at", "viewer", "work", "watched_seconds")
PICKS = (0, 1, 2, 8)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})?")


def read_jellyfin(chunks: Chunks, _path: Path, _option: str | None) -> Reading:
    """Return the rows of an export: when, who, what, how many seconds."""
    found = text_rows(chunks, len(NAMES), lambda text, _: _cells(text))
    return Reading(NAMES, (rows.table() for rows in found))


def _cells(text: str) -> list[str | None]:
    cells = text.split("\t")
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells instead of {len(COLUMNS)}")
    return [cells[at] for at in PICKS]


def _looks(head: bytes) -> bool:
    lines = head_lines(head, most=1)
    cells = lines[0].split("\t") if lines else []
    return (
        len(cells) == len(COLUMNS)
        and _DATE.fullmatch(cells[0]) is not None
        and cells[-1].isdecimal()
    )


def columns_in(zone: str) -> Columns:
    """Return the columns of an export whose times are of a zone. It has no ids."""
    from royalty.logs.zones import load_zone

    load_zone(zone)
    return Columns(
        fields_of("viewer", "work", "watched_seconds", started_at=Column("started_at", zone=zone)),
        format="jellyfin",
    )


JELLYFIN = Format(
    name="jellyfin",
    title="Jellyfin Playback Reporting, nine columns without a header",
    columns=Columns(
        fields_of("viewer", "work", "watched_seconds", started_at=Column("started_at", zone="UTC")),
        format="jellyfin",
    ),
    looks=_looks,
    read=read_jellyfin,
    option="the zone of its times",
    columns_with=columns_in,
)
