"""Design section 4 in plain Python, for the tests alone: one row at a time, nothing shared with the product.

It is slow and short on purpose. Files are read character by character, numbers are fractions, times are
datetimes, and each rule is a loop over lists.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017
NATIVE = {
    name: {"column": name}
    for name in (
        "usage_id",
        "work",
        "kind",
        "started_at",
        "watched_seconds",
        "duration_seconds",
        "viewer",
        "session",
    )
}
STEP_FIELDS = ("sections", "status", "user_agent", "uploader", "autoplay", "territory")
PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000}
MISSING = object()


class Unreadable(ValueError):  # noqa: N818
    """A row, or one of its fields, that cannot be read."""


@dataclass
class Row:
    file: int
    line: int
    fault: str | None = None
    usage_id: str | None = None
    work: str = ""
    kind: str = "view"
    started: int = 0  # microseconds
    watched: Fraction | None = None
    duration: Fraction | None = None
    identity: str | None = None
    steps: dict = field(default_factory=dict)
    reason: str | None = None
    target: tuple[int, int] | None = None

    @property
    def day(self) -> int:
        return self.started // 86_400_000_000

    @property
    def id(self) -> tuple:
        if self.usage_id is not None:
            return ("given", self.usage_id)
        return ("made", self.identity, self.work, self.kind, self.started)


@dataclass
class Result:
    rows: int
    qualified: int
    excluded: dict[str, int]
    without_identity: int
    units: dict[tuple[int, int, int, str], int]
    reasons: dict[tuple[int, int], str] = field(default_factory=dict)


# Files -------------------------------------------------------------------------------------------


def read_file(path: Path, columns: dict, number: int, separator: str = ",") -> list[Row]:
    name = path.name
    if ".parquet" in name:
        cells = parquet_cells(path)
    else:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:4] == b"\x28\xb5\x2f\xfd":
            import pyarrow as pa

            data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
        cells = json_cells(data) if ".jsonl" in name else csv_cells(data, separator)
    rows = []
    for line, found in cells:
        row = Row(number, line)
        try:
            if isinstance(found, Unreadable):
                raise found
            fill(row, found, columns)
        except Unreadable as fault:
            row.fault = str(fault) or "fault"
        rows.append(row)
    return rows


def text_lines(data: bytes) -> list[str | None]:
    """Lines without newline; None for one that is too long or no text."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    texts: list[str | None] = []
    for line in lines:
        try:
            texts.append(None if len(line) > 131_072 or 0 in line else line.decode("utf-8"))
        except UnicodeDecodeError:
            texts.append(None)
    return texts


def csv_cells(data: bytes, separator: str):
    lines = text_lines(data)
    header, at = record(lines, 0, separator)
    found = []
    while at < len(lines):
        start = at
        if lines[at] is None:
            found.append((start + 1, Unreadable("line")))
            at += 1
            continue
        if lines[at].strip("\r") == "":
            at += 1
            continue
        try:
            cells, at = record(lines, at, separator)
            if len(cells) != len(header):
                raise Unreadable("ragged")
            found.append((start + 1, dict(zip(header, cells, strict=True))))
        except Unreadable as fault:
            at = max(at, start + 1) if str(fault) == "ragged" else start + 1
            found.append((start + 1, fault))
    return found


def record(lines: list[str | None], at: int, separator: str) -> tuple[list[str], int]:
    """Cells of the record that starts on a line, and the line after it."""
    text, cells, place = lines[at].rstrip("\r"), [], 0
    while True:
        if text[place : place + 1] == '"':
            cell, place = "", place + 1
            while True:
                if place >= len(text):
                    full = lines[at]
                    cell += full[len(text) :] + "\n"  # the stripped carriage returns belong here
                    at += 1
                    if at >= len(lines) or lines[at] is None:
                        raise Unreadable("open quote")
                    text, place = lines[at].rstrip("\r"), 0
                elif text[place] != '"':
                    cell += text[place]
                    place += 1
                elif text[place + 1 : place + 2] == '"':
                    cell += '"'
                    place += 2
                else:
                    place += 1
                    break
            if place < len(text) and text[place] != separator:
                raise Unreadable("text after quote")
        else:
            end = text.find(separator, place)
            end = len(text) if end < 0 else end
            cell = text[place:end]
            if "\r" in cell:
                raise Unreadable("carriage return")
            place = end
        cells.append(cell)
        if place >= len(text):
            return cells, at + 1
        place += 1


