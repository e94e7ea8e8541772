"""Typed Parquet read in SQL: the rows that the slow reader (`parquetrows`) finds, without making texts.

Only where every column of the file has a type whose text form is known to give the same numbers; any
other file, and one that DuckDB refuses, goes through the slow reader. What is equal, and why:

- Integers and decimals are exact in both.
- A float's text is the shortest decimal that reads back to it, and its digits past the unit's last are
  cut. Up to 10^15 units a whole number of units has at most 15 digits, so it is the shortest decimal of
  the float that it divides to, and of no other; and no whole number lies between any other float and its
  shortest decimal. So the whole part is that of the float itself, which one comparison finds (`_floats`).
- Instants are whole microseconds; finer ones are cut downwards, as the text's digits are.
- Texts are taken as they are; a NUL is looked for, text that is not UTF-8 is refused by DuckDB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty.logs.columns import UNITS, Column, Columns
from royalty.usage import MAX_SECONDS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NUMBERS = ("watched_seconds", "duration_seconds")
TEXTS = ("usage_id", "work", "kind", "viewer", "session")
FIRST_INSTANT = -62_167_219_200 * 10**6  # the year 0
LAST_INSTANT = 253_402_300_800 * 10**6 - 1
MAX_DIGITS = 18

_INTEGERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
}  # fmt: skip
_GLOBS = "*?[]{}"


@dataclass(frozen=True, slots=True)
class FastParquet:
    """A file that is read in SQL: its path, SQL of each field, its column of starts and their type.

    `texts` is what is there of a field (null: missing), `numbers` what it comes to in microseconds
    (null: cannot be read), `broken` why a whole row cannot be read.
    """

    path: Path
    texts: Mapping[str, str]
    numbers: Mapping[str, str]
    broken: str
    started: str
    type: str

    def instant(self, day: str) -> str:
        """Return the SQL of when a day (`YYYY-MM-DD`) begins, as the file's starts are typed."""
        text = f"{day} 00:00:00"
        if self.type == "TIMESTAMP WITH TIME ZONE":
            return f"TIMESTAMPTZ '{text}+00'"
        return f"CAST('{text}' AS {self.type})"

    @property
    def odd_start(self) -> str:
        """The SQL test of a start that is there and cannot be read in SQL; the slow reader knows its words."""
        return f"{self.started} IS NOT NULL AND ({self.numbers['started_at']}) IS NULL"

    def relation(self, where: str = "") -> str:
        """Return the SQL of a FROM: the file's columns, and `file_row_number` from 0."""
        name = str(self.path).replace("'", "''")
        return f"read_parquet('{name}', file_row_number = true, hive_partitioning = false){where}"


def fast_parquet(
    con: DuckDBPyConnection, path: Path, columns: Columns, names: Sequence[str], schema: Any
) -> FastParquet | None:
    """Return how a file is read in SQL, None where only the slow reader is known to read it right.

    `names` are its wanted columns, `schema` is its Arrow schema; both come from the slow reader, which
    has refused what lacks a column.
    """
    import duckdb

    folded = [name.lower() for name in schema.names]
    if any(mark in str(path) for mark in _GLOBS) or len(set(folded)) < len(folded):
        return None
    if "file_row_number" in folded:
        return None
    fast = FastParquet(path, {}, {}, "", "", "")
    try:
        found = con.execute(f"DESCRIBE SELECT * FROM {fast.relation()}").fetchall()
    except duckdb.Error:
        return None
    types = {str(name): str(kind) for name, kind, *_ in found}
    return _Fields(path, columns, names, schema, types).fast()


