"""A tally's data as a file: Parquet, from which anybody rebuilds the tree and compares it with the root.

One row a leaf, day, kind and work, in the order of the tree. A leaf's amount is the sum of its units
times their prices, so data that claims another amount leads to another root.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from royalty.days import MAX_DAY
from royalty.errors import InputError
from royalty.files import write_whole
from royalty.merkle import MAX_LEAVES, MAX_NANO, Claim, Leaf, Tree, make_tree
from royalty.usage import KINDS, MAX_PAIRS, MAX_UNITS, PAIR_BYTES, Kind, Tariff

if TYPE_CHECKING:
    import pyarrow as pa

MAX_BYTES = 2**30
MAX_ROWS = 50_000_000
MAX_LEAF_PAIRS = 2**20
"""Sixty times what a transaction that settles a leaf could carry."""
ROWS_AT_ONCE = 65_536
_DEAL = struct.Struct(">IH")
_HEAD = struct.Struct(">HBH")
_DAY_AND_KIND = itemgetter(3, 4)
_TOP = {
    "leaf": MAX_LEAVES - 1,
    "catalogue": 2**32 - 1,
    "version": 2**16 - 1,
    "day": MAX_DAY,
    "work": 2**24 - 1,
    "units": 2**40,
    "price_nano": 2**40 - 1,
}
COLUMNS = ("leaf", "catalogue", "version", "day", "kind", "work", "units", "price_nano")


class Row(NamedTuple):
    """Units of one work, day and kind in a leaf, at a price in nano-tokens; `day` counts from 1970."""

    leaf: int
    catalogue: int
    version: int
    day: int
    kind: Kind
    work: int
    units: int
    price_nano: int


def file_name(batch: int, digest: bytes) -> str:
    """Return the name of a tally's data: the batch, and the start of the file's SHA-256."""
    return f"tally-{batch}-{digest.hex()[:8]}.parquet"


def rows_of(leaves: Iterable[Leaf], tariffs: Mapping[tuple[int, int], Tariff]) -> Iterator[Row]:
    """Yield the rows of leaves, at the prices of their (catalogue, version); pairs of one work are one row."""
    for number, leaf in enumerate(leaves):
        tariff = tariffs[leaf.catalogue, leaf.version]
        for group in leaf.groups:
            for work, pairs in itertools.groupby(group.pairs, key=lambda pair: pair[0]):
                units = sum(units for _, units in pairs)
                price = tariff.price(group.kind)
                yield Row(
                    number,
                    leaf.catalogue,
                    leaf.version,
                    group.day,
                    group.kind,
                    work,
                    units,
                    price,
                )


def data_bytes(rows: Iterable[Row]) -> bytes:
    """Return rows as the bytes of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    with pq.ParquetWriter(sink, _schema(), compression="zstd") as writer:
        for part in _batched(rows, ROWS_AT_ONCE):
            columns = dict(zip(Row._fields, map(list, zip(*part, strict=True)), strict=True))
            columns["kind"] = [kind.word for kind in columns["kind"]]
            writer.write_table(pa.table(columns, schema=_schema()))
    return sink.getvalue()


def write_data(path: Path, content: bytes) -> None:
    """Write a tally's data whole and durable."""
    write_whole(path, content)


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file; InputError where it cannot be read or is longer than 1 GiB."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is longer than a tally's data may be (1 GiB)")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a tally's data; InputError, which names the row, for whatever is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} is longer than a tally's data may be (1 GiB)")
        with pq.ParquetFile(path) as file:
            _require_shape(path, file)
            at = 0
            for part in file.iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
                yield from _checked(path, at, part)
                at += part.num_rows
    except OSError as error:
        reason = error.strerror or "it is no Parquet file"
        raise InputError(f"{path} cannot be read: {reason}") from None
    except pa.ArrowException as error:
        said = str(error).partition("\n")[0][:120]
        raise InputError(f"{path} is no tally's data: {said}") from None


def read_claims(path: Path) -> Iterator[Claim]:
    """Yield the leaves of a tally's data with their amounts, in the order of the tree; InputError."""
    for expected, (number, group) in enumerate(
        itertools.groupby(read_rows(path), key=lambda row: row.leaf)
    ):
        if number != expected:
            raise InputError(f"{path}: leaf {number} stands where leaf {expected} should")
        yield claim_of(list(group), path)


