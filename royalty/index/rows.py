"""Rows for programs and people: a list of dicts, Arrow, pandas, polars, a CSV or a Parquet file.

Money is exact in all of them: Python ints, Arrow decimal128(38, 0), digits in CSV. Text that comes
from the chain or from a log is other people's: in a CSV it is made harmless for spreadsheets.
"""

from __future__ import annotations

import csv
import io
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.days import format_day, parse_day
from royalty.errors import InputError, MissingProgram
from royalty.sheets import csv_text

if TYPE_CHECKING:
    import pyarrow as pa

INTEGERS = frozenset(
    {
        "batch",
        "block",
        "catalogue",
        "version",
        "units",
        "share_ppm",
        "logged_units",
        "chain_units",
        "leaves",
        "settled_leaves",
        "held_units",
        "due_units",
        "reported_units",
    }
)
DAYS = frozenset({"day", "from_day", "until_day"})


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of named columns; each row is a dict that has those columns that it needs.

    Days are `YYYY-MM-DD`, columns ending in `_nano` are ints of nano-tokens, what is unknown is None.
    """

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_list())

    def to_list(self) -> list[dict[str, Any]]:
        """Return the rows as dicts, money as ints of nano-tokens."""
        return [dict(row) for row in self.rows]

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table: days date32, money decimal128(38, 0)."""
        import pyarrow as pa

        columns = {
            name: [_typed(name, row.get(name)) for row in self.rows] for name in self.columns
        }
        return pa.table(columns, schema=pa.schema([(c, _arrow_type(c)) for c in self.columns]))

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with money as Decimal; MissingProgram where pandas is absent."""
        _library("pandas")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return a polars DataFrame with money as Decimal; MissingProgram where polars is absent."""
        return _library("polars").from_arrow(self.to_arrow())

    def to_csv(self, path: str | Path) -> None:
        """Write the rows as CSV (UTF-8, a header line); InputError where the file cannot be written."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(name, row.get(name)) for name in self.columns] for row in self.rows)
        _write(Path(path), lambda place: place.write_bytes(out.getvalue().encode()))

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows as Parquet; InputError where the file cannot be written."""
        import pyarrow.parquet as pq

        table = self.to_arrow()
        _write(Path(path), lambda place: pq.write_table(table, place, compression="zstd"))


def _library(name: str) -> Any:
    """Return an optional library; MissingProgram says how to install it where it is absent."""
    try:
        return import_module(name)
    except ImportError:
        raise MissingProgram(
            f"{name} is not installed; run `pip install {name}`, or use to_arrow()"
        ) from None


def merge(tables: Sequence[Rows], order: Callable[[Mapping[str, Any]], Any]) -> Rows:
    """Return several tables as one, with the columns of all, sorted."""
    columns = tuple(dict.fromkeys(name for table in tables for name in table.columns))
    return Rows(columns, tuple(sorted((row for table in tables for row in table.rows), key=order)))


def _arrow_type(column: str) -> pa.DataType:
    import pyarrow as pa

    if column.endswith("_nano"):
        return pa.decimal128(38, 0)
    if column in DAYS:
        return pa.date32()
    return pa.int64() if column in INTEGERS else pa.string()


def _typed(column: str, value: Any) -> Any:
    from decimal import Decimal

    if value is None:
        return None
    if column.endswith("_nano"):
        return Decimal(value)
    return parse_day(value) if column in DAYS else value


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    return csv_text(value) if isinstance(value, str) and column not in DAYS else str(value)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside and rename it, so that nobody sees half of it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        aside.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path} cannot be written: {reason}") from None
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def day_text(day: int | None) -> str | None:
    """Return a day's number as `YYYY-MM-DD`, None as None."""
    return None if day is None else format_day(day)