class _Fields:
    """The SQL of a file's fields, as far as their types are known."""

    def __init__(
        self,
        path: Path,
        columns: Columns,
        names: Sequence[str],
        schema: Any,
        types: Mapping[str, str],
    ) -> None:
        self.path, self.columns, self.names = path, columns, names
        self.schema, self.types = schema, types

    def fast(self) -> FastParquet | None:
        texts, numbers = {}, {}
        for field, column in self.columns.fields.items():
            if column.value is None and column.column not in self.names:
                continue
            text = self._text(column) if field in TEXTS else self._raw(column)
            if text is None:
                return None
            texts[field] = text
            if field not in TEXTS:
                number = self._started(column) if field == "started_at" else self._number(column)
                if number is None:
                    return None
                numbers[field] = number
        started = self.columns.fields["started_at"]
        name, kind = quoted(str(started.column)), self._type(started)
        return FastParquet(self.path, texts, numbers, self._broken(), name, kind)

    def _type(self, column: Column) -> str:
        return self.types.get(str(column.column), "")

    def _raw(self, column: Column) -> str | None:
        return None if column.value is not None else quoted(str(column.column))

    def _text(self, column: Column) -> str | None:
        """A text, or a whole number, which is written alike everywhere."""
        if column.value is not None:
            return "'" + column.value.replace("'", "''") + "'"
        name, kind = quoted(str(column.column)), self._type(column)
        if kind == "VARCHAR":
            return name if self._is_text(str(column.column)) else None
        return f"CAST({name} AS VARCHAR)" if kind in _INTEGERS else None

    def _is_double(self, name: str) -> bool:
        """Return whether doubles are stored: DuckDB also makes them of decimals of more than 38 digits."""
        from pyarrow import types

        return bool(types.is_float64(self.schema.field(name).type))

    def _is_text(self, name: str) -> bool:
        from pyarrow import types

        kind = self.schema.field(name).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        return bool(types.is_string(kind) or types.is_large_string(kind))

    def _number(self, column: Column) -> str | None:
        name, kind = quoted(str(column.column)), self._type(column)
        places = UNITS[column.unit or "s"]
        most = MAX_SECONDS * 10 ** (6 - places)
        if kind in _INTEGERS:
            return f"CASE WHEN {name} BETWEEN 0 AND {most} THEN CAST({name} AS BIGINT) * {10**places} END"
        if kind == "DOUBLE" and self._is_double(str(column.column)):
            return _floats(name, places, most)
        width, scale = _decimal(kind)
        if width and width <= MAX_DIGITS and scale <= places:
            return f"CASE WHEN {name} BETWEEN 0 AND {most} THEN CAST({name} * {10**places} AS BIGINT) END"
        return None

    def _started(self, column: Column) -> str | None:
        from pyarrow import types

        name, kind = quoted(str(column.column)), self._type(column)
        arrow = self.schema.field(column.column).type
        if column.unit is not None:
            if kind not in _INTEGERS:
                return None
            scale = 10 ** UNITS[column.unit]
            return (
                f"CASE WHEN {name} BETWEEN 0 AND {LAST_INSTANT // scale}"
                f" THEN CAST({name} AS BIGINT) * {scale} END"
            )
        if column.zone is not None or not types.is_timestamp(arrow):
            return None
        if kind == "TIMESTAMP_NS" and arrow.unit == "ns":
            nano = f"epoch_ns({name})"
            micro = f"({nano} - (({nano} % 1000 + 1000) % 1000)) // 1000"
        elif kind in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE") and arrow.unit in ("us", "ms"):
            micro = f"epoch_us({name})"
        else:
            return None
        return f"CASE WHEN {micro} BETWEEN {FIRST_INSTANT} AND {LAST_INSTANT} THEN {micro} END"

    def _broken(self) -> str:
        """Why a row has no text; of several columns the first that is wanted."""
        tests = []
        for name in self.names:
            if self.types.get(name) == "VARCHAR":
                why = f"{name[:40]} has a NUL character".replace("'", "''")
                tests.append(f"WHEN contains({quoted(name)}, chr(0)) THEN '{why}'")
        return f"CASE {' '.join(tests)} END" if tests else "CAST(NULL AS VARCHAR)"


def _floats(name: str, places: int, most: int) -> str:
    """Return the SQL of a float's whole units, exact (see above); -0.0 is written with a sign."""
    units = f"CAST(round({name} * {10**places}.0::DOUBLE) AS BIGINT)"
    return (
        f"CASE WHEN {name} >= 0 AND {name} <= {most} AND NOT signbit({name}) THEN"
        f" {units} - CAST({name} < CAST({units} AS DOUBLE) / {10**places}.0::DOUBLE AS BIGINT) END"
    )


def _decimal(kind: str) -> tuple[int, int]:
    """Return digits and places of `DECIMAL(18,3)`, zeros where it is none."""
    if not kind.startswith("DECIMAL("):
        return 0, 0
    width, scale = kind.removeprefix("DECIMAL(").removesuffix(")").split(",")
    return int(width), int(scale)


def quoted(name: str) -> str:
    """Return a column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'
