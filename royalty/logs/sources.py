"""The files of a log: found by names and globs, their format and compression told, their bytes read."""

from __future__ import annotations

import glob
import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from royalty.errors import InputError
from royalty.logs.columns import NATIVE, Columns

MAX_FILES = 10_000
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}

_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSIONS = (".gz", ".gzip", ".zst", ".zstd")
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a log.

    `sha256` (`0x` and hex, of the decompressed content) and `rows` (all of them, malformed ones too)
    are known once it has been read.
    """

    path: Path
    format: str
    compression: str | None = None
    columns: Columns = NATIVE
    separator: str | None = None
    sha256: str = ""
    rows: int = 0


def find_sources(
    patterns: Iterable[str | Path], columns: Columns | None = None, separator: str | None = None
) -> list[Source]:
    """Return the files that names and globs stand for, in the order given, each once.

    Raises InputError for a missing file, a glob without a match, a folder, an empty file, a format that
    is not read here, or more than 10,000 files.
    """
    mark = _separator(separator)
    found: dict[Path, Source] = {}
    for pattern in patterns:
        for path in _expand(str(pattern)):
            real = path.resolve()
            if real not in found:
                found[real] = _source(path, columns or NATIVE, mark)
                if len(found) > MAX_FILES:
                    raise InputError(f"more than {MAX_FILES:,} files; give fewer at a time")
    if not found:
        raise InputError("no log was given; name at least one file")
    return list(found.values())


class CountedFile(io.RawIOBase):
    """A file that knows how many bytes were read of it, even after a reader has closed it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.done = file, 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes."""
        chunk = self.file.read(size)
        self.done += len(chunk)
        return chunk


@contextmanager
def opened(path: Path) -> Iterator[CountedFile]:
    """Open a file for reading; InputError where it cannot be."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    with file:
        yield CountedFile(file)


def decompressed(file: CountedFile, compression: str | None) -> Any:
    """Return an object whose `read(n)` gives the decompressed content of an open file."""
    if compression is None:
        return file
    import pyarrow as pa

    return pa.CompressedInputStream(file, compression)


def read_chunks(stream: Any, path: Path, size: int) -> Iterator[bytes]:
    """Yield a stream's bytes in chunks; InputError where its compression is broken or cut off."""
    while True:
        try:
            chunk = stream.read(size)
        except (OSError, EOFError) as error:
            raise InputError(f"{path} is damaged or cut off: {error}") from None
        if not chunk:
            return
        yield bytes(chunk)


def content_digest(source: Source) -> str:
    """Return the SHA-256 of a file's decompressed content as `0x...`; InputError where it is damaged."""
    digest = hashlib.sha256()
    with opened(source.path) as file:
        for chunk in read_chunks(decompressed(file, source.compression), source.path, 2**20):
            digest.update(chunk)
    return "0x" + digest.hexdigest()


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.exists() or not glob.has_magic(pattern):
        return [path]
    matches = sorted(Path(match) for match in glob.iglob(pattern, recursive=True))  # noqa: PTH207
    files = [match for match in matches if not match.is_dir()]
    if not files:
        raise InputError(f"no file matches '{pattern}'")
    return files


def _source(path: Path, columns: Columns, separator: str | None) -> Source:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the files in it, for example '{path}/*.csv'")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    form = _FORMATS.get(suffixes[-1]) if suffixes else None
    if form is None:
        raise InputError(
            f"{path}: unknown format; a log's name ends in .csv, .tsv, .txt, .jsonl, .ndjson, .json,"
            " .parquet or .pq, and then .gz or .zst where it is compressed"
        )
    with opened(path) as file:
        head = file.read(4)
    if not head:
        raise InputError(f"{path} is empty")
    compression = _MAGIC.get(head[:2]) or _MAGIC.get(head)
    return Source(path, form, compression, columns, separator)


def _separator(text: str | None) -> str | None:
    if text is None:
        return None
    mark = {"tab": "\t", "\\t": "\t", **{name: mark for mark, name in SEPARATORS.items()}}.get(
        text, text
    )
    if len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0':
        raise InputError(
            f"separator '{text[:10]}' is not one character; write for example ';' or tab"
        )
    return mark
