"""What counted units cost, and which of them are held: deals, licences and rivals put together.

Pure: small tables of integers in, rows out. Money is `units x price` of the deal in force on the day
of the usage, in nano-tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from royalty.usage import Kind, Tariff, WorkRef, units_of


class Held(StrEnum):
    """Why units that were counted are not reported."""

    RIVAL_CATALOGUE = "rival_catalogue"
    DEARER_THAN_ACCEPTED = "dearer_than_accepted"
    CLOSED_DAY = "closed_day"
    SPIKE_HOLD = "spike_hold"


class Deal(Protocol):
    """What is needed of a deal here, see `royalty.catalogues.Deal`."""

    @property
    def catalogue(self) -> int:
        """The catalogue's number."""

    @property
    def version(self) -> int:
        """The deal's number within its catalogue."""

    @property
    def tariff(self) -> Tariff:
        """Prices in nano-tokens a unit."""

    def in_force(self, day: int) -> bool:
        """Whether the deal is in force on a UTC day."""


class Licence(Protocol):
    """What is needed of a licence here, see `royalty.platforms.Licence`."""

    @property
    def maximum(self) -> Tariff:
        """The highest price of each kind that the platform accepts."""

    @property
    def despite_rival(self) -> bool:
        """Whether it pays although another registrant registered a file earlier elsewhere."""


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """Units of one work, day and kind under a deal, at a price in nano-tokens; `held` says why not."""

    day: int
    work: WorkRef
    kind: Kind
    version: int
    units: int
    price_nano: int
    held: Held | None = None

    @property
    def amount_nano(self) -> int:
        """What the units cost, in nano-tokens."""
        return self.units * self.price_nano

    def of(self, units: int) -> Item:
        """Return the same with other units."""
        return replace(self, units=units)

    @property
    def key(self) -> tuple[int, int, Kind, int]:
        """(catalogue, version, kind, index): what is reported, as a batch names it."""
        return self.work.catalogue, self.version, self.kind, self.work.index


@dataclass(frozen=True, slots=True)
class Terms:
    """The deals that a platform reports to, under what it has accepted; `rivals` are works."""

    deals: Mapping[int, tuple[Deal, ...]]
    licences: Mapping[int, Licence]
    rivals: Collection[WorkRef] = frozenset()

    def deal_on(self, catalogue: int, day: int) -> Deal | None:
        """Return the deal of an accepted catalogue on a UTC day, None where there is none."""
        return next((deal for deal in self.deals.get(catalogue, ()) if deal.in_force(day)), None)

    def item(self, day: int, work: WorkRef, kind: Kind, units: int) -> Item | None:
        """Return units with their deal, price and whether they are held; None without a deal."""
        deal = self.deal_on(work.catalogue, day)
        if deal is None:
            return None
        price = deal.tariff.price(kind)
        return Item(day, work, kind, deal.version, units, price, self._held(work, kind, price))

    def _held(self, work: WorkRef, kind: Kind, price: int) -> Held | None:
        licence = self.licences[work.catalogue]
        if work in self.rivals and not licence.despite_rival:
            return Held.RIVAL_CATALOGUE
        if price > licence.maximum.price(kind):
            return Held.DEARER_THAN_ACCEPTED
        return None


@dataclass(frozen=True, slots=True)
class Difference:
    """What a count of a day says beyond what was reported for it."""

    due: tuple[Item, ...]
    held: tuple[Item, ...]
    negative: tuple[Item, ...]


def difference(
    day: int, counted: Iterable[Item], reported: Mapping[tuple[int, int, Kind, int], int]
) -> Difference:
    """Return what is to be reported of a day, what of it is held, and what was reported too much.

    `reported` holds units by (catalogue, version, kind, index). Negative units are negative numbers;
    they are only ever shown. Of several items of one key, what was reported is taken off the first first.
    """
    left = dict(reported)
    due: list[Item] = []
    held: list[Item] = []
    priced: dict[tuple[int, int, Kind, int], Item] = {}
    for item in counted:
        priced[item.key] = item
        taken = min(item.units, left.get(item.key, 0))
        if taken:
            left[item.key] -= taken
        if item.units > taken:
            (held if item.held else due).append(item.of(item.units - taken))
    negative = [
        priced.get(key, Item(day, WorkRef(key[0], key[3]), key[2], key[1], 0, 0)).of(-units)
        for key, units in left.items()
        if units
    ]
    return Difference(tuple(sorted(due)), tuple(sorted(held)), tuple(sorted(negative)))


def amount_nano(items: Iterable[Item]) -> int:
    """Return what items cost together, in nano-tokens."""
    return sum(item.amount_nano for item in items)


def held_rows(items: Iterable[Item]) -> list[dict[str, object]]:
    """Return one JSON row a reason and work of what is held, by work; amounts in nano-tokens."""
    by_work: dict[tuple[WorkRef, Held], list[Item]] = {}
    for item in items:
        if item.held:
            by_work.setdefault((item.work, item.held), []).append(item)
    return [
        {
            "reason": reason.value,
            "work": str(work),
            "units": units_of(found),
            "amount_nano": amount_nano(found),
        }
        for (work, reason), found in sorted(by_work.items())
    ]
