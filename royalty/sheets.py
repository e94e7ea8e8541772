"""Small CSV sheets that people write: a header, then rows, each refusal naming its line and why."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from royalty.errors import InputError

MAX_BYTES = 256 * 1024 * 1024
SEPARATORS = ",;\t"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
MAX_TEXT = 1_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a sheet: where it stands, and its cells by column, trimmed, '' if missing."""

    path: Path
    line: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def need(self, column: str) -> str:
        """Return a cell that must not be empty; InputError with the line where it is."""
        if not self[column]:
            raise self.refuse(f"{column} is missing")
        return self[column]

    def refuse(self, reason: str) -> InputError:
        """Return the error that says why this row is refused, and where it stands."""
        return InputError(f"{self.path}, line {self.line}: {reason}")

    def read(self, how: Callable[[str], T], text: str) -> T:
        """Return how(text); an InputError from it gets the row's place in front."""
        try:
            return how(text)
        except InputError as error:
            raise self.refuse(str(error)) from None


def read_sheet(path: Path, required: Sequence[str], *, one_of: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a CSV file with a header; blank lines are passed over.

    The separator (comma, semicolon or tab) is read from the header. Column names are compared
    without case. `required` columns must be there, and at least one of `one_of`. Raises InputError
    where the file cannot be read, is not UTF-8, lacks a column, or a row has too many cells.
    """
    text = _read_text(path)
    header = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        _check_columns(path, columns, required, one_of)
        return list(_rows(path, columns, reader))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: cannot be read as CSV: {error}"
        ) from None


def cell(value: object) -> str:
    """Return a value as a cell of a sheet to be written: one line, no control characters."""
    text = "" if value is None else str(value)
    return "".join(sign if sign.isprintable() else " " for sign in text)


def plain_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return other people's text without control and direction characters, cut to a length."""
    kept = text[: 2 * limit]
    if not kept.isprintable():
        kept = "".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in kept)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def csv_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: a quote goes before `=`, `+`, `-`, `@`."""
    text = plain_text(text)
    return "'" + text if text.lstrip().startswith(FORMULA) else text


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; divide it")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8"
        ) from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    if "\0" in text:
        raise InputError(f"{path} holds binary data; give a CSV file")
    return text


def _check_columns(
    path: Path, columns: Sequence[str], required: Sequence[str], one_of: Sequence[str]
) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(
            f"{path}, line 1: no column {_listed(missing)};"
            f" the header must name {_listed(required)}"
        )
    if one_of and not any(name in columns for name in one_of):
        raise InputError(f"{path}, line 1: the header must name one of {_listed(one_of)}")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}, line 1: column {_listed(twice)} stands there twice")


def _rows(path: Path, columns: Sequence[str], reader: Any) -> Iterator[Row]:
    line = reader.line_num + 1
    for cells in reader:
        if any(text.strip() for text in cells[len(columns) :]):
            raise InputError(
                f"{path}, line {line}: {len(cells)} cells under {len(columns)} columns;"
                " quote a cell that holds the separator"
            )
        if any(text.strip() for text in cells):
            trimmed = (text.strip() for text in cells)
            yield Row(path, line, dict(zip(columns, trimmed, strict=False)))
        line = reader.line_num + 1


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
