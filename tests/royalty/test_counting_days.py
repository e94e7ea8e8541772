"""A log that is counted as its files are read comes to what it comes to in one table."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from random import Random
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from royalty import logs
from royalty.days import Period
from royalty.errors import InputError
from royalty.logs import counting, days
from royalty.usage import WorkRef

DAY = 20_000
MICRO = 86_400 * 10**6
WORKS = {1: 2, 2: 1}
DEALS = [(1, 1, 0, DAY + 1), (1, 2, DAY + 1, None), (2, 1, DAY, DAY + 2)]
ANSWERS = [("film", WorkRef(1, 0)), ("other", WorkRef(2, 0)), ("gone", WorkRef(1, 99))]
STARTS = {"naive": None, "UTC": "UTC", "Asia/Tokyo": "Asia/Tokyo"}


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


@pytest.mark.parametrize("zone", STARTS.values(), ids=STARTS)
def test_a_file_that_lies_about_its_days_is_counted_all_the_same(tmp_path, zone):
    path = tmp_path / "log.parquet"
    write(path, ordered(), zone, "us", 10)
    real = days._group

    def lying(*given):
        group = real(*given)
        return days.replace(group, until=group.since) if group.since != group.until else group

    with patch.object(days, "_group", lying), patch.object(counting, "PLANNED_AT_ONCE", 1):
        found = logs.count(logs.find_sources([path]), Period(DAY, DAY + 2), matcher())
    assert found.rows == found.qualified == 100


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
