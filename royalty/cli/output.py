"""What commands print: JSON for machines, short plain text for people, progress on a terminal alone."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from royalty.money import format_nano

WIDTH = 80
CUT = "…"


def add_decimal(value: Any) -> Any:
    """Return a document with each `x_nano` as a string of digits and its decimal string `x` beside it.

    >>> add_decimal({"funds_nano": 3_000_000})
    {'funds_nano': '3000000', 'funds': '0.003'}
    """
    if isinstance(value, Mapping):
        made: dict[str, Any] = {}
        for key, inner in value.items():
            if (
                str(key).endswith("_nano")
                and isinstance(inner, (int, str))
                and not isinstance(inner, bool)
            ):
                made[key] = str(inner)
                made[key.removesuffix("_nano")] = format_nano(int(inner))
            else:
                made.setdefault(key, add_decimal(inner))
        return made
    if isinstance(value, (bytes, bytearray)):
        return "0x" + value.hex()
    if isinstance(value, (list, tuple)):
        return [add_decimal(inner) for inner in value]
    return value


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document as JSON, amounts completed; only ASCII, so that nothing in it moves a cursor."""
    sys.stdout.write(json.dumps(add_decimal(document), indent=2) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print text for people, no line wider than a terminal."""
    if text:
        sys.stdout.write(wrapped(text.rstrip("\n")) + "\n")
        sys.stdout.flush()


def wrapped(text: str, width: int = WIDTH) -> str:
    """Return text whose lines take at most `width` columns; a word that is longer stays whole.

    >>> wrapped("would send it", 10)
    'would send\n  it'
    """
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> Iterator[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    while columns(line) > width:
        fits = next(at for at in range(len(line), 0, -1) if columns(line[:at]) <= width)
        start = len(line) - len(line.lstrip())
        space = line.rfind(" ", start, fits + 1)
        if space < 0:
            space = line.find(" ", fits)
        if space < 0:
            break
        yield line[:space].rstrip()
        line = indent + line[space:].lstrip()
    yield line


def clean(text: object, width: int = 40) -> str:
    """Return hostile text in one line of at most `width` columns, without what moves a cursor or hides.

    Control, format (bidirectional, zero width), private and unassigned characters become '�'; what
    is cut ends in '…'.
    """
    shown = visible(str(text))
    if columns(shown) <= width:
        return shown
    kept = ""
    for letter in shown:
        if columns(kept + letter) > width - 1:
            break
        kept += letter
    return kept + CUT


def visible(text: str) -> str:
    """Return text as one line without what moves a cursor or hides; see `clean`."""
    return "".join(_visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter in "\t\n\r ":
        return " "
    return "�" if unicodedata.category(letter)[0] == "C" else letter


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in "WF"
        else 1
        for letter in text
    )


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[int] = (),
    width: int = WIDTH,
) -> str:
    """Return rows as aligned columns of at most `width`; the widest columns of text are cut to fit.

    `right` names the columns of numbers by position, which are set right and never cut.
    """
    numbers = set(right)
    cells = [[clean(cell, 200) for cell in row] for row in [head, *rows]]
    widths = [max(columns(row[at]) for row in cells) for at in range(len(head))]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        texts = [at for at in range(len(widths)) if at not in numbers] or list(range(len(widths)))
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= 6:
            break
        widths[widest] -= 1
    return "\n".join(_row(row, widths, numbers) for row in cells)


def _row(row: Sequence[str], widths: Sequence[int], numbers: set[int]) -> str:
    shown = []
    for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
        cell = clean(cell, width)
        space = " " * (width - columns(cell))
        shown.append(space + cell if at in numbers else cell + space)
    return "  ".join(shown).rstrip()


def pairs(rows: Mapping[str, object]) -> str:
    """Return names and values in two columns."""
    left = max((columns(name) for name in rows), default=0)
    return "\n".join(
        f"{name}{' ' * (left - columns(name))}  {clean(value, max(20, WIDTH - left - 2))}"
        for name, value in rows.items()
    )


def warn(text: str) -> None:
    """Print one line on stderr; what a file or the chain put into it does no harm there."""
    sys.stderr.write(visible(text) + "\n")
    sys.stderr.flush()


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves a progress bar on by a number of steps; nothing shows in a pipe.

    >>> with progress("counting", total=15) as advance: advance(1)
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True, width=WIDTH),
        transient=True,
    )
    with bar:
        task = bar.add_task(label[:30], total=total)
        yield lambda steps: bar.advance(task, steps)
