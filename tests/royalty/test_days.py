"""Days: numbers since 1970-01-01 UTC and their text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.days import MAX_DAY, Period, day_of_timestamp, format_day, parse_day, today
from royalty.errors import InputError

day_numbers = st.integers(0, MAX_DAY)


@given(day_numbers)
def test_every_day_comes_back_from_its_text(day: int) -> None:
    assert parse_day(format_day(day)) == day


@given(st.integers(0, MAX_DAY * 86_400 + 86_399))
def test_day_of_timestamp_is_the_utc_date(seconds: int) -> None:
    expected = datetime.fromtimestamp(seconds, UTC).date().isoformat()
    assert format_day(day_of_timestamp(seconds)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "2026-1-1", "20261119", "2026-02-30", "2026-11-19T00:00", "yesterday", "٢٠٢٦-١١-١٩"],
)
def test_parse_day_refuses_what_is_no_date(text: str) -> None:
    with pytest.raises(InputError, match="is not a date"):
        parse_day(text)


@pytest.mark.parametrize("text", ["1969-12-31", "2149-06-07", "9999-12-31"])
def test_parse_day_refuses_days_that_the_ledger_cannot_number(text: str) -> None:
    with pytest.raises(InputError, match="lies outside 1970-01-01 to 2149-06-06"):
        parse_day(text)


def test_today_is_the_utc_date() -> None:
    before = datetime.now(UTC).date().isoformat()
    now = format_day(today())
    assert before <= now <= datetime.now(UTC).date().isoformat()


@given(day_numbers, day_numbers, day_numbers)
def test_period_holds_both_its_ends_and_what_lies_between(a: int, b: int, day: int) -> None:
    period = Period(min(a, b), max(a, b))
    assert a in period
    assert b in period
    assert (day in period) == (period.since <= day <= period.until)
    assert len(period) == period.until - period.since + 1


def test_period_is_walked_day_by_day() -> None:
    assert list(Period(3, 5)) == [3, 4, 5]


def test_period_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match="1970-01-03 to 1970-01-02"):
        Period(2, 1)
