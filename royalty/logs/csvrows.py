"""CSV and TSV: quick where a block is plain, and record by record where it is not.

Both ways give the same rows. A block without quotes, blank lines or broken text in which every line
has as many cells as the header goes through pyarrow; any other goes through Python's csv module, which
tells what is wrong with a record and lets reading go on at the next line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.logs.batches import Reading, Rows, with_bad
from royalty.logs.columns import Columns
from royalty.logs.lines import Block, blocks, text_of

MAX_RECORD = 2**20
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
BROKEN_QUOTE = "broken quote"

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file's lines are cut: the separator, the number of cells, which of them are wanted."""

    separator: str
    width: int
    picks: tuple[int, ...]
    names: tuple[str, ...]


def read_csv(
    chunks: Iterable[bytes], path: Path, columns: Columns, separator: str | None = None
) -> Reading:
    """Return the wanted columns of a CSV file and its rows, read as they are asked for.

    Raises InputError where the header lacks a column, or its separator cannot be told.
    """
    stream = blocks(chunks)
    head = next(stream)
    line, _, rest = head.content.partition(b"\n")
    layout = _layout(line, path, columns, separator)
    body = Block(2, rest, head.last)
    return Reading(layout.names, _tables(chain([body], stream), layout))


def _layout(line: bytes, path: Path, columns: Columns, separator: str | None) -> Layout:
    if line.startswith(_UTF16):
        raise InputError(f"{path} is UTF-16; write it as UTF-8")
    text, why = text_of(line.removeprefix(_BOM).removesuffix(b"\r"))
    if text is None:
        raise InputError(f"{path}: the header line cannot be read: {why}")
    if separator is None:
        separator = _told(text, path, columns)
    header = _header(text, separator)
    if header is None:
        raise InputError(f"{path}: the header line has a broken quote")
    _check_header(header, path, columns, separator)
    wanted = dict.fromkeys(c.column for c in columns.fields.values() if c.column is not None)
    names = tuple(name for name in wanted if name in header)
    return Layout(separator, len(header), tuple(header.index(name) for name in names), names)


def _told(text: str, path: Path, columns: Columns) -> str:
    """Return the separator under which the header has the most of the required columns."""
    required = set(columns.required_names())

    def found(mark: str) -> tuple[int, int]:
        header = _header(text, mark) or []
        return len(required & set(header)), len(header)

    best = max(SEPARATORS, key=found)
    if required and not found(best)[0]:
        names = ", ".join(columns.required_names())
        raise InputError(f"{path}: the header line has none of the columns {names}: '{text[:60]}'")
    return best


def _header(text: str, separator: str) -> list[str] | None:
    try:
        rows = list(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _check_header(header: list[str], path: Path, columns: Columns, separator: str) -> None:
    for name in columns.required_names():
        if name not in header:
            raise InputError(
                f"{path}: no column '{name}' in the header line"
                f" (read with a {SEPARATORS.get(separator, repr(separator))} between columns:"
                f" {', '.join(header)[:200]})"
            )
    for column in columns.fields.values():
        if column.column is not None and header.count(column.column) > 1:
            raise InputError(f"{path}: column '{column.column}' stands in the header line twice")


def _tables(stream: Iterable[Block], layout: Layout) -> Iterator[Any]:
    carried = b""
    for block in stream:
        if carried:
            block = Block(block.first - carried.count(b"\n"), carried + block.content, block.last)
            carried = b""
        if not block.content:
            continue
        table = _quick(block, layout)
        if table is None:
            table, carried = _exact(block, layout)
        yield table


def _quick(block: Block, layout: Layout) -> Any | None:
    """Return the table of a block that is plain, else None."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if not _is_simple(block.content) or not block.plain:
        return None
    names = [str(at) for at in range(layout.width)]
    picks = [names[at] for at in layout.picks]
    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(block.content),
            arrow_csv.ReadOptions(column_names=names),
            arrow_csv.ParseOptions(
                delimiter=layout.separator, quote_char=False, ignore_empty_lines=False
            ),
            arrow_csv.ConvertOptions(
                include_columns=picks,
                column_types=dict.fromkeys(picks, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    lines = pa.array(range(block.first, block.first + table.num_rows), pa.int64())
    return with_bad(lines, table.columns, [])


def _is_simple(content: bytes) -> bool:
    return (
        b'"' not in content
        and not content.startswith((b"\n", b"\r"))
        and b"\n\n" not in content
        and b"\n\r" not in content
        and content.count(b"\r") == content.count(b"\r\n")
    )


@dataclass(slots=True)
class _Feed:
    """Lines for csv.reader, which takes several for a record with quoted newlines.

    It stops before a line that is no text, and can be set back to the line after a broken one.
    """

    texts: Sequence[str | None]
    at: int = 0
    ended: bool = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.at >= len(self.texts):
            self.ended = True
            raise StopIteration
        text = self.texts[self.at]
        if text is None:
            raise StopIteration
        self.at += 1
        return text


def _exact(block: Block, layout: Layout) -> tuple[Any, bytes]:
    """Return the table of any block, and the bytes of a record that goes on in the next block."""
    exact = _Exact(block, layout)
    exact.read()
    return exact.rows.table(), exact.carried


@dataclass(slots=True)
class _Exact:
    block: Block
    layout: Layout
    rows: Rows = field(init=False)
    carried: bytes = b""

    def __post_init__(self) -> None:
        self.rows = Rows(len(self.layout.picks))

    def read(self) -> None:
        lines = self.block.lines()
        read = [text_of(line) for line in lines]
        feed = _Feed([None if text is None else text + "\n" for text, _ in read])
        reader = csv.reader(feed, delimiter=self.layout.separator, strict=True)
        while feed.at < len(lines):
            start = feed.at
            try:
                start = self._records(reader, feed)
            except _BrokenRecordError as broken:
                start = broken.start
                if feed.ended and not self.block.last and broken.cut:
                    rest = b"\n".join(lines[start:]) + b"\n"
                    if len(rest) <= MAX_RECORD:
                        self.carried = rest
                        return
                self._bad(start, broken.reason)
                feed.at, feed.ended = start + 1, False
                continue
            if start < len(lines):
                self._bad(start, read[start][1] or BROKEN_QUOTE)
                feed.at = start + 1

    def _records(self, reader: Any, feed: _Feed) -> int:
        """Read records until a line that is no text, and return its place."""
        picks, width, first = self.layout.picks, self.layout.width, self.block.first
        add_line, add_cells = self.rows.lines.append, self.rows.cells.append
        start = feed.at
        try:
            for record in reader:
                if len(record) == width:
                    add_line(first + start)
                    add_cells([record[at] for at in picks])
                elif record:
                    self._bad(start, f"{len(record)} cells instead of {width}")
                start = feed.at
        except csv.Error as error:
            raise _BrokenRecordError(start, error) from None
        return start

    def _bad(self, at: int, reason: str) -> None:
        self.rows.bad.append((self.block.first + at, reason))


class _BrokenRecordError(Exception):
    """A record that csv.reader refuses; `start` is its first line's place in the block."""

    def __init__(self, start: int, error: csv.Error) -> None:
        super().__init__(str(error))
        self.start = start
        self.cut = "unexpected end" in str(error)
        self.reason = "line break within a cell" if "new-line" in str(error) else BROKEN_QUOTE
        if "field larger" in str(error):
            self.reason = (
                f"{BROKEN_QUOTE}, or a cell of more than {csv.field_size_limit():,} characters"
            )
