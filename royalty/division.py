"""What is due, divided into batches that fit: a transaction of this chain, and the platform's money.

`royalty.batches` bounds a batch by its groups alone; here the node is asked what each takes, and what it
finds too dear is halved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from royalty import delivery
from royalty.batches import MAX_TRANSACTION_GAS, Draft, Tariffs, drafts, fitted
from royalty.errors import InputError, NodeRefused
from royalty.posting import TallyDraft
from royalty.settling import settle_gas
from royalty.usage import Line

if TYPE_CHECKING:
    from royalty.chain.ledger import Call
    from royalty.delivery import Link
    from royalty.terms import Item

HEADROOM_PERCENT = 5
"""What an estimate of gas must leave of a transaction's limit: other money moves in between."""
NO_EVIDENCE = b"\xff" * 32
"""In place of a digest that is not made yet, and as dear as any."""


def divide(
    link: Link,
    tariffs: Tariffs,
    due: Mapping[int, Sequence[Item]],
    waiting: Sequence[int] = (),
) -> list[tuple[Draft, int]]:
    """Return what is due as batches with their gas, each of which fits a transaction of this chain.

    Raises FundsTooLow or LimitTooLow where money does not suffice for them and what is `waiting`.
    """
    whole = undivided(link, tariffs, due)
    if not whole:
        return []
    limit = _gas_limit(link)
    delivery.require_money(link, [*waiting, *(draft.total_nano for draft in whole)])
    parts = [
        part
        for draft in whole
        for part in fitted(draft, tariffs, lambda one: _gas(link, one, limit))
    ]
    totals = [*waiting, *(draft.total_nano for draft, _ in parts)]
    delivery.require_money(link, totals, sum(gas for _, gas in parts))
    return parts


def undivided(link: Link, tariffs: Tariffs, due: Mapping[int, Sequence[Item]]) -> list[Draft]:
    """Return what is due as batches whose bound of gas fits this chain, whatever money there is."""
    limit = _gas_limit(link)
    return [
        draft
        for day, items in due.items()
        for draft in drafts(day, [_line(item) for item in items], tariffs, gas_limit=limit)
    ]


def fit_tally(
    link: Link, draft: TallyDraft, uri: str, *, settle: bool, waiting: Sequence[int] = ()
) -> int:
    """Return the gas that posting a tally takes.

    Raises FundsTooLow or LimitTooLow where money does not suffice for it, for what is `waiting`, and for
    the gas of settling it where whoever posts settles too.
    """
    totals = [*waiting, draft.total_nano]
    delivery.require_money(link, totals)
    gas = _gas(link, draft, _gas_limit(link), uri)
    if gas is None:
        raise InputError("posting a tally does not fit a block of this chain")
    after = settle_gas(draft.claims, len(draft.claims)) if settle else 0
    delivery.require_money(link, totals, gas + after)
    return gas


def call_of(link: Link, draft: Draft | TallyDraft, number: int, uri: str = "") -> Call:
    """Return the ledger's call for a draft, to estimate and to show; its evidence is not made yet."""
    if isinstance(draft, TallyDraft):
        return link.ledger.post(
            link.platform,
            number,
            draft.day,
            draft.tree.root,
            len(draft.claims),
            draft.total_nano,
            NO_EVIDENCE,
            NO_EVIDENCE,
            uri,
        )
    return link.ledger.report(
        link.platform, number, draft.day, NO_EVIDENCE, draft.total_nano, draft.usage
    )


def _gas_limit(link: Link) -> int:
    """Return the most gas that a batch is planned for on this chain now."""
    from royalty.chain.sender import gas_limit

    return min(MAX_TRANSACTION_GAS, gas_limit(link.node))


def _gas(link: Link, draft: Draft | TallyDraft, limit: int, uri: str = "") -> int | None:
    """Return the most gas that a batch can use, None where that is more than a transaction may."""
    from royalty.chain.sender import estimate

    number = link.ledger.platform(link.platform).next_batch
    try:
        gas = estimate(link.node, call_of(link, draft, number, uri), link.account.address)
    except NodeRefused as error:
        if "gas" not in str(error.details.get("answer", "")).lower():
            raise
        return None
    most = gas * (100 + HEADROOM_PERCENT) // 100
    return most if most <= limit else None


def _line(item: Item) -> Line:
    return Line(item.work.catalogue, item.version, item.kind, item.work.index, item.units)
