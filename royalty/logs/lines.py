"""Lines of a text log: whole lines in blocks, those too long cut so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_LINE = 131_072
BLOCK = 8 * 2**20
TOO_LONG = f"line of more than {MAX_LINE:,} bytes"
NO_TEXT = "not UTF-8"
NUL = "NUL byte"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines as they stand in the file; `first` is the number of the first, from 1."""

    first: int
    content: bytes
    last: bool
    """Whether the file ends here."""

    @property
    def plain(self) -> bool:
        """Whether every line is UTF-8 text without NUL and within the limit."""
        return (
            b"\0" not in self.content
            and (self.content.isascii() or _is_text(self.content))
            and not has_long_line(self.content)
        )

    def lines(self) -> list[bytes]:
        """Return the lines without their newline; a block's last newline ends a line."""
        lines = self.content.split(b"\n")
        if not lines[-1]:
            lines.pop()
        return lines


def blocks(chunks: Iterable[bytes]) -> Iterator[Block]:
    """Yield a file's whole lines in blocks of roughly the chunks' size.

    A line that is too long comes cut, but still too long, so that whoever reads it can tell.
    """
    first, pending = 1, b""
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            pending = (pending + chunk)[: MAX_LINE + 2]
            continue
        content = pending + chunk[:cut]
        pending = chunk[cut:]
        yield Block(first, content, last=False)
        first += content.count(b"\n")
    yield Block(first, pending, last=True)


def has_long_line(content: bytes) -> bool:
    """Return whether a line is longer than allowed, looking at one newline in 128 KiB."""
    at = 0
    while len(content) - at > MAX_LINE:
        newline = content.rfind(b"\n", at, at + MAX_LINE + 1)
        if newline < 0:
            return True
        at = newline + 1
    return False


def text_of(line: bytes) -> tuple[str | None, str | None]:
    """Return (text, None) of a line, or (None, why it is none)."""
    if len(line) > MAX_LINE:
        return None, TOO_LONG
    if b"\0" in line:
        return None, NUL
    try:
        return line.decode(), None
    except UnicodeDecodeError:
        return None, NO_TEXT


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
