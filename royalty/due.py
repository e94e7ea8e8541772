"""What is due of each day: what was counted, less what was reported, and what is left out of it.

Pure: counted items and reported units in, rows out. What is held or was reported too much is only ever
shown; what was reported is final.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from royalty.terms import Held, Item, difference
from royalty.usage import Kind, WorkRef

if TYPE_CHECKING:
    from royalty.journal import Reported


@dataclass(slots=True)
class Due:
    """What days come to: `days` are the items to report of each that is open, in order.

    `already` are units reported before, `held` units that are not reported now, `negative` what was
    reported too much.
    """

    days: dict[int, tuple[Item, ...]] = field(default_factory=dict)
    already: list[Item] = field(default_factory=list)
    held: list[Item] = field(default_factory=list)
    negative: list[Item] = field(default_factory=list)


def compare(
    items: Iterable[Item],
    days: Iterable[int],
    *,
    closed: Collection[int],
    reported: Callable[[int], Reported],
    reported_before: Callable[[int], Reported],
) -> Due:
    """Return what is due of each of the days, by the items that were counted on them.

    `reported` gives what was reported of a day by now, `reported_before` the same without what this very
    report took up. Of `closed` days nothing is due: what came late for them is held.
    """
    by_day: dict[int, list[Item]] = {day: [] for day in days}
    for item in items:
        by_day[item.day].append(item)
    made = Due()
    for day, counted in by_day.items():
        if day in closed:
            made.held += [replace(item, held=Held.CLOSED_DAY) for item in counted]
            made.already += [_final(day, *entry) for entry in reported(day).items()]
            continue
        differs = difference(day, counted, reported(day))
        made.already += _already(counted, reported_before(day))
        made.held += differs.held
        made.negative += differs.negative
        made.days[day] = differs.due
    return made


def _final(day: int, key: tuple[int, int, Kind, int], units: int) -> Item:
    """Return what was reported of a closed day, which is not counted again."""
    catalogue, version, kind, index = key
    return Item(day, WorkRef(catalogue, index), kind, version, units, 0)


def _already(items: Iterable[Item], reported: Reported) -> list[Item]:
    """Return the part of counted items that was reported before."""
    left, found = dict(reported), []
    for item in items:
        units = min(item.units, left.get(item.key, 0))
        left[item.key] = left.get(item.key, 0) - units
        found.append(item.of(units))
    return found