def json_cells(data: bytes):
    found = []
    for line, text in enumerate(text_lines(data), 1):
        if text is None:
            found.append((line, Unreadable("line")))
        elif text.strip("\r"):
            try:
                value = json.loads(text, parse_float=Decimal, parse_constant=no_constant)
                if not isinstance(value, dict):
                    raise Unreadable("not an object")
                found.append((line, value))
            except ValueError as fault:
                found.append((line, Unreadable(str(fault))))
    return found


def no_constant(text: str):
    raise ValueError(text)


def parquet_cells(path: Path):
    from pyarrow import parquet

    return list(enumerate(parquet.read_table(path).to_pylist(), 1))


# Fields ------------------------------------------------------------------------------------------


def as_text(value) -> str | None:
    """A typed value as the text that it would be."""
    if value is None or value == "":
        return None
    if isinstance(value, bool | dict | list):
        raise Unreadable("type")
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat() + "Z"
        return value.astimezone(timezone.utc).isoformat()  # noqa: UP017
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unreadable("surrogate") from None
    if "\0" in text:
        raise Unreadable("NUL")
    return text


def fill(row: Row, cells: dict, columns: dict) -> None:
    def cell(name: str, absent=None):
        column = columns.get(name)
        if column is None:
            return absent
        if "value" in column:
            return str(column["value"])
        if column["column"] not in cells:
            return absent
        return as_text(cells[column["column"]])

    def number(name: str) -> Fraction | None:
        text = cell(name)
        if text is None:
            return None
        unit = columns[name].get("unit", "s")
        return read_number(text, PER_SECOND[unit])

    viewer, session = cell("viewer"), cell("session")
    row.identity = viewer or session
    row.steps = {name: loose(name, cells, columns) for name in STEP_FIELDS if name in columns}
    row.steps |= {"viewer": viewer, "session": session or viewer}
    row.usage_id = cell("usage_id")
    row.work = cell("work")
    row.kind = cell("kind", "view")
    started = cell("started_at")
    if row.work is None or started is None or ("usage_id" in columns and row.usage_id is None):
        raise Unreadable("missing")
    if row.kind not in ("view", "download", "excerpt"):
        raise Unreadable("kind")
    row.started = read_time(started, columns["started_at"])
    row.watched, row.duration = number("watched_seconds"), number("duration_seconds")
    if row.watched is None and row.kind != "download":
        raise Unreadable("watched")
    if "usage_id" not in columns and row.identity is None:
        raise Unreadable("no id and no identity")


def loose(name: str, cells: dict, columns: dict) -> str | None:
    """A cell of a step as text: its types are wider, and nothing in it makes a row malformed."""
    if "value" in columns[name]:
        return str(columns[name]["value"])
    value = cells.get(columns[name]["column"])
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and name == "sections":
        parts = []
        for one in value:
            if isinstance(one, dict):
                one = (
                    one.get("start", one.get("startTimestamp")),
                    one.get("end", one.get("endTimestamp")),
                )
            if len(one) == 2:
                parts.append(f"{as_text(one[0])}-{as_text(one[1])}")
            else:
                parts.append("none")
        return " ".join(parts)
    return "?" if isinstance(value, list | dict) else as_text(value)


def read_number(text: str, per_second: int) -> Fraction:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise Unreadable("number")
    seconds = Fraction(text) / per_second
    if seconds > 1_000_000_000:
        raise Unreadable("number too large")
    return Fraction(int(seconds * 1_000_000), 1_000_000)


def read_time(text: str, column: dict) -> int:
    if "unit" in column:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise Unreadable("epoch")
        micro = int(Fraction(text) / PER_SECOND[column["unit"]] * 1_000_000)
        if micro >= 253_402_300_800_000_000:
            raise Unreadable("epoch")
        return micro
    zone = column.get("zone")
    shape = r"(\d{4}-\d\d-\d\d)([Tt ])(\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)?"
    found = re.fullmatch(shape, text, re.ASCII)
    if not found or (zone is None and (found[2] == " " or not found[5])):
        raise Unreadable("time")
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[3]}")
    except ValueError:
        raise Unreadable("no such time") from None
    fraction = int(((found[4] or ".")[1:] + "000000")[:6])
    if found[5]:
        offset = timedelta()
        if found[5] not in "Zz":
            hours, minutes = int(found[5][1:3]), int(found[5][4:6])
            if hours > 23 or minutes > 59:
                raise Unreadable("offset")
            offset = timedelta(hours=hours, minutes=minutes) * (-1 if found[5][0] == "-" else 1)
        seconds = (moment - EPOCH.replace(tzinfo=None) - offset) // timedelta(seconds=1)
    else:
        there = moment.replace(tzinfo=ZoneInfo(zone), fold=0)
        seconds = int((there - EPOCH) / timedelta(seconds=1))
        back = datetime.fromtimestamp(seconds, ZoneInfo(zone)).replace(tzinfo=None)
        if back != moment:
            raise Unreadable("skipped by the clock")
    return seconds * 1_000_000 + fraction