def claim_of(rows: Sequence[Row], path: Path | str) -> Claim:
    """Return the leaf of its rows; InputError where they are no one leaf."""
    deal, amount, packed = rows[0][1:3], 0, [_DEAL.pack(*rows[0][1:3])]
    # A million times: `leaves_of` packs the same three times slower, and a test holds both to one another.
    for (day, kind), group in itertools.groupby(rows, key=_DAY_AND_KIND):
        pairs: list[tuple[int, int]] = []
        for _, catalogue, version, _, _, work, units, price in group:
            if units == 0 or (catalogue, version) != deal:
                raise InputError(
                    f"{path}: leaf {rows[0].leaf} is of two deals, or has rows without units"
                )
            amount += units * price
            pairs += [(work, MAX_UNITS)] * ((units - 1) // MAX_UNITS)
            pairs.append((work, (units - 1) % MAX_UNITS + 1))
            if len(pairs) > MAX_LEAF_PAIRS:
                raise InputError(f"{path}: leaf {rows[0].leaf} has more units than a tally can")
        for at in range(0, len(pairs), MAX_PAIRS):
            some = pairs[at : at + MAX_PAIRS]
            packed.append(_HEAD.pack(day, kind, len(some)))
            packed += [(index << 24 | units).to_bytes(PAIR_BYTES, "big") for index, units in some]
    if amount > MAX_NANO:
        raise InputError(f"{path}: leaf {rows[0].leaf} is worth more than the ledger can hold")
    return Claim(b"".join(packed), amount)


def read_tree(path: Path) -> Tree:
    """Return the tree of a tally's data; InputError where it is none."""
    return make_tree(claim.node for claim in read_claims(path))


def find_data(places: Iterable[Path], digest: bytes) -> Path | None:
    """Return the first file of this SHA-256, among files and the `tally-*.parquet` of folders."""
    for place in places:
        files = sorted(place.glob("tally-*.parquet")) if place.is_dir() else [place]
        for file in files:
            if file.is_file() and digest_of(file) == digest:
                return file
    return None


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("leaf", pa.uint32()),
            ("catalogue", pa.uint32()),
            ("version", pa.uint16()),
            ("day", pa.date32()),
            ("kind", pa.string()),
            ("work", pa.uint32()),
            ("units", pa.uint64()),
            ("price_nano", pa.uint64()),
        ]
    )


def _require_shape(path: Path, file: Any) -> None:
    """Raise InputError where a file has other columns or more rows than a tally's data."""
    schema = _schema()
    found = {field.name: field.type for field in file.schema_arrow}
    for field in schema:
        if found.get(field.name) != field.type:
            raise InputError(
                f"{path} is no tally's data: its column {field.name} is"
                f" {found.get(field.name, 'missing')}, not {field.type}"
            )
    if not 0 < file.metadata.num_rows <= MAX_ROWS:
        raise InputError(
            f"{path} has {file.metadata.num_rows:,} rows; a tally's data has 1 to {MAX_ROWS:,}"
        )


def _checked(path: Path, at: int, part: pa.RecordBatch) -> Iterator[Row]:
    """Yield the rows of a part that begins at row `at`; bounds are checked a column at a time."""
    import pyarrow as pa

    day = part.column("day").cast(pa.int32())
    columns = {name: part.column(name) for name in COLUMNS} | {"day": day}
    for name, top in _TOP.items():
        _require_bounds(path, at, name, columns[name], top)
    kinds = [KINDS.get(word) for word in columns["kind"].to_pylist()]
    if None in kinds:
        _refuse(path, at + kinds.index(None), "kind")
    lists = {name: column.to_pylist() for name, column in columns.items()} | {"kind": kinds}
    yield from map(Row._make, zip(*(lists[name] for name in COLUMNS), strict=True))


def _require_bounds(path: Path, at: int, name: str, column: pa.Array, top: int) -> None:
    import pyarrow.compute as pc

    bounds = pc.min_max(column)
    if column.null_count or bounds["min"].as_py() < 0 or bounds["max"].as_py() > top:
        values = enumerate(column.to_pylist())
        wrong = next(n for n, value in values if value is None or not 0 <= value <= top)
        _refuse(path, at + wrong, name)


def _refuse(path: Path, row: int, name: str) -> NoReturn:
    raise InputError(f"{path}: row {row:,}: {name} is missing, unknown or out of range")


def _batched(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while part := list(itertools.islice(iterator, size)):
        yield part
