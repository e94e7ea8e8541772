"""Mux Data views as JSON: one view a line, or one response of its API as a file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.logs.batches import Reading, Rows
from royalty.logs.columns import Column, Columns
from royalty.logs.formats.base import BOM, HEAD, Chunks, Format, fields_of, head_lines, text_rows
from royalty.logs.jsonrows import json_object, text_cell
from royalty.logs.lines import text_of

MAX_RESPONSE = 64 * 2**20
ROWS_AT_ONCE = 10_000

# The first of these that a view has. What was played comes before the time that the player was open.
KEYS = {
    "usage_id": ("view_id", "id"),
    "work": ("video_id", "asset_id"),
    "started_at": ("view_start",),
    "watched_seconds": ("view_total_content_playback_time", "view_playing_time", "watch_time"),
    "duration_seconds": ("video_duration",),
    "viewer": ("viewer_user_id", "mux_viewer_id"),
    "session": ("session_id",),
}
NAMES = tuple(KEYS)


def read_mux(chunks: Chunks, path: Path, _option: str | None) -> Reading:
    """Return the rows of views; a file that is one response is held whole, so it may have 64 MiB."""
    stream = iter(chunks)
    first = next(stream, b"")
    whole = chain([first], stream)
    if _is_lines(first):
        found = text_rows(whole, len(NAMES), lambda text, _: _cells(_view(json_object(text))))
        return Reading(NAMES, (rows.table() for rows in found))
    return Reading(NAMES, _response(whole, path))


def _is_lines(first: bytes) -> bool:
    """Return whether the first line is a view by itself."""
    for line in head_lines(first[:HEAD], most=1):
        try:
            return isinstance(_view(json_object(line)), dict)
        except ValueError:
            return False
    return False


def _view(row: dict[str, Any]) -> dict[str, Any]:
    inner = row.get("data", row)
    if not isinstance(inner, dict):
        raise ValueError("not one view")
    return inner


def _response(chunks: Chunks, path: Path) -> Iterator[Any]:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > MAX_RESPONSE:
            raise InputError(
                f"{path} is one JSON document of more than {MAX_RESPONSE // 2**20} MiB; write one view"
                " a line"
            )
    try:
        document = json_object(bytes(data).removeprefix(BOM).decode())
        views = document["data"]
    except (ValueError, KeyError):
        raise InputError(f"{path} is no response of Mux: it has no 'data'") from None
    listed = views if isinstance(views, list) else [views]
    for at in range(0, len(listed), ROWS_AT_ONCE):
        yield _rows(listed[at : at + ROWS_AT_ONCE], at + 1).table()


def _rows(views: list[Any], first: int) -> Rows:
    """Return the rows of views; a row's line is its place in the response, from 1."""
    rows = Rows(len(NAMES))
    for number, view in enumerate(views, first):
        try:
            if not isinstance(view, dict):
                raise ValueError("not a JSON object")
            rows.cells.append(_cells(view))
            rows.lines.append(number)
        except ValueError as error:
            rows.bad.append((number, str(error)))
    return rows


def _cells(view: dict[str, Any]) -> list[str | None]:
    return [_cell(view, names) for names in KEYS.values()]


def _cell(view: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        if view.get(name) not in (None, ""):
            return text_cell(name, view[name])
    return None


def _looks(head: bytes) -> bool:
    text, _ = text_of(head.removeprefix(BOM)[:HEAD])
    if text is None or not text.lstrip().startswith("{"):
        return False
    return '"view_start"' in text and ('"view_id"' in text or '"viewer_application_name"' in text)


MUX = Format(
    name="mux",
    title="Mux Data views, JSON",
    columns=Columns(
        fields_of(
            "usage_id",
            "work",
            "started_at",
            "viewer",
            "session",
            watched_seconds=Column("watched_seconds", unit="ms"),
            duration_seconds=Column("duration_seconds", unit="ms"),
        ),
        resend="last",
        format="mux",
    ),
    looks=_looks,
    read=read_mux,
)
