"""The way of money through the ledger, out of events alone: usage, deal, allocation, balance, transfer.

Usage accrues in a deal; the next allocation of the deal divides all that it has accrued; the next
withdrawal of a holder takes all that it has. So what follows a credit is the first of each after it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from royalty.catalogues import Deal, deals_of
from royalty.findings import Cell
from royalty.money import TokenUnit
from royalty.shares import divide
from royalty.tallybook import lines_of_leaf
from royalty.usage import Kind, WorkRef, lines_of, unpack_usage

if TYPE_CHECKING:
    from royalty.index.tables import ChainEvent

DEAL_EVENTS = ("CatalogueOpened", "DealAmended")
PPM_DIGITS = 15  # a nano-token's millionth, in tokens

Order = tuple[int, int]
DealKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a holder was sent; it takes the whole balance but for less than one smallest unit."""

    to: str
    amount_nano: int
    block: int
    transaction: str

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "to": self.to,
            "amount_nano": self.amount_nano,
            "block": self.block,
            "transaction": self.transaction,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """A holder's part of an allocation, and the transfer that took it (None: it is in the balance)."""

    holder: str
    ppm: int
    part_nano: int
    transfer: Transfer | None

    def of(self, amount_nano: int) -> str:
        """Return the holder's share of an amount as decimal tokens, exact to a millionth of a nano-token."""
        return exact(amount_nano * self.ppm)

    def document(self, amount_nano: int) -> dict[str, Any]:
        """Return the JSON document; `share` is that of an amount which the allocation divided."""
        return {
            "holder": self.holder,
            "share_ppm": self.ppm,
            "share": self.of(amount_nano),
            "part_nano": self.part_nano,
            "transfer": None if self.transfer is None else self.transfer.document(),
        }


@dataclass(frozen=True, slots=True)
class Allocation:
    """One division of what a deal had accrued: `accrued_nano` = the parts + `remainder_nano`."""

    accrued_nano: int
    remainder_nano: int
    parts: tuple[Part, ...]
    block: int
    transaction: str

    def document(self, amount_nano: int) -> dict[str, Any]:
        """Return the JSON document, with the shares of an amount in it."""
        return {
            "accrued_nano": self.accrued_nano,
            "remainder_nano": self.remainder_nano,
            "block": self.block,
            "transaction": self.transaction,
            "parts": [part.document(amount_nano) for part in self.parts],
        }


@dataclass(frozen=True, slots=True)
class Credit:
    """Units of a cell that a batch, or a settled leaf of a tally, brought into a deal."""

    platform: str
    batch: int
    leaf: int | None
    cell: Cell
    version: int
    units: int
    price_nano: int
    block: int
    transaction: str
    order: Order

    @property
    def deal(self) -> DealKey:
        """(catalogue, version)."""
        return self.cell.work.catalogue, self.version

    @property
    def amount_nano(self) -> int:
        """Units times price."""
        return self.units * self.price_nano

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "batch": self.batch,
            "as": "direct" if self.leaf is None else "tally",
            "leaf": self.leaf,
            "version": self.version,
            "units": self.units,
            "price_nano": self.price_nano,
            "amount_nano": self.amount_nano,
            "block": self.block,
            "transaction": self.transaction,
        }


class MoneyPaths:
    """All credits, allocations and transfers of a snapshot; `events` gives those of a name in order."""

    def __init__(self, events: Callable[[str], Sequence[ChainEvent]], unit: TokenUnit) -> None:
        found = deals_of(event for name in DEAL_EVENTS for event in events(name))
        self.deals: Mapping[DealKey, Deal] = {deal.key: deal for deal in found}
        self.unit = unit
        self.credits = sorted(
            (*self._reported(events("UsageReported")), *self._settled(events("LeafSettled"))),
            key=lambda credit: credit.order,
        )
        self._by_cell: dict[tuple[str, Cell], list[Credit]] = defaultdict(list)
        for credit in self.credits:
            self._by_cell[credit.platform, credit.cell].append(credit)
        self._allocated: dict[DealKey, list[ChainEvent]] = defaultdict(list)
        for event in events("Allocated"):
            self._allocated[event.args["catalogue"], event.args["version"]].append(event)
        self._withdrawn: dict[str, list[ChainEvent]] = defaultdict(list)
        for event in events("Withdrawn"):
            self._withdrawn[event.args["holder"]].append(event)

    def of(self, platform: str, cell: Cell) -> list[Credit]:
        """Return what a platform's batches brought of a cell, in the order of the chain."""
        return list(self._by_cell.get((platform, cell), ()))

    def allocation(self, credit: Credit) -> Allocation | None:
        """Return the allocation that divided a credit, None where it is still accrued."""
        return self.allocation_after(credit.deal, credit.order)

    def allocation_after(self, deal: DealKey, order: Order) -> Allocation | None:
        """Return a deal's first allocation after a place of the chain, its parts recomputed."""
        event = _after(self._allocated[deal], order)
        if event is None:
            return None
        accrued = event.args["accruedBefore"]
        nano, remainder = divide(accrued, self.deals[deal].split)
        parts = tuple(
            Part(share.holder, share.ppm, part, self.transfer_after(share.holder, event.order))
            for share, part in zip(self.deals[deal].split, nano, strict=True)
        )
        return Allocation(accrued, remainder, parts, event.block, event.transaction)

    def transfer_after(self, holder: str, order: Order) -> Transfer | None:
        """Return a holder's first withdrawal after a place of the chain."""
        event = _after(self._withdrawn[holder], order)
        if event is None:
            return None
        amount = self.unit.to_nano(event.args["amount"])
        return Transfer(event.args["to"], amount, event.block, event.transaction)

    def _reported(self, events: Sequence[ChainEvent]) -> Iterator[Credit]:
        for event in events:
            for line in lines_of(unpack_usage(event.args["usage"])):
                cell = Cell(WorkRef(line.catalogue, line.index), event.args["day"], line.kind)
                yield self._credit(event, None, cell, line.version, line.units)

    def _settled(self, events: Sequence[ChainEvent]) -> Iterator[Credit]:
        for event in events:
            for line in lines_of_leaf(event.args["leaf"]):
                cell = Cell(WorkRef(line.catalogue, line.index), line.day, line.kind)
                yield self._credit(event, event.args["index"], cell, line.version, line.units)

    def _credit(
        self, event: ChainEvent, leaf: int | None, cell: Cell, version: int, units: int
    ) -> Credit:
        return Credit(
            platform=event.args["platform"],
            batch=event.args["batch"],
            leaf=leaf,
            cell=cell,
            version=version,
            units=units,
            price_nano=self.price(cell.work.catalogue, version, cell.kind),
            block=event.block,
            transaction=event.transaction,
            order=event.order,
        )

    def price(self, catalogue: int, version: int, kind: Kind) -> int:
        """Return what a unit costs under a deal; 0 where there is no such deal."""
        deal = self.deals.get((catalogue, version))
        return 0 if deal is None else deal.tariff.price(kind)


def _after(events: Sequence[ChainEvent], order: Order) -> ChainEvent | None:
    at = bisect_right(events, order, key=lambda event: event.order)
    return events[at] if at < len(events) else None


def exact(millionths: int) -> str:
    """Return millionths of a nano-token as decimal tokens.

    >>> exact(2_100_000 * 10**6)
    '0.0021'
    """
    whole, rest = divmod(millionths, 10**PPM_DIGITS)
    digits = f"{rest:0{PPM_DIGITS}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