# Rules -------------------------------------------------------------------------------------------


def count(
    files: list[Path],
    columns: dict | None,
    since: int,
    until: int,
    answers: dict[str, tuple[int, int]],
    deals: list[tuple[int, int, int, int | None]],
    works: dict[int, int],
    *,
    minimum: Fraction = Fraction(30),
    short: Fraction = Fraction(1, 2),
    click: Fraction = Fraction(30),
    cap: int = 20,
    steps: dict | None = None,
    separators: dict[Path, str] | None = None,
) -> Result:
    columns = dict(columns) if columns is not None else dict(NATIVE)
    resend = columns.pop("resend", "first")
    steps = steps or {}
    needed = fields_of(steps)
    columns = {n: c for n, c in columns.items() if n not in STEP_FIELDS or n in needed}
    rows = [
        row
        for number, path in enumerate(files)
        for row in read_file(path, columns, number, (separators or {}).get(path, ","))
    ]
    for row in rows:
        if row.fault is not None:
            row.reason = "malformed"
    mark_duplicates([row for row in rows if row.reason is None], resend == "last", steps)
    for row in rows:
        if row.reason is None and not since <= row.day <= until:
            row.reason = "outside_period"
    for row in rows:
        if row.reason is None:
            row.target = target_of(row, answers, deals, works)
            if row.target is None:
                row.reason = "unmatched_work"
    for row in rows:
        if row.reason is None:
            row.reason = stepped(row, steps)
            row.watched = watched(row, steps)
    for row in rows:
        if row.reason is None and below(row, minimum, short):
            row.reason = "below_threshold"
    without = [row for row in rows if row.reason is None and row.identity is None]
    mark_clicks([row for row in rows if row.reason is None and row.identity is not None], click)
    if "repeat" in steps:
        mark_repeats([row for row in rows if row.reason is None], steps["repeat"])
    mark_cap([row for row in rows if row.reason is None and row.identity is not None], cap)
    return summary(rows, len(without))


def utf8(text: str | None) -> bytes:
    return b"" if text is None else b"1" + text.encode()


def mark_duplicates(rows: list[Row], last: bool, steps: dict) -> None:
    by_id = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_id[row.id][row.day].append(row)

    def missing_first(number: Fraction | None):
        return (number is not None, number or 0)

    def place(row: Row):
        greatest = -(row.watched if row.watched is not None else -1) if last else 0
        return (
            greatest,
            row.started,
            utf8(row.work),
            row.kind.encode(),
            missing_first(row.watched),
            missing_first(row.duration),
            utf8(row.identity),
            *known(row, steps),
            row.file,
            row.line,
        )

    for days in by_id.values():
        for day, same in days.items():
            counts = None if day - 1 in days else min(same, key=place)
            for row in same:
                if row is not counts:
                    row.reason = "duplicate"


def target_of(row: Row, answers, deals, works) -> tuple[int, int] | None:
    target = answers.get(row.work)
    if target is None:
        found = re.fullmatch(r"([1-9][0-9]*)/(0|[1-9][0-9]*)", row.work, re.ASCII)
        if not found:
            return None
        target = (int(found[1]), int(found[2]))
    catalogue, index = target
    if index >= works.get(catalogue, 0):
        return None
    for number, _, since, until in deals:
        if number == catalogue and since <= row.day and (until is None or row.day < until):
            return target
    return None


def below(row: Row, minimum: Fraction, short: Fraction) -> bool:
    if row.kind == "download":
        return False
    if row.kind == "excerpt":
        return row.watched < 1
    needed = min(minimum, short * row.duration) if row.duration else minimum
    return row.watched < needed


def companies(rows: list[Row], who) -> list[list[Row]]:
    """Rows of one work, kind, day and whoever it was, in order."""
    groups = defaultdict(list)
    for row in rows:
        groups[who(row), row.target, row.kind, row.day].append(row)
    for group in groups.values():
        group.sort(key=lambda row: (row.started, utf8(row.usage_id), utf8(row.work)))
    return list(groups.values())


def mark_clicks(rows: list[Row], click: Fraction) -> None:
    for group in companies(rows, lambda row: row.identity):
        for row, after in pairwise(group):
            if Fraction(after.started - row.started, 1_000_000) <= click:
                row.reason = "double_click"


