"""A log that is counted as its files are read comes to what it comes to in one table."""

from __future__ import annotations

import csv
import struct
import tempfile
from decimal import Decimal, localcontext
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.logs import counting, days, reading
from royalty.usage import WorkRef

DAY = 20_000
MICRO = 86_400 * 10**6
WORKS = {1: 2, 2: 1}
DEALS = [(1, 1, 0, DAY + 1), (1, 2, DAY + 1, None), (2, 1, DAY, DAY + 2)]
ANSWERS = [("film", WorkRef(1, 0)), ("other", WorkRef(2, 0)), ("gone", WorkRef(1, 99))]


def matcher() -> logs.WorkTable:
    return logs.WorkTable(ANSWERS, DEALS, WORKS)


def rows_of(rng: Random, number: int, unordered: bool) -> list[dict]:
    starts = [DAY * MICRO + rng.randrange(4 * MICRO) for _ in range(number)]
    starts = [at + rng.choice([0, 0, 0, MICRO * 9]) for at in starts]
    if not unordered:
        starts.sort()
    return [
        {
            "usage_id": rng.choice(["", None, "a\0", *(f"u{n}" for n in range(number))]),
            "work": rng.choice(["film", "film", "film", "1/1", "other", "gone", "?", "2/0", None]),
            "kind": rng.choice(["view", "view", "download", "excerpt", "??"]),
            "started_at": None if rng.random() < 0.02 else at,
            "watched_seconds": rng.choice([30.0, 29.9999999, 61.5, 0.5, None, -1.0, 1e10]),
            "viewer": rng.choice(["anna", "ben", None]),
        }
        for at in starts
    ]


def write(path: Path, rows: list[dict], zone: str | None, unit: str, group: int) -> None:
    schema = pa.schema(
        {
            "usage_id": pa.string(),
            "work": pa.string(),
            "kind": pa.string(),
            "started_at": pa.timestamp("us", tz=zone),
            "watched_seconds": pa.float64(),
            "viewer": pa.string(),
        }
    )
    table = pa.Table.from_pylist(rows, schema)
    kind = pa.timestamp(unit, tz=zone)
    table = table.set_column(3, "started_at", table.column(3).cast(kind, safe=False))
    parquet.write_table(table, path, row_group_size=group)


def counted(paths: list[Path], period: Period, *, by_day: bool) -> tuple:
    """What a log comes to, with every excluded row, and whether it was counted by day."""
    plans = []

    def plan(*given):
        plans.append(days.plan_days(*given) if by_day else None)
        return plans[-1]

    with tempfile.TemporaryDirectory() as folder, patch.object(counting, "plan_days", plan):
        listed = Path(folder, "excluded.csv")
        found = logs.count(logs.find_sources(paths), period, matcher(), excluded_to=listed)
        with listed.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    return found, rows, plans[0] is not None


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 80), min_size=1, max_size=3),
    zone=st.sampled_from([None, "UTC", "Asia/Tokyo"]),
    unit=st.sampled_from(["us", "us", "ms", "ns"]),
    group=st.sampled_from([2, 7, 1000]),
    unordered=st.sampled_from([False, False, True]),
    at_once=st.sampled_from([1, 20, 400_000]),
)
def test_a_log_counted_by_day_comes_to_what_it_comes_to_in_a_table(
    seed, sizes, zone, unit, group, unordered, at_once
):
    rng = Random(seed)
    rows = rows_of(rng, sum(sizes), unordered)
    period = Period(DAY, DAY + 2)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(counting, "PLANNED_AT_ONCE", at_once),
        patch.object(days, "TWICE_READ", 3),
    ):
        paths = []
        for at, size in enumerate(sizes):
            paths.append(Path(folder, f"{at}.parquet"))
            write(paths[-1], [rows.pop(0) for _ in range(size)], zone, unit, group)
        by_day, listed, planned = counted(paths, period, by_day=True)
        at_once_found, all_listed, _ = counted(paths, period, by_day=False)
    event("by day" if planned else "in a table")
    assert listed == all_listed
    assert by_day == at_once_found


def ordered(number: int = 100) -> list[dict]:
    return [
        {
            "usage_id": f"u{n}",
            "work": "film",
            "kind": "view",
            "started_at": DAY * MICRO + n * MICRO * 3 // number,
            "watched_seconds": 30.0,
            "viewer": None,
        }
        for n in range(number)
    ]


def test_files_in_the_order_of_time_are_counted_by_day_and_shown_to_the_end(tmp_path):
    path = tmp_path / "log.parquet"
    write(path, ordered(), None, "us", 10)
    told: list[tuple[int, int]] = []
    with patch.object(counting, "PLANNED_AT_ONCE", 1):
        found = logs.count(
            logs.find_sources([path]), Period(DAY, DAY + 2), matcher(), progress=lambda *at: told.append(at)
        )  # fmt: skip
    size = path.stat().st_size
    assert found.rows == found.qualified == 100
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) > 4
    assert told[-1] == (size, size)


def test_files_without_an_order_go_into_one_table(tmp_path):
    path = tmp_path / "log.parquet"
    rows = ordered()
    Random(1).shuffle(rows)
    write(path, rows, None, "us", 10)
    with logs.engine() as con:
        logs.make_rows(con)
        assert days.plan_days(con, logs.find_sources([path]), 1) is None
        assert days.plan_days(con, logs.find_sources([path]), 1000) is not None


def told(path: Path, old: bytes, new: bytes) -> Path:
    """Exchange what the statistics in a Parquet file's footer say."""
    data = path.read_bytes()
    begin = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]
    assert old in data[begin:]
    path.write_bytes(data[:begin] + data[begin:].replace(old, new))
    return path


