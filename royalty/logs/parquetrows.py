"""Parquet: typed columns become the text that they would be in a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from royalty.errors import InputError
from royalty.logs.batches import Reading, with_bad
from royalty.logs.canonical import decimal_text
from royalty.logs.columns import Columns
from royalty.logs.steps import loose_names, typed_text

ROWS_AT_ONCE = 131_072


def read_parquet(path: Path, columns: Columns, *, name: Path) -> Reading:
    """Return the wanted columns of a Parquet file and its rows; `name` is what messages call it.

    A row's line is its number, from 1. Raises InputError where the file is not Parquet, lacks a column,
    or a column's type has no text form.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{name} is not a Parquet file: {_line(error)}") from None
    wanted = dict.fromkeys(c.column for c in columns.fields.values() if c.column is not None)
    for required in columns.required_names():
        if required not in schema.names:
            raise InputError(
                f"{name}: no column '{required}' (it has {', '.join(schema.names)[:200]})"
            )
    names = tuple(column for column in wanted if column in schema.names)
    for column in names:
        if schema.names.count(column) > 1:
            raise InputError(f"{name}: column '{column}' stands in the file twice")
    started = columns.fields["started_at"]
    loose = loose_names(columns)
    forms = [
        _loose(schema.field(column).type, loose.get(column))
        or _form(schema.field(column).type, column, name, naive=_is_naive(started, column))
        for column in names
    ]
    return Reading(names, _tables(file, names, forms, name), parquet=file)


def _is_naive(started: Any, column: str) -> bool:
    return started.zone is not None and started.column == column


def _tables(
    file: Any, names: tuple[str, ...], forms: list[Callable[[Any], Any]], name: Path
) -> Iterator[Any]:
    import pyarrow as pa

    first = 1
    try:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(names)):
            yield _table(batch, names, forms, first)
            first += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{name} is damaged near row {first}: {_line(error)}") from None
    finally:
        file.close()


def _table(
    batch: Any, names: tuple[str, ...], forms: list[Callable[[Any], Any]], first: int
) -> Any:
    import pyarrow as pa

    bad: dict[int, str] = {}
    columns = []
    for column, form in zip(names, forms, strict=True):
        texts = form(batch.column(batch.schema.get_field_index(column)))
        columns.append(_checked(texts, column, bad))
    lines = pa.array(range(first, first + batch.num_rows), pa.int64())
    if not bad:
        return with_bad(lines, columns, [])
    good = pa.array([at not in bad for at in range(batch.num_rows)])
    return with_bad(
        lines.filter(good),
        [column.filter(good) for column in columns],
        [(first + at, reason) for at, reason in sorted(bad.items())],
    )


def _checked(texts: Any, column: str, bad: dict[int, str]) -> Any:
    """Return an array of bytes as text; rows that are no text are noted in `bad` and become null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        text = texts.cast(pa.string())
    except pa.ArrowInvalid:
        text = None
    if text is not None and not pc.any(pc.match_substring(text, "\0")).as_py():
        return text
    return pa.array(
        [_text(value, at, column, bad) for at, value in enumerate(texts.to_pylist())], pa.string()
    )


def _text(value: bytes | None, at: int, column: str, bad: dict[int, str]) -> str | None:
    if value is None:
        return None
    if b"\0" in value:
        bad.setdefault(at, f"{column[:40]} has a NUL character")
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        bad.setdefault(at, f"{column[:40]} is not UTF-8")
        return None


def _form(kind: Any, column: str, name: Path, *, naive: bool) -> Callable[[Any], Any]:
    """Return the function that makes an array of a type bytes of text."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(kind):
        inner = _form(kind.value_type, column, name, naive=naive)
        return lambda array: inner(array.dictionary_decode())
    if types.is_integer(kind) or types.is_null(kind):
        return lambda array: array.cast(pa.string()).cast(pa.binary())
    if types.is_decimal(kind):
        return lambda array: _each(array, decimal_text)
    if types.is_floating(kind):
        return _floats
    if types.is_timestamp(kind):
        suffix = "" if naive and kind.tz is None else "Z"
        return lambda array: _times(array, suffix)
    if _is_text(types, kind):
        return lambda array: array.cast(pa.binary())
    raise InputError(f"{name}: column '{column}' is of type {kind}, which has no text form here")


def _loose(kind: Any, field: str | None) -> Callable[[Any], Any] | None:
    """Return what makes text of a step's true, false or list; None where its type is another."""
    from pyarrow import types

    if field is None or not (types.is_boolean(kind) or types.is_nested(kind)):
        return None
    return lambda array: _each(array, lambda value: typed_text(_plain(value), field))


def _plain(value: Any) -> Any:
    """Return a nested value with its numbers as they would stand in a CSV file."""
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {name: _plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    return decimal_text(Decimal(repr(value))) if isinstance(value, float) else str(value)


def _is_text(types: Any, kind: Any) -> bool:
    tests = (
        "is_string",
        "is_large_string",
        "is_string_view",
        "is_binary",
        "is_large_binary",
        "is_binary_view",
    )
    return any(getattr(types, test)(kind) for test in tests if hasattr(types, test))


def _floats(array: Any) -> Any:
    """Return floats in their shortest exact form: no exponent, no point after a whole number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = array.cast(pa.float32() if array.type == pa.float16() else array.type).cast(pa.string())
    if not pc.any(pc.match_substring(text, "e")).as_py():
        return text.cast(pa.binary())
    return _each(text, lambda form: decimal_text(Decimal(form)) if "e" in form else form)


def _times(array: Any, suffix: str) -> Any:
    """Return timestamps as RFC 3339: of UTC, or naive where the suffix is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    clock = array.cast(pa.timestamp(array.type.unit))
    return pc.strftime(clock, format="%Y-%m-%dT%H:%M:%S" + suffix).cast(pa.binary())


def _each(array: Any, form: Callable[[Any], str]) -> Any:
    import pyarrow as pa

    return pa.array(
        [None if value is None else form(value).encode() for value in array.to_pylist()],
        pa.binary(),
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