def mark_repeats(rows: list[Row], window: Fraction) -> None:
    known = [row for row in rows if row.steps["session"]]
    for group in companies(known, lambda row: row.steps["session"]):
        counts = group[0]
        for row in group[1:]:
            if Fraction(row.started - counts.started, 1_000_000) <= window:
                row.reason = "repeat_in_window"
            else:
                counts = row


def mark_cap(rows: list[Row], cap: int) -> None:
    for group in companies(rows, lambda row: row.identity):
        for row in group[cap:]:
            row.reason = "over_cap"


# Steps of a policy: `steps` has those that are on ---------------------------------------------------

NEEDED = {
    "sections": "sections",
    "statuses": "status",
    "robots": "user_agent",
    "own_plays": "uploader",
    "autoplay": "autoplay",
    "territories": "territory",
}


def fields_of(steps: dict) -> set[str]:
    return {name for step, name in NEEDED.items() if step in steps}


def seen_seconds(text: str | None) -> Fraction | None:
    """Seconds that lie in at least one section, counted from one edge to the next."""
    sections = []
    for part in (text or "").split(" "):
        ends = part.split("-")
        if len(ends) != 2:
            return None
        try:
            start, end = read_number(ends[0], 1), read_number(ends[1], 1)
        except Unreadable:
            return None
        if start > end:
            return None
        sections.append((start, end))
    edges = sorted({edge for section in sections for edge in section})
    return sum(
        (
            after - edge
            for edge, after in pairwise(edges)
            if any(start <= edge and after <= end for start, end in sections)
        ),
        Fraction(0),
    )


def watched(row: Row, steps: dict) -> Fraction | None:
    if row.kind == "download":
        return row.watched
    found = row.watched
    if "sections" in steps:
        found = seen_seconds(row.steps["sections"]) or Fraction(0)
    if "at_most_duration" in steps and row.duration:
        found = min(found, row.duration)
    return found


def is_robot(row: Row, steps: dict) -> bool:
    agent = row.steps["user_agent"] or ""
    return any(re.search(pattern, agent) for pattern in steps["robots"])


def is_own(row: Row) -> bool:
    return row.steps["viewer"] is not None and row.steps["viewer"] == row.steps["uploader"]


def is_here(row: Row, steps: dict) -> bool:
    return (row.steps["territory"] or "").upper() in steps["territories"]


def status(row: Row) -> int | None:
    text = row.steps["status"] or ""
    return int(text) if re.fullmatch("[1-9][0-9][0-9]", text, re.ASCII) else None


def autoplay(row: Row) -> bool | None:
    text = (row.steps["autoplay"] or "").lower()
    return {"true": True, "1": True, "false": False, "0": False}.get(text)


def stepped(row: Row, steps: dict) -> str | None:
    if "statuses" in steps and status(row) not in steps["statuses"]:
        return "status_code"
    if "robots" in steps and is_robot(row, steps):
        return "robot"
    if "own_plays" in steps and is_own(row):
        return "self_view"
    if "autoplay" in steps and autoplay(row) is not False:
        return "autoplay"
    if "territories" in steps and not is_here(row, steps):
        return "territory"
    return None


def known(row: Row, steps: dict) -> list:
    """What the steps know of a row, for the order of equal ones."""
    found: list = []
    if "sections" in steps:
        seen = seen_seconds(row.steps["sections"])
        found.append(-1 if seen is None else seen)
    if "statuses" in steps:
        code = status(row)
        found.append(-1 if code is None else code)
    if "own_plays" in steps:
        found.append(is_own(row))
    if "autoplay" in steps:
        played = autoplay(row)
        found.append(2 if played is None else int(played))
    if "territories" in steps:
        found.append(is_here(row, steps))
    if "robots" in steps:
        found.append(is_robot(row, steps))
    if "repeat" in steps:
        found.append(utf8(row.steps["session"]))
    return found


# Results -------------------------------------------------------------------------------------------


def summary(rows: list[Row], without: int) -> Result:
    units: dict[tuple[int, int, int, str], int] = defaultdict(int)
    for row in rows:
        if row.reason is None:
            units[row.day, *row.target, row.kind] += (
                int(row.watched) if row.kind == "excerpt" else 1
            )
    return Result(
        rows=len(rows),
        qualified=sum(row.reason is None for row in rows),
        excluded=dict(Counter(row.reason for row in rows if row.reason is not None)),
        without_identity=without,
        units=dict(units),
        reasons={(row.file, row.line): row.reason for row in rows if row.reason is not None},
    )
