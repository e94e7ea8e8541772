"""The files of a log: found by names and globs, their format and compression told, their bytes read."""

from __future__ import annotations

import glob
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from royalty.errors import InputError
from royalty.logs.columns import NATIVE, Columns
from royalty.logs.csvrows import SEPARATORS
from royalty.logs.formats import HEAD, detect, named

MAX_FILES = 10_000

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
_PARQUET = b"PAR1"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a log.

    `format` is csv, json or parquet for a table of columns, else the name of another program's format.
    `sha256` (`0x` and hex, of the decompressed content), `rows` (all of them, malformed ones too; for a
    format that joins lines, its lines) and `passed` (lines that say nothing of usage, by why) are known
    once it has been read.
    """

    path: Path
    format: str
    compression: str | None = None
    columns: Columns = NATIVE
    separator: str | None = None
    sha256: str = ""
    rows: int = 0
    passed: Mapping[str, int] = field(default_factory=dict)


def find_sources(
    patterns: Iterable[str | Path],
    columns: Columns | None = None,
    separator: str | None = None,
    form: str | None = None,
) -> list[Source]:
    """Return the files that names and globs stand for, in the order given, each once.

    `form` is the name of a format (`royalty.logs.formats`), or `native`; without it the content says,
    unless `columns` or `separator` say that the log is a table. Raises InputError for a missing file, a
    glob without a match, a folder, an empty file, a format that is not read here, more than 10,000
    files, or files of several formats: one log is read in one way, which its evidence names.
    """
    mark = _separator(separator)
    told = _told(form, columns, separator)
    sources = [_source(path, columns or NATIVE, mark, told) for path in find_paths(patterns)]
    _require_one_format(sources)
    return sources


def find_paths(patterns: Iterable[str | Path]) -> list[Path]:
    """Return the files that names and globs stand for, in the order given, each once, whatever they hold.

    Raises InputError for a glob without a match, for more than 10,000 files, and for none.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        for path in _expand(str(pattern)):
            found.setdefault(path.resolve(), path)
            if len(found) > MAX_FILES:
                raise InputError(f"more than {MAX_FILES:,} files; give fewer at a time")
    if not found:
        raise InputError("no log was given; name at least one file")
    return list(found.values())


@contextmanager
def unchanged(paths: Sequence[Path]) -> Iterator[None]:
    """Raise InputError where one of these files is another at the end: its digest would be of what was."""
    before = {path: _mark(path) for path in paths}
    yield
    for path, mark in before.items():
        if _mark(path) != mark:
            raise InputError(
                f"{path} was changed while it was read; try again when nobody writes to it"
            )


def _mark(path: Path) -> tuple[int, ...]:
    try:
        at = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns


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


def _told(form: str | None, columns: Columns | None, separator: str | None) -> str | None:
    """Return the format that is to be read, `native` for a table, None where the content says."""
    table = (columns is not None and not columns.native) or separator is not None
    if form is None:
        return "native" if table else None
    if form == "native":
        return form
    named(form)
    if table:
        raise InputError(
            f"--format {form} says by itself where the fields are; leave --columns and --separator out"
        )
    return form


def _require_one_format(sources: Sequence[Source]) -> None:
    first = sources[0]
    for other in sources:
        if other.columns.format != first.columns.format:
            raise InputError(
                f"{first.path} is {first.columns.format or 'native'} and {other.path}"
                f" {other.columns.format or 'native'}; give files of one format at a time"
            )


def _source(path: Path, columns: Columns, separator: str | None, told: str | None) -> Source:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the files in it, for example '{path}/*.csv'")
    with opened(path) as file:
        head = file.read(4)
    if not head:
        raise InputError(f"{path} is empty")
    compression = _MAGIC.get(head[:2]) or _MAGIC.get(head)
    spec = told
    if spec is None and not head.startswith(_PARQUET):
        spec = detect(_first_bytes(path, compression))
    if spec is not None and spec != "native":
        form, _ = named(spec)
        return Source(path, form.name, compression, form.columns)
    return Source(path, _table_of(path), compression, columns, separator)


def _first_bytes(path: Path, compression: str | None) -> bytes:
    with opened(path) as file:
        head = b""
        for chunk in read_chunks(decompressed(file, compression), path, HEAD):
            head += chunk
            if len(head) >= HEAD:
                break
        return head[:HEAD]


def _table_of(path: Path) -> str:
    """Return csv, json or parquet, by a file's name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    form = _FORMATS.get(suffixes[-1]) if suffixes else None
    if form is None:
        raise InputError(
            f"{path}: unknown format; a log's name ends in .csv, .tsv, .txt, .jsonl, .ndjson, .json,"
            " .parquet or .pq, and then .gz or .zst where it is compressed; or its content is of a"
            " format that --format knows"
        )
    return form


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
