"""Typed Parquet read in SQL gives the very rows that the slow reader gives, whatever the columns hold."""

from __future__ import annotations

import math
import tempfile
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from royalty import logs
from royalty.logs import fastparquet, reading

DAY = 20_000 * 86_400 * 10**6
ROW = "SELECT * FROM rows ORDER BY line"

# Around the bounds, the sixth place, and the whole numbers that a double no longer tells apart.
FLOATS = st.one_of(
    st.floats(width=64),
    st.floats(0, 1e9, width=64),
    st.sampled_from(
        [0.0, -0.0, 0.1, 29.9999999, 29.999999, 30.0, 1e9, 999999999.9999999, 1000000000.0000001, 1e-7,
         1e12, 1e15, 1e15 + 0.125, 4503599627370496.5, math.inf, -math.inf, math.nan, 5e-324, 0.3]
    ),
    st.integers(0, 10**15).map(lambda micro: micro / 1e6),
    st.integers(0, 10**15).map(lambda micro: math.nextafter(micro / 1e6, math.inf)),
    st.integers(0, 10**15).map(lambda micro: math.nextafter(micro / 1e6, 0)),
    st.integers(0, 10**15).map(lambda micro: (micro + 0.5) / 1e6),
    st.integers(0, 10**13).map(lambda milli: math.nextafter(milli / 1e3, 0)),
)  # fmt: skip
WHOLE = {
    pa.int8(): (-128, 127),
    pa.int16(): (-(2**15), 2**15 - 1),
    pa.int32(): (-(2**31), 2**31 - 1),
    pa.int64(): (-(2**63), 2**63 - 1),
    pa.uint8(): (0, 255),
    pa.uint32(): (0, 2**32 - 1),
    pa.uint64(): (0, 2**64 - 1),
}
TEXT = st.one_of(
    st.sampled_from(
        ["", "a", "007", "7", "view", "excerpt", "download", "é", "a\0b", "\0", "x" * 300]
    ),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
KINDS = st.sampled_from(["view", "view", "view", "download", "excerpt", "", "View", "view\0"])


def whole(kind: pa.DataType) -> st.SearchStrategy[int]:
    least, most = WHOLE[kind]
    near = [
        n for n in (0, 1, 30, 10**9, 10**9 + 1, 10**12, 10**15, 10**15 + 1) if least <= n <= most
    ]
    return st.one_of(st.integers(least, most), st.sampled_from(near))


@st.composite
def numbers(draw):
    """(type, values) of a column of numbers."""
    which = draw(st.sampled_from([*["float", "whole", "decimal"] * 4, "half", "text"]))
    if which == "float":
        return pa.float64(), FLOATS
    if which == "half":
        return pa.float32(), st.floats(width=32)
    if which == "text":
        return pa.string(), st.sampled_from(["30", "30.5", "-1", "1e3", "", "x"])
    if which == "whole":
        kind = draw(st.sampled_from(sorted(WHOLE, key=str)))
        return kind, whole(kind)
    width = draw(st.integers(1, 24))  # Python's decimals hold 28 digits
    scale = draw(st.integers(0, min(width, 9)))
    most = 10**width - 1
    return pa.decimal128(width, scale), st.one_of(
        st.integers(-most, most), st.integers(0, min(most, 10 ** (9 + scale) + 3))
    ).map(lambda number: Decimal(number).scaleb(-scale))


@st.composite
def times(draw):
    """(type, values, columns setting) of a column of starts."""
    if draw(st.integers(0, 4)) == 0:
        unit = draw(st.sampled_from(["s", "ms", "us"]))
        kind = draw(st.sampled_from([pa.int64(), pa.uint64(), pa.int32()]))
        return kind, whole(kind), {"unit": unit}
    unit = draw(st.sampled_from(["us", "us", "ms", "ns", "s"]))
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    zone = draw(st.sampled_from([None, None, "UTC", "Asia/Tokyo"]))
    bounds = (-62_167_219_200 * per, 253_402_300_800 * per)
    values = st.one_of(
        st.integers(-(10**6) * per, 4 * 10**9 * per),
        st.integers(DAY // 10**6 * per - 3, DAY // 10**6 * per + 3),
        st.integers(-5000, 5000),
    )
    if unit != "ns":
        values = st.one_of(
            values, st.sampled_from([n + d for n in bounds for d in (-1, 0, 1)]),
            st.integers(-(2**61) // 10**6 * per // 10**3, 2**61 // 10**6 * per // 10**3),
        )  # fmt: skip
    setting = draw(st.sampled_from([None, None, None, {"zone": "Europe/Berlin"}]))
    return pa.timestamp(unit, tz=zone), values, setting


@st.composite
def logs_of_types(draw):
    """(table, columns file or None) of a log with typed columns."""
    rows = draw(st.integers(1, 12))

    def column(kind, values, missing=True):
        cells = [
            None if missing and draw(st.integers(0, 9)) == 0 else draw(values) for _ in range(rows)
        ]
        return pa.array(cells, kind)

    def text(values=TEXT):
        which = draw(
            st.sampled_from([*["text"] * 16, "large", "dictionary", "whole", "whole", "bytes"])
        )
        if which == "whole":
            return column(pa.int64(), whole(pa.int64()))
        array = column(pa.string(), values)
        if which == "dictionary":
            return array.dictionary_encode()
        return array.cast(
            {"large": pa.large_string(), "bytes": pa.binary()}.get(which, pa.string())
        )

    at, instants, setting = draw(times())
    cells = {"usage_id": text(), "work": text(), "started_at": column(at, instants)}
    cells["watched_seconds"] = column(*draw(numbers()))
    if draw(st.booleans()):
        cells["duration_seconds"] = column(*draw(numbers()))
    if draw(st.booleans()):
        cells["kind"] = text(KINDS)
    for name in ("viewer", "session"):
        if draw(st.booleans()):
            cells[name] = text()
    table = pa.table(cells)
    if setting is None and draw(st.booleans()):
        return table, None
    columns = {name: {"column": name} for name in cells}
    columns["started_at"] |= setting or {}
    if draw(st.booleans()):
        columns["watched_seconds"]["unit"] = draw(st.sampled_from(["ms", "us"]))
    if draw(st.booleans()):
        del columns["usage_id"]
    if "kind" not in columns and draw(st.booleans()):
        columns["kind"] = {"value": "download"}
    if draw(st.booleans()):
        columns["resend"] = "last"
    return table, columns


def rows_of(path: Path, columns: dict | None, *, slowly: bool) -> tuple[list, bool]:
    """The rows of a file, and whether the fast reader gave them."""
    used = []

    def watched(*given):
        found = None if slowly else fastparquet.fast_parquet(*given)
        used.append(found is not None)
        return found

    shape = None if columns is None else logs.Columns.of(columns)
    with logs.engine() as con, patch.object(reading, "fast_parquet", watched):
        logs.read_rows(con, logs.find_sources([path], shape))
        return con.execute(ROW).fetchall(), any(used)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(log=logs_of_types(), group=st.sampled_from([1, 3, 1000]))
def test_the_fast_reader_gives_the_rows_of_the_slow_one(log, group):
    table, columns = log
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.parquet")
        parquet.write_table(table, path, row_group_size=group)
        slow, _ = rows_of(path, columns, slowly=True)
        fast, was_fast = rows_of(path, columns, slowly=False)
    event("fast" if was_fast else "slow")
    assert fast == slow


@settings(max_examples=20, deadline=None)
@given(values=st.lists(FLOATS, min_size=200, max_size=400), unit=st.sampled_from(["s", "ms", "us"]))
def test_every_float_comes_to_the_digits_of_its_shortest_text(values, unit):
    table = pa.table(
        {
            "work": ["w"] * len(values),
            "usage_id": ["u"] * len(values),
            "started_at": pa.array([DAY] * len(values), pa.timestamp("us")),
            "watched_seconds": pa.array(values, pa.float64()),
        }
    )
    columns = {name: {"column": name} for name in table.column_names}
    columns["watched_seconds"]["unit"] = unit
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.parquet")
        parquet.write_table(table, path)
        slow, _ = rows_of(path, columns, slowly=True)
        fast, was_fast = rows_of(path, columns, slowly=False)
    assert was_fast
    assert fast == slow


def plain_table(rows: int = 3, **changed) -> pa.Table:
    cells = {
        "usage_id": [f"u{n}" for n in range(rows)],
        "work": ["w"] * rows,
        "started_at": pa.array([DAY + n for n in range(rows)], pa.timestamp("us")),
        "watched_seconds": pa.array([30.5] * rows),
    }
    return pa.table(cells | changed)


def test_a_log_as_platforms_write_it_is_read_fast(tmp_path):
    path = tmp_path / "log.parquet"
    parquet.write_table(plain_table(), path)
    found, was_fast = rows_of(path, None, slowly=False)
    assert was_fast
    assert [row[5:8] for row in found] == [(DAY + n, 20_000, 30_500_000) for n in range(3)]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("log*.parquet", plain_table()),
        ("log.parquet", plain_table(Work=["x"] * 3)),
        ("log.parquet", plain_table(file_row_number=[7] * 3)),
        ("log.parquet", plain_table(watched_seconds=pa.array([0.1] * 3, pa.float32()))),
        ("log.parquet", plain_table(work=pa.array([b"w"] * 3))),
    ],
    ids=["glob", "names alike", "row number", "single", "bytes"],
)
def test_what_is_not_known_to_read_alike_is_read_slowly(tmp_path, name, table):
    path = tmp_path / name
    parquet.write_table(table, path)
    found, was_fast = rows_of(path, None, slowly=False)
    assert not was_fast
    assert [row[8 - 1] is not None for row in found] == [True] * 3


def test_text_that_is_no_utf8_is_told_row_by_row_as_the_slow_reader_does(tmp_path):
    path = tmp_path / "log.parquet"
    ids = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    parquet.write_table(plain_table(usage_id=ids), path)
    fast, _ = rows_of(path, None, slowly=False)
    slow, _ = rows_of(path, None, slowly=True)
    assert fast == slow
    assert [row[-1] for row in fast] == [None, "usage_id is not UTF-8", None]


def test_a_folder_that_looks_like_a_partition_adds_no_column(tmp_path):
    folder = tmp_path / "viewer=anna"
    folder.mkdir()
    parquet.write_table(plain_table(), folder / "log.parquet")
    found, was_fast = rows_of(folder / "log.parquet", None, slowly=False)
    assert was_fast
    assert {row[9] for row in found} == {None}
