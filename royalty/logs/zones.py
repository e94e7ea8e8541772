"""Zones of naive times, as tables of offsets between local times that a join can look up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from royalty.errors import InputError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MICRO = 10**6
_FIRST = datetime(1969, 12, 1, tzinfo=UTC)
_LAST = datetime(2150, 1, 1, tzinfo=UTC)
_FOR_EVER = 2**62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Stretch = tuple[int, int, int]


def load_zone(name: Any) -> ZoneInfo:
    """Return the zone of an IANA name; InputError where this machine does not know it."""
    from zoneinfo import ZoneInfo

    try:
        if not isinstance(name, str):
            raise ValueError
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(
            f"zone '{str(name)[:40]}' is unknown here; write an IANA name such as Europe/Berlin"
            " (a machine without a zone database needs: pip install tzdata)"
        ) from None


def stretches(name: str) -> list[Stretch]:
    """Return (from, until, offset) of local times in a zone, microseconds, ascending, until exclusive.

    A local time that occurs twice belongs to its first occurrence; one that was skipped belongs to no
    stretch. Before 1970 and after 2149 the nearest offset stands.
    """
    zone = load_zone(name)
    changes = _changes(zone)
    found: list[Stretch] = []
    reached = -_FOR_EVER
    for at, after in zip([None, *changes], [*changes, None], strict=True):
        offset = _offset(zone, at or _FIRST)
        begin = -_FOR_EVER if at is None else _micro(at) + offset
        end = _FOR_EVER if after is None else _micro(after) + offset
        begin = max(begin, reached)
        if begin < end:
            found.append((begin, end, offset))
            reached = end
    return found


def _changes(zone: ZoneInfo) -> list[datetime]:
    """Return the instants at which the offset changes, found by days and then by halving."""
    found = []
    at, offset = _FIRST, _offset(zone, _FIRST)
    while at < _LAST:
        after = at + timedelta(days=1)
        new = _offset(zone, after)
        if new != offset:
            found.append(_halve(zone, at, after))
        at, offset = after, new
    return found


def _halve(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    old = _offset(zone, before)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset() or timedelta()
    return offset // timedelta(microseconds=1)


def _micro(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