def both_ways(path: Path, columns: logs.Columns | None = None) -> tuple[Any, Any]:
    """What a file comes to as it is counted now, and by the slow reader alone: counts, or the error."""

    def outcome() -> Any:
        try:
            found = logs.count(logs.find_sources([path], columns), Period(DAY, DAY + 9), matcher())
        except InputError as error:
            return str(error)
        return found

    now = outcome()
    with (
        patch.object(counting, "plan_days", lambda *_: None),
        patch.object(reading, "fast_parquet", lambda *_: None),
    ):
        return now, outcome()


def excerpts(path: Path, starts: list[int], watched: pa.Array) -> Path:
    table = pa.table(
        {
            "usage_id": [f"u{n}" for n in range(len(starts))],
            "work": ["film"] * len(starts),
            "kind": ["excerpt"] * len(starts),
            "started_at": pa.array(starts, pa.timestamp("us", tz="UTC")),
            "watched_seconds": watched,
        }
    )
    parquet.write_table(table, path, use_dictionary=False)
    return path


def test_statistics_that_lie_of_the_last_start_hide_no_day(tmp_path):
    starts = [DAY * MICRO, DAY * MICRO + 1, (DAY + 5) * MICRO + 7]
    path = excerpts(tmp_path / "log.parquet", starts, pa.array([7.0, 8.0, 9.0]))
    now, slow = both_ways(told(path, struct.pack("<q", starts[2]), struct.pack("<q", starts[1])))
    assert now == slow
    assert [(row.day, row.units) for row in now.units] == [(DAY, 15), (DAY + 5, 9)]


@pytest.mark.parametrize(
    ("kind", "form", "beyond"), [(pa.int64(), "<q", 5 * 10**9), (pa.float64(), "<d", 5e9)]
)
def test_statistics_that_lie_of_the_longest_time_pay_nothing(tmp_path, kind, form, beyond):
    starts = [DAY * MICRO] * 2
    path = excerpts(tmp_path / "log.parquet", starts, pa.array([7, beyond], kind))
    now, slow = both_ways(told(path, struct.pack(form, beyond), struct.pack(form, 100)))
    assert now == slow
    assert ([row.units for row in now.units], now.excluded["malformed"]) == ([7], 1)


def test_a_decimal_of_many_digits_is_cut_and_not_rounded(tmp_path):
    with localcontext(prec=60):
        seconds = [Decimal("59.9999999999999999999"), Decimal("0.99999999999999999999")]
        watched = pa.array(seconds, pa.decimal256(50, 20))
    now, slow = both_ways(excerpts(tmp_path / "log.parquet", [DAY * MICRO] * 2, watched))
    assert now == slow
    assert ([row.units for row in now.units], now.excluded["below_threshold"]) == ([59], 1)


def test_a_file_that_is_exchanged_while_it_is_counted_is_refused(tmp_path):
    path = tmp_path / "log.parquet"
    write(path, ordered(), None, "us", 10)
    other = tmp_path / "other.parquet"
    write(other, ordered(50), None, "us", 10)
    real = counting.digests

    def exchanged(*given):
        found = real(*given)
        other.replace(path)
        return found

    with (
        patch.object(counting, "digests", exchanged),
        pytest.raises(InputError, match="was changed"),
    ):
        logs.count(logs.find_sources([path]), Period(DAY, DAY + 2), matcher())


def test_a_column_that_no_step_needs_does_not_matter(tmp_path):
    path = tmp_path / "log.parquet"
    write(path, ordered(), None, "us", 10)
    table = parquet.read_table(path)
    parquet.write_table(
        table.append_column("uploader", pa.array([bytes(16)] * 100, pa.binary(16))), path
    )
    shape = dict.fromkeys(("usage_id", "work", "started_at", "watched_seconds", "uploader"))
    columns = logs.Columns.of({name: name for name in shape})
    now, slow = both_ways(path, columns)
    assert now == slow
    assert now.qualified == 100


# 200 and 214 ended in a traceback once.
@pytest.mark.parametrize("seed", range(200, 230))
def test_a_damaged_file_is_an_error_or_counts_alike_in_both_readers(tmp_path, seed):
    rng = Random(seed)
    path = tmp_path / "log.parquet"
    rows = rows_of(rng, 200, unordered=False)
    write(path, rows, "UTC", "us", rng.choice([50, 200]))
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 3])):
        at = rng.randrange(4, len(data) - 8)
        data[at] = rng.randrange(256) if rng.random() < 0.5 else data[at] ^ (1 << rng.randrange(8))
    path.write_bytes(bytes(data))
    now, slow = both_ways(path)
    assert now == slow or str in (
        type(now),
        type(slow),
    )  # one library may see what the other does not


def test_text_that_is_no_utf8_sends_the_log_to_the_slow_reader(tmp_path):
    path = tmp_path / "log.parquet"
    write(path, ordered(), None, "us", 10)
    table = parquet.read_table(path)
    ids = pa.array([b"\xff", *(f"u{n}".encode() for n in range(99))]).view(pa.string())
    parquet.write_table(table.set_column(0, "usage_id", ids), path)
    found = logs.count(logs.find_sources([path]), Period(DAY, DAY + 2), matcher())
    assert (found.rows, found.excluded["malformed"]) == (100, 1)


def test_too_little_memory_is_said_and_an_unknown_size_too(tmp_path):
    path = tmp_path / "log.parquet"
    write(path, ordered(), None, "us", 10)
    for memory in ("1MB", "much"):
        with pytest.raises(InputError, match="memory"):
            logs.count(logs.find_sources([path]), Period(DAY, DAY), matcher(), memory=memory)
