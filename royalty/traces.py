"""Money of a work, a batch or a holder followed from usage to transfers, every amount recomputed: `audit trace`.

What was earned is units times price; what was divided, the deal's sum at that moment; what a holder has, its
parts less its transfers. The ledger's own state must say the same of every deal and holder concerned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from royalty.audit import MONEY_EVENTS, Difference, replay
from royalty.catalogues import Deal
from royalty.days import format_day
from royalty.errors import ChainError, InputError
from royalty.moneypaths import Credit, MoneyPaths
from royalty.shares import divide
from royalty.usage import WorkRef

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.index.reader import Snapshot
    from royalty.index.tables import ChainEvent

ATTEMPTS = 3
DealKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DealTrace:
    """What a deal earned and what became of it: usage + payments = allocated + accrued. Nano-tokens."""

    catalogue: int
    version: int
    usage_nano: int
    payments_nano: int
    allocated_nano: int
    accrued_nano: int
    allocations: tuple[dict[str, Any], ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "catalogue": self.catalogue,
            "version": self.version,
            "usage_nano": self.usage_nano,
            "payments_nano": self.payments_nano,
            "allocated_nano": self.allocated_nano,
            "accrued_nano": self.accrued_nano,
            "allocations": list(self.allocations),
        }


@dataclass(frozen=True, slots=True)
class HolderTrace:
    """What a holder was credited, by deal, and sent: credited = withdrawn + balance. Nano-tokens."""

    holder: str
    credited: tuple[tuple[DealKey, int], ...]
    withdrawn_nano: int
    balance_nano: int
    transfers: tuple[dict[str, Any], ...]

    @property
    def credited_nano(self) -> int:
        """The sum over all deals."""
        return sum(nano for _, nano in self.credited)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "holder": self.holder,
            "credited_nano": self.credited_nano,
            "withdrawn_nano": self.withdrawn_nano,
            "balance_nano": self.balance_nano,
            "deals": [
                {"catalogue": deal[0], "version": deal[1], "credited_nano": nano}
                for deal, nano in self.credited
            ],
            "transfers": list(self.transfers),
        }


@dataclass(frozen=True, slots=True)
class Trace:
    """Usage, the deals that it accrued in, and their holders; `differences` are findings."""

    what: str
    of: str
    block: int
    credits: tuple[Credit, ...]
    deals: tuple[DealTrace, ...]
    holders: tuple[HolderTrace, ...]
    differences: tuple[Difference, ...]

    @property
    def amount_nano(self) -> int:
        """What the usage is worth."""
        return sum(credit.amount_nano for credit in self.credits)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            self.what: self.of,
            "block": self.block,
            "amount_nano": self.amount_nano,
            "usage": [
                {
                    "platform": credit.platform,
                    "day": format_day(credit.cell.day),
                    "work": str(credit.cell.work),
                    "kind": credit.cell.kind.word,
                    **credit.document(),
                }
                for credit in self.credits
            ],
            "deals": [deal.document() for deal in self.deals],
            "holders": [holder.document() for holder in self.holders],
            "differences": [difference.document() for difference in self.differences],
        }


def trace(session: Royalty, what: str, *, platform: str | None = None) -> Trace:
    """Return the money of a work (`12/3`), of a batch (its number) or of a holder, at the newest block.

    A batch is of `platform`, or of the only one that has it. A work's and a batch's deals are traced whole,
    since an allocation divides all of a deal; a holder's balance is over all its deals. Raises InputError
    where there is no such usage or holder, ChainError where the node does not answer.

    >>> royalty.audit.trace("12/3").amount_nano  # doctest: +SKIP
    """
    from royalty import index

    named = None if platform is None else session.address(platform)
    for _ in range(ATTEMPTS):
        snapshot = index.snapshot(session)
        found = _trace(session, snapshot, what, named)
        if session.node.block(snapshot.head.number).hash == snapshot.head.hash:
            return found
    raise ChainError("the chain changes faster than it can be audited; try again later")


def _trace(session: Royalty, snapshot: Snapshot, what: str, platform: str | None) -> Trace:
    paths = MoneyPaths(snapshot.events, session.token.unit)
    work = WorkRef.match(what)
    if work is not None:
        kind, of = "work", str(work)
        credits_ = [one for one in paths.credits if one.cell.work == work]
        deals = {key for key in paths.deals if key[0] == work.catalogue}
        holders = {share.holder for key in deals for share in paths.deals[key].split}
        if not deals:
            raise InputError(f"there is no catalogue {work.catalogue}")
    elif what.isascii() and what.isdigit():
        kind, of = "batch", what
        credits_ = _of_batch(paths, int(what[:20]), platform)
        deals = {one.deal for one in credits_}
        holders = {share.holder for key in deals for share in paths.deals[key].split}
    else:
        kind, of = "holder", session.address(what)
        deals = {key for key, deal in paths.deals.items() if deal.ppm_of(of)}
        credits_ = [one for one in paths.credits if one.deal in deals]
        holders = {of}
        if not deals:
            raise InputError(f"{of} has a share in no deal")
    if platform is not None:
        credits_ = [one for one in credits_ if one.platform == platform]
    money = [event for name in MONEY_EVENTS for event in snapshot.events(name)]
    figures, wrong = replay(money, list(paths.deals.values()), session.token.unit)
    chosen = [paths.deals[key] for key in sorted(deals)]
    state = session.ledger.deals([deal.key for deal in chosen], snapshot.head.number)
    balances = session.ledger.balances_nano(sorted(holders), snapshot.head.number)
    differing = [
        Difference(
            "accrued",
            f"catalogue {one.catalogue} version {one.version}",
            one.accrued_nano,
            figures.accrued.get((one.catalogue, one.version), 0),
        )
        for one in state
    ] + [
        Difference("balance", holder, nano, figures.balances.get(holder, 0))
        for holder, nano in zip(sorted(holders), balances, strict=True)
    ]
    parts = _parts(snapshot.events("Allocated"), paths)
    return Trace(
        kind,
        of,
        snapshot.head.number,
        tuple(credits_),
        tuple(_deal(deal, snapshot, paths, figures.accrued.get(deal.key, 0)) for deal in chosen),
        tuple(
            _holder(holder, parts[holder], snapshot, session, figures.balances.get(holder, 0))
            for holder in sorted(holders)
        ),
        (*wrong, *(one for one in differing if one.state_nano != one.events_nano)),
    )


def _of_batch(paths: MoneyPaths, number: int, platform: str | None) -> list[Credit]:
    found = [
        one for one in paths.credits if one.batch == number and platform in (None, one.platform)
    ]
    platforms = sorted({one.platform for one in found})
    if not found:
        raise InputError(f"no batch {number} has brought money into a deal")
    if len(platforms) > 1:
        shown = ", ".join(platforms[:5])
        raise InputError(
            f"several platforms have a batch {number}: {shown}; name one with --platform"
        )
    return found


def _deal(deal: Deal, snapshot: Snapshot, paths: MoneyPaths, accrued: int) -> DealTrace:
    def of(name: str) -> list[ChainEvent]:
        keys = ("catalogue", "version")
        return [e for e in snapshot.events(name) if tuple(e.args[k] for k in keys) == deal.key]

    divided = [
        {
            "accrued_nano": event.args["accruedBefore"],
            "divided_nano": sum(divide(event.args["accruedBefore"], deal.split)[0]),
            "remainder_nano": event.args["remainder"],
            "block": event.block,
            "transaction": event.transaction,
        }
        for event in of("Allocated")
    ]
    return DealTrace(
        catalogue=deal.catalogue,
        version=deal.version,
        usage_nano=sum(one.amount_nano for one in paths.credits if one.deal == deal.key),
        payments_nano=sum(event.args["nano"] for event in of("Paid")),
        allocated_nano=sum(one["divided_nano"] for one in divided),
        accrued_nano=accrued,
        allocations=tuple(divided),
    )


def _parts(events: Iterable[ChainEvent], paths: MoneyPaths) -> dict[str, dict[DealKey, int]]:
    """Return what each holder was credited, by deal."""
    found: dict[str, dict[DealKey, int]] = defaultdict(lambda: defaultdict(int))
    for event in events:
        deal = paths.deals[event.args["catalogue"], event.args["version"]]
        parts, _ = divide(event.args["accruedBefore"], deal.split)
        for share, part in zip(deal.split, parts, strict=True):
            found[share.holder][deal.key] += part
    return found


def _holder(
    holder: str, parts: dict[DealKey, int], snapshot: Snapshot, session: Royalty, balance: int
) -> HolderTrace:
    unit = session.token.unit
    sent = [event for event in snapshot.events("Withdrawn") if event.args["holder"] == holder]
    transfers = [
        {
            "to": event.args["to"],
            "amount_nano": unit.to_nano(event.args["amount"]),
            "block": event.block,
            "transaction": event.transaction,
        }
        for event in sent
    ]
    withdrawn = sum(one["amount_nano"] for one in transfers)
    return HolderTrace(holder, tuple(sorted(parts.items())), withdrawn, balance, tuple(transfers))


def sentence(found: Trace) -> str:
    """Return what it means, in one sentence for a person."""
    if found.differences:
        return "The ledger and its events differ on this money."
    return "Every amount follows from the one before it, to the nano-token."
