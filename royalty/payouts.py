"""Payouts: what holders would be sent, and sending it in as few transactions as fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from royalty import catalogues
from royalty.catalogues import Deal
from royalty.errors import ChainError, NodeRefused, Reverted
from royalty.money import TokenUnit
from royalty.sending import send_confirmed
from royalty.shares import divide

if TYPE_CHECKING:
    from royalty.chain.ledger import Call
    from royalty.chain.sender import Receipt
    from royalty.client import Royalty

# Room that an estimate leaves below a transaction's and a block's limit: state may move in between.
GAS_SHARE_PERCENT = 88
# Public nodes pass on no transaction above 128 KiB.
MAX_CALLDATA = 120_000


@dataclass(frozen=True, slots=True)
class Payout:
    """One holder's money: what it would be sent, and what stays below the token's smallest unit."""

    holder: str
    nano: int
    amount: int

    @property
    def is_payable(self) -> bool:
        """Whether there is at least one smallest unit to send."""
        return self.amount > 0


@dataclass(frozen=True, slots=True)
class PayoutPlan:
    """What a payout run would do: deals to allocate, holders to pay, holders below the minimum."""

    deals: tuple[Deal, ...]
    payouts: tuple[Payout, ...]
    carried: tuple[Payout, ...]


@dataclass(frozen=True, slots=True)
class PayoutRun:
    """What a payout run did; amounts in nano-tokens."""

    deals: int
    holders: int
    paid_nano: int
    skipped: tuple[Mapping[str, Any], ...]
    carried: tuple[Payout, ...]
    carried_nano: int
    transactions: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints."""
        return {
            "deals": self.deals,
            "holders": self.holders,
            "paid_nano": self.paid_nano,
            "skipped": [dict(entry) for entry in self.skipped],
            "carried_holders": len(self.carried),
            "carried_nano": self.carried_nano,
            "transactions": list(self.transactions),
        }


# --- what is payable: pure ---


def make_plan(
    found: Sequence[Deal],
    accrued: Mapping[tuple[int, int], int],
    balances: Mapping[str, int],
    unit: TokenUnit,
    *,
    minimum_nano: int = 0,
    only: Iterable[str] | None = None,
) -> PayoutPlan:
    """Return which deals to allocate and whom to pay, so that everybody worth it gets everything.

    A holder is paid where its balance and its parts of what all deals have accrued make at least
    `minimum_nano` and one smallest unit of the token. A deal is allocated where that gives a holder
    who is paid at least a nano-token. Rounding: a part is rounded down and the remainder stays
    accrued in the deal; a payment is rounded down to the smallest unit and the rest stays in the
    holder's balance.
    """
    totals = dict(balances)
    for deal in found:
        parts, _ = divide(accrued[deal.key], deal.split)
        for share, part in zip(deal.split, parts, strict=True):
            totals[share.holder] = totals.get(share.holder, 0) + part
    wanted = set(totals if only is None else only)
    every = [_payout(holder, totals[holder], unit) for holder in sorted(totals, key=str.lower)]
    asked = [payout for payout in every if payout.nano and payout.holder in wanted]
    paid = [p for p in asked if p.is_payable and unit.to_nano(p.amount) >= minimum_nano]
    names = {payout.holder for payout in paid}
    return PayoutPlan(
        tuple(deal for deal in found if _feeds(deal, accrued[deal.key], names)),
        tuple(paid),
        tuple(payout for payout in asked if payout.holder not in names),
    )


def _payout(holder: str, nano: int, unit: TokenUnit) -> Payout:
    return Payout(holder, nano, unit.to_smallest(nano))


def _feeds(deal: Deal, accrued_nano: int, holders: set[str]) -> bool:
    parts, _ = divide(accrued_nano, deal.split)
    return any(
        part and share.holder in holders for share, part in zip(deal.split, parts, strict=True)
    )


# --- what is payable: from the chain ---


