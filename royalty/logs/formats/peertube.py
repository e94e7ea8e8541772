"""PeerTube: one WatchAction a line, as a host keeps it of a viewer and sends it to others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

from royalty.jsontext import parse_json
from royalty.logs.batches import Reading
from royalty.logs.canonical import decimal_text
from royalty.logs.columns import Columns
from royalty.logs.formats.base import Chunks, Format, fields_of, head_lines, text_rows
from royalty.logs.jsonrows import BROKEN_JSON, text_cell
from royalty.usage import MAX_SECONDS

NAMES = ("usage_id", "work", "started_at", "watched_seconds", "duration_seconds", "sections")
FINEST = -30

_EXACT = Context(prec=100)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_decode = json.JSONDecoder(
    parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant
).decode


def read_peertube(chunks: Chunks, _path: Path, _option: str | None) -> Reading:
    """Return the rows of WatchActions: uuid, video, start, the union of what was watched."""
    found = text_rows(chunks, len(NAMES), lambda text, _: _cells(_action(text)))
    return Reading(NAMES, (rows.table() for rows in found))


def _action(text: str) -> dict[str, Any]:
    """Return the WatchAction of a line, taken out of the activity that created it."""
    try:
        row = parse_json(text, _decode)
    except (ValueError, ArithmeticError):
        raise ValueError(BROKEN_JSON) from None
    if isinstance(row, dict) and row.get("type") == "Create":
        row = row.get("object")
    if not isinstance(row, dict) or row.get("type") != "WatchAction":
        raise ValueError("not a WatchAction")
    return row


def _cells(row: dict[str, Any]) -> list[str | None]:
    given = row.get("watchSections", row.get("_watchSections"))
    sections = None if given is None else _sections(given)
    length = row.get("videoDuration")
    return [
        text_cell("uuid", row.get("uuid", row.get("identifier"))),
        text_cell("object", row.get("object")),
        text_cell("startTime", row.get("startTime")),
        None if sections is None else decimal_text(watched(sections)),
        None if length is None else decimal_text(_seconds("videoDuration", length)),
        " ".join(f"{decimal_text(a)}-{decimal_text(b)}" for a, b in sections or ()) or None,
    ]


def _sections(value: Any) -> list[tuple[Decimal, Decimal]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("watchSections is not a list of sections")
    found = [
        (
            _seconds("startTimestamp", one.get("startTimestamp")),
            _seconds("endTimestamp", one.get("endTimestamp")),
        )
        for one in value
    ]
    if any(end < start for start, end in found):
        raise ValueError("a watch section ends before it starts")
    return found


def watched(sections: Sequence[tuple[Decimal, Decimal]]) -> Decimal:
    """Return the seconds in the union of sections: what was seen twice counts once.

    >>> watched([(Decimal(0), Decimal(20)), (Decimal(10), Decimal(30)), (Decimal(50), Decimal(60))])
    Decimal('40')
    """
    total = reached = Decimal(0)
    for start, end in sorted(sections):
        begin = max(start, reached)
        if end > begin:
            total = _EXACT.add(total, _EXACT.subtract(end, begin))
            reached = end
    return total


def _seconds(name: str, value: Any) -> Decimal:
    """Return a number of seconds; ValueError for anything else, or beyond what a log may hold."""
    if (
        not isinstance(value, Decimal)
        or not FINEST <= int(value.as_tuple().exponent) <= 9
        or not 0 <= value <= MAX_SECONDS
    ):
        raise ValueError(f"{name} is not a number of seconds")
    return value


def _looks(head: bytes) -> bool:
    return any(_is_action(line) for line in head_lines(head))


def _is_action(line: str) -> bool:
    try:
        return "watchSections" in _action(line)
    except ValueError:
        return False


PEERTUBE = Format(
    name="peertube",
    title="PeerTube WatchActions, JSON lines",
    columns=Columns(fields_of(*NAMES), format="peertube"),
    looks=_looks,
    read=read_peertube,
)
