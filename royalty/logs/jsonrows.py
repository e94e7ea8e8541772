"""JSON lines: one object a line, each value as the text that it would be in a CSV file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.jsontext import parse_json
from royalty.logs.batches import Reading, Rows
from royalty.logs.canonical import decimal_text
from royalty.logs.columns import Columns
from royalty.logs.lines import Block, blocks, text_of
from royalty.logs.steps import loose_names, loosened

BROKEN_JSON = "broken JSON"
MAX_EXPONENT = 400

_KIND = "view"
_ARRAY = re.compile(rb"\s*\[\s*(\{|$)")
_BOM = b"\xef\xbb\xbf"


def read_json(chunks: Iterable[bytes], path: Path, columns: Columns) -> Reading:
    """Return the rows of a JSON lines file, read as they are asked for.

    Every wanted column is there; an absent key is a missing value, except that an absent `kind` means
    view. Raises InputError where the file is one JSON array instead of an object a line.
    """
    names = tuple(dict.fromkeys(c.column for c in columns.fields.values() if c.column is not None))
    kind = columns.fields.get("kind")
    absent = [_KIND if kind is not None and name == kind.column else None for name in names]
    loose = loose_names(columns)
    return Reading(names, _tables(blocks(chunks), path, names, absent, loose))


def _tables(
    stream: Iterable[Block],
    path: Path,
    names: tuple[str, ...],
    absent: list[str | None],
    loose: dict[str, str],
) -> Iterator[Any]:
    fields = list(zip(names, absent, strict=True))
    for block in stream:
        rows = Rows(len(names))
        for number, line in enumerate(block.lines(), block.first):
            if number == 1:
                line = _first(line, path)
            if not line.strip(b"\r"):
                continue
            text, why = text_of(line)
            try:
                if text is None:
                    raise ValueError(why)
                rows.cells.append(_cells(loosened(json_object(text), loose), fields))
                rows.lines.append(number)
            except ValueError as error:
                rows.bad.append((number, str(error)))
        if rows.lines or rows.bad:
            yield rows.table()


def _first(line: bytes, path: Path) -> bytes:
    line = line.removeprefix(_BOM)
    if _ARRAY.match(line):
        raise InputError(f"{path} is a JSON array; write one object a line")
    return line


def json_object(text: str) -> dict[str, Any]:
    """Return the object of a JSON text, its numbers as the text that they would be in a CSV file."""
    try:
        row = parse_json(text, _decode)
    except ValueError:
        raise ValueError(BROKEN_JSON) from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row


def _cells(row: dict[str, Any], fields: list[tuple[str, str | None]]) -> list[str | None]:
    return [text_cell(name, row.get(name, absent)) for name, absent in fields]


def text_cell(name: str, value: Any) -> str | None:
    """Return a JSON text (or number that was read as text) as a cell; ValueError where it is none."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{name[:40]} is neither text nor a number")
    if value.isascii() and "\0" not in value:
        return value
    if "\0" in value:
        raise ValueError(f"{name[:40]} has a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name[:40]} is not UTF-8") from None
    return value


def _decimal(text: str) -> str:
    """Return a JSON number's shortest exact form, without exponent where that is within reason."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        return text
    return decimal_text(number) if number else text.split(".")[0].split("e")[0].split("E")[0]


def _refuse_constant(text: str) -> str:
    raise ValueError(f"{text} is not JSON")


_decode = json.JSONDecoder(
    parse_float=_decimal, parse_int=str, parse_constant=_refuse_constant
).decode