def plan(
    session: Royalty,
    *,
    minimum_nano: int = 0,
    only: Iterable[str] | None = None,
    without: Iterable[str] = (),
) -> PayoutPlan:
    """Return what a payout run would do now, for everybody or `only` for some, `without` some."""
    block = session.node.head()
    found = catalogues.deals(session, block=block)
    wanted = set(catalogues.holders(found) if only is None else only)
    found = [deal for deal in found if any(share.holder in wanted for share in deal.split)]
    names = sorted(wanted.difference(without), key=str.lower)
    accrued = catalogues.accrued(session, found, block=block)
    balances = dict(zip(names, session.ledger.balances_nano(names, block), strict=True))
    unit = session.token.unit
    return make_plan(found, accrued, balances, unit, minimum_nano=minimum_nano, only=names)


# --- sending ---


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of a run: deals to allocate and holders to pay, in this order."""

    deals: tuple[Deal, ...]
    holders: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.deals) + len(self.holders)

    def first(self, count: int) -> Step:
        """Return its first deals and holders, `count` together, deals before holders."""
        return Step(self.deals[:count], self.holders[: max(0, count - len(self.deals))])

    def after(self, count: int) -> Step:
        """Return what `first(count)` leaves."""
        return Step(self.deals[count:], self.holders[max(0, count - len(self.deals)) :])

    def bounded(self) -> int:
        """Return how many of its deals and holders make calldata that nodes pass on."""
        sizes = [8 + 24 * len(deal.split) for deal in self.deals] + [32] * len(self.holders)
        total = accumulate(sizes)
        return max(1, sum(1 for size in total if size <= MAX_CALLDATA))

    def call(self, session: Royalty) -> Call:
        """Return the call that does it."""
        allocations = [(deal.catalogue, deal.version, deal.split) for deal in self.deals]
        if not self.holders:
            return session.ledger.allocate(allocations)
        if not self.deals:
            return session.ledger.withdraw_many(self.holders)
        return session.ledger.allocate_and_pay(allocations, self.holders)


def run(session: Royalty, *, minimum_nano: int = 0, only: Iterable[str] | None = None) -> PayoutRun:
    """Allocate and pay all that is worth it, in as few transactions as fit, and say what was done.

    Whose transfer the token refuses is in `skipped` and keeps its balance; whoever has less than
    `minimum_nano`, or than the token's smallest unit, is in `carried`. To run it again pays nobody
    twice. Raises ChainErrors; what landed before one stays done.
    """
    only, sender = None if only is None else list(only), session.account.address
    planned = plan(session, minimum_nano=minimum_nano, only=only)
    refused = refusals(session, [payout.holder for payout in planned.payouts])
    if refused:
        planned = plan(session, minimum_nano=minimum_nano, only=only, without=refused)
    rest = Step(planned.deals, tuple(payout.holder for payout in planned.payouts))
    session.confirm([step.call(session) for step in _outline(session, rest)])
    receipts = []
    while len(rest):
        step = next_step(session, rest, sender)
        receipts.append(send_confirmed(session, step.call(session)))
        rest = rest.after(len(step))
    return _result(session, planned, receipts, refused)


def refusals(session: Royalty, holders: Sequence[str]) -> dict[str, str]:
    """Return why the token refuses those holders whose balance could be withdrawn now, by holder.

    Found by simulation, so that nobody pays gas for a transfer that fails every time. A holder
    whose money is not allocated yet is not judged.
    """
    unit = session.token.unit
    balances = session.ledger.balances_nano(holders)
    ready = [
        holder for holder, nano in zip(holders, balances, strict=True) if unit.to_smallest(nano)
    ]
    return _refusals(session, ready)


def _refusals(session: Royalty, holders: Sequence[str]) -> dict[str, str]:
    """Ask for all in one batch; where one fails, for each half."""
    try:
        session.ledger.read_many([("withdraw", (holder,)) for holder in holders])
    except (Reverted, NodeRefused) as error:
        if error.details.get("status"):
            raise  # the node's own trouble, not the token's
        if len(holders) == 1:
            return {holders[0]: str(error)}
        half = len(holders) // 2
        return _refusals(session, holders[:half]) | _refusals(session, holders[half:])
    return {}


def _result(
    session: Royalty,
    planned: PayoutPlan,
    receipts: Sequence[Receipt],
    refused: Mapping[str, str],
) -> PayoutRun:
    unit = session.token.unit
    events = [event for receipt in receipts for event in receipt.events]
    paid = [event.args["amount"] for event in events if event.name == "Withdrawn"]
    failed = [event.args["holder"] for event in events if event.name == "PayoutSkipped"]
    unexplained = dict.fromkeys(failed, "the token refused the transfer")
    return PayoutRun(
        deals=sum(event.name == "Allocated" for event in events),
        holders=len(paid),
        paid_nano=sum(unit.to_nano(amount) for amount in paid),
        skipped=_skipped(session, {**refused, **unexplained, **refusals(session, failed)}),
        carried=planned.carried,
        carried_nano=sum(payout.nano for payout in planned.carried),
        transactions=tuple(receipt.transaction for receipt in receipts),
    )


def _skipped(session: Royalty, refused: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    names = sorted(refused, key=str.lower)
    payees, balances = session.ledger.payees(names), session.ledger.balances_nano(names)
    return tuple(
        {"holder": holder, "to": payee, "balance_nano": nano, "reason": refused[holder]}
        for holder, payee, nano in zip(names, payees, balances, strict=True)
    )


# --- as few transactions as fit ---


def _outline(session: Royalty, rest: Step) -> list[Step]:
    """Return the transactions that a run will take, the first measured, the others of its size."""
    if not len(rest):
        return []
    size = len(next_step(session, rest, session.account.address))
    steps = []
    while len(rest):
        steps.append(rest.first(size))
        rest = rest.after(size)
    return steps


def next_step(session: Royalty, rest: Step, sender: str) -> Step:
    """Return as much of the rest as fits into one transaction, measured by the node's estimate."""
    count = rest.bounded()
    fits, too_many, limit = 0, count + 1, _gas_limit(session)
    while too_many - fits > 1:
        gas = _gas(session, rest.first(count), sender)
        if gas is not None and gas <= limit:
            fits = count
            guess = count * limit // gas
        else:
            too_many = count
            guess = count * limit // gas if gas is not None else count // 2
        if fits and too_many - fits <= max(1, fits // 20):
            break
        count = min(max(guess, fits + 1), too_many - 1)
    if not fits:
        raise ChainError("a single payout needs more gas than a transaction may use")
    return rest.first(fits)


def _gas(session: Royalty, step: Step, sender: str) -> int | None:
    """Return the gas that a step takes, None where the node's own limit does not suffice for it."""
    from royalty.chain.sender import estimate

    try:
        return estimate(session.node, step.call(session), sender)
    except Reverted as error:
        if error.name in ("GasTooLow", "") and len(step) > 1:
            return None
        raise
    except NodeRefused:
        if len(step) > 1:
            return None
        raise


def _gas_limit(session: Royalty) -> int:
    from royalty.chain.sender import gas_limit

    return gas_limit(session.node) * GAS_SHARE_PERCENT // 100


class Payouts:
    """Payouts of one ledger, for a session: `royalty.payouts`."""

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def plan(self, *, minimum_nano: int = 0) -> PayoutPlan:
        """Return what a payout run would do now."""
        return plan(self._session, minimum_nano=minimum_nano)

    def run(self, *, minimum_nano: int = 0) -> PayoutRun:
        """Allocate and pay all that is worth it in as few transactions as fit; see `run`.

        >>> royalty.payouts.run(minimum_nano=10**9).paid_nano  # doctest: +SKIP
        """
        return run(self._session, minimum_nano=minimum_nano)
