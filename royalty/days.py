"""UTC days: numbers since 1970-01-01 on chain, `YYYY-MM-DD` for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from royalty.errors import InputError

EPOCH = date(1970, 1, 1)
MAX_DAY = 2**16 - 1
SECONDS_PER_DAY = 86_400

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_day(text: str, *, what: str = "day") -> int:
    """Return the day's number since 1970-01-01 UTC; InputError where it is not `YYYY-MM-DD`.

    >>> parse_day("1970-01-02")
    1
    """
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        number = (date.fromisoformat(text) - EPOCH).days
    except ValueError:
        raise InputError(
            f"{what} '{text[:40]}' is not a date; write for example 2026-11-19"
        ) from None
    if not 0 <= number <= MAX_DAY:
        raise InputError(f"{what} {text} lies outside {format_day(0)} to {format_day(MAX_DAY)}")
    return number


def format_day(number: int) -> str:
    """Return `YYYY-MM-DD` of a day's number."""
    return (EPOCH + timedelta(days=number)).isoformat()


def day_of_timestamp(seconds: int) -> int:
    """Return the UTC day of a Unix time in seconds."""
    return seconds // SECONDS_PER_DAY


def today() -> int:
    """Return the UTC day of this machine's clock."""
    return (datetime.now(UTC).date() - EPOCH).days


@dataclass(frozen=True, slots=True)
class Period:
    """UTC days `since` to `until`, both inclusive, as numbers since 1970-01-01."""

    since: int
    until: int

    def __post_init__(self) -> None:
        if self.since > self.until:
            raise InputError(
                "the period ends before it starts:"
                f" {format_day(self.since)} to {format_day(self.until)}"
            )

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.since, self.until + 1))

    def __contains__(self, day: int) -> bool:
        return self.since <= day <= self.until

    def __len__(self) -> int:
        return self.until - self.since + 1
