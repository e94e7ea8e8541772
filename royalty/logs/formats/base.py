"""What a format is: how its files are known, how one becomes rows, and how lines become plays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from royalty.errors import InputError
from royalty.logs.batches import Reading, Rows
from royalty.logs.columns import Column, Columns
from royalty.logs.lines import Block, blocks, text_of

HEAD = 65_536
MICRO = 10**6
BOM = b"\xef\xbb\xbf"
DIGEST_BYTES = 16
MAX_KEPT = 1_024

# What a reading of sums yields: units of a work and kind, from a day to a day, both inclusive.
SUMS = ("work", "kind", "since", "until", "units")

Chunks = Iterable[bytes]
Needs = Mapping[str, str]
"""Fields that steps of a policy need, each with the setting that asks for it (`Policy.needs`)."""
NO_NEEDS: Needs = {}


@dataclass(frozen=True, slots=True)
class Gather:
    """How lines of a format become plays: they are kept in a table until every file was read.

    `names` are the texts that a reading yields, in their order; the engine puts `file` and `line`
    before them. `plays` is the SQL over that table (`gathered`) of one row a play, with the
    columns `file`, `line` (of its first line) and the native fields of the format under their names.

    `read` is that of the format, given the fields that steps need: of these, it yields those in `facts`,
    which each line says, after the others. They are looked at line by line and are not kept. It raises
    InputError where a file cannot have a field that is needed. `union` says that the watched seconds
    of a play are those of a union of sections.
    """

    names: tuple[str, ...]
    plays: str
    read: Callable[[Chunks, Path, str | None, Needs], Reading]
    facts: tuple[str, ...] = ()
    union: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """The log of another program.

    `looks` is given the first bytes of a file and says whether it is one; `read` yields its rows under
    the fields of `columns`, or with `gather` what `Gather.names` names. `option` says what may stand
    after a colon in `--format`; where it changes the columns, `columns_with` gives them. A format of
    `sums` has no rows of usage: its reading yields the columns `SUMS`.
    """

    name: str
    title: str
    columns: Columns
    looks: Callable[[bytes], bool]
    read: Callable[[Chunks, Path, str | None], Reading]
    gather: Gather | None = None
    option: str = ""
    columns_with: Callable[[str], Columns] | None = None
    sums: bool = False


def fields_of(*names: str, **columns: Column) -> dict[str, Column]:
    """Return the native fields of these names, each in a column of its name, and those given whole."""
    return {**{name: Column(name) for name in names}, **columns}


def lacking(path: Path, column: str, field: str, needs: Needs) -> InputError:
    """Return the error of a file whose lines have no column for a field that a step needs."""
    return InputError(
        f"{path}: no column '{column}' ({field}), which {needs[field]} of the policy needs; add it to the"
        " log, or take a policy without that step"
    )


def sums_columns(name: str) -> Columns:
    """Return the columns of a format of sums."""
    return Columns({"work": Column("work"), "started_at": Column("until")}, format=name)


def head_lines(head: bytes, most: int = 20) -> list[str]:
    """Return the whole lines of the first bytes of a file that are text and not blank."""
    lines = head.removeprefix(BOM).split(b"\n")
    if len(head) >= HEAD and len(lines) > 1:
        lines.pop()
    texts = (text_of(line.removesuffix(b"\r"))[0] for line in lines[:most])
    return [text for text in texts if text and text.strip()]


def text_rows(
    chunks: Chunks, width: int, cells: Callable[[str, int], list[str | None] | None]
) -> Iterator[Rows]:
    """Yield the rows of a text log block by block; a line is not blank and has neither newline nor BOM.

    `cells` returns a line's cells, or None where the line is no row, and raises ValueError with the
    reason where it is a broken one.
    """
    for block in blocks(chunks):
        rows = Rows(width)
        for number, line in numbered(block):
            text, why = text_of(line)
            try:
                if text is None:
                    raise ValueError(why)
                found = cells(text, number)
            except ValueError as error:
                rows.bad.append((number, str(error)))
                continue
            if found is not None:
                rows.cells.append(found)
                rows.lines.append(number)
        if rows.lines or rows.bad:
            yield rows


def numbered(block: Block) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a block that are not blank with their numbers."""
    for number, line in enumerate(block.lines(), block.first):
        line = line.removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(BOM)
        if line:
            yield number, line


def known_id(*parts: str) -> str:
    """Return `made_id` of texts that come again and again; long ones are not kept in memory."""
    return _kept_id(*parts) if sum(map(len, parts)) <= MAX_KEPT else made_id(*parts)


def made_id(*parts: str) -> str:
    """Return an id made of texts: hex of their SHA-256, cut to 16 bytes; no two lists are one text."""
    text = "".join(f"{len(part.encode())}:{part}" for part in parts)
    return sha256(text.encode()).digest()[:DIGEST_BYTES].hex()


_kept_id = lru_cache(maxsize=16_384)(made_id)
