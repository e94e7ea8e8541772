"""Settling tallies: which leaves, in which transactions, at what cost; sent so that a kill loses nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from royalty import catalogues
from royalty.errors import ChainError, InputError, NodeRefused
from royalty.journal import crash_at
from royalty.merkle import Claim, LeafFault, pack_claims
from royalty.money import format_nano, parse_tokens
from royalty.posted import (
    Data,
    PostedTally,
    deal_of,
    fates_of,
    find,
    holding,
    leaf_fault,
    load,
    reason_word,
)
from royalty.sending import finish, send_once
from royalty.settling import Span, joined, leaf_gas, spans
from royalty.usage import WorkRef

if TYPE_CHECKING:
    from royalty.chain.ledger import Call
    from royalty.chain.sender import Receipt
    from royalty.client import Royalty

WEI_PER_COIN = 10**18
GAS_MARGIN_PERCENT = 10
"""How much a transaction's gas limit is above what the node estimates."""

# --- choosing what to settle ---


class Choice(TypedDict, total=False):
    """Which leaves of a tally, and where its data is: what `plan` takes."""

    leaves: Iterable[int] | None
    work: str | WorkRef | None
    mine: bool
    all: bool
    worth_gas: bool
    coin_price: str | int | None
    platform: str | None
    data: str | Path | None
    fetch: bool


@dataclass(frozen=True, slots=True)
class SettlePlan:
    """What settling would do: open leaves that were chosen, in transactions; which of them will be void."""

    tally: PostedTally
    data: Data
    chosen: tuple[int, ...]
    already: tuple[int, ...]
    closed: frozenset[int]
    faults: Mapping[int, LeafFault]
    spans: tuple[Span, ...]
    unworthy: int = 0

    @property
    def gas(self) -> int:
        """The most gas that all transactions can use."""
        return sum(span.gas for span in self.spans)

    @property
    def pays_nano(self) -> int:
        """What would reach deals."""
        return sum(self.data.claims[i].amount for i in self.chosen if not self.faults.get(i))

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "platform": self.tally.platform,
            "batch": self.tally.batch,
            "chosen_leaves": len(self.chosen),
            "pays_nano": self.pays_nano,
            "already_settled": len(self.already),
            "not_worth_gas": self.unworthy,
            "voided": [
                void_document(index, self.data.claims[index], fault)
                for index, fault in sorted(self.faults.items())
            ],
            "gas_at_most": self.gas,
        }


def void_document(index: int, claim: Claim, fault: LeafFault) -> dict[str, Any]:
    """Return the JSON document of a leaf that is void, or would be."""
    return {
        "leaf": index,
        "catalogue": int.from_bytes(claim.leaf[:4], "big"),
        "version": int.from_bytes(claim.leaf[4:6], "big"),
        "amount_nano": claim.amount,
        "reason": reason_word(fault),
    }


def plan(
    session: Royalty,
    batch: int,
    *,
    leaves: Iterable[int] | None = None,
    work: str | WorkRef | None = None,
    mine: bool = False,
    all: bool = False,
    worth_gas: bool = False,
    coin_price: str | int | None = None,
    platform: str | None = None,
    data: str | Path | None = None,
    fetch: bool = False,
) -> SettlePlan:
    """Return what settling would do now: exactly one of `leaves`, `work`, `mine`, `all`, `worth_gas` chooses.

    `coin_price` is what one coin of the chain costs in tokens; default ROYALTY_COIN_PRICE, then
    `coin_price` in royalty.toml. Raises InputError for other choices, and for data that is not the tally's.
    """
    ways = [leaves is not None, work is not None, mine, all, worth_gas]
    if sum(ways) != 1:
        raise InputError(
            "choose leaves in exactly one way: --leaf, --work, --mine, --all or --worth-gas"
        )
    price = _coin_price(session, coin_price, needed=worth_gas)
    tally = find(session, batch, platform=platform)
    found = load(session, tally, data=data, fetch=fetch)
    closed = frozenset(fates_of(session, tally))
    wanted = _wanted(session, tally, found, leaves, work, mine)
    chosen = [index for index in wanted if index not in closed]
    wrong = _faults(session, tally, found, chosen)
    unworthy = 0
    if worth_gas:
        worthy = _worth_gas(session, found, [i for i in chosen if i not in wrong], closed, price)
        unworthy, chosen, wrong = len(chosen) - len(worthy), worthy, {}
    return SettlePlan(
        tally=tally,
        data=found,
        chosen=tuple(chosen),
        already=() if all or worth_gas else tuple(i for i in wanted if i in closed),
        closed=closed,
        faults=wrong,
        spans=tuple(_spans(found, chosen, closed, _gas_limit(session))),
        unworthy=unworthy,
    )


def _wanted(
    session: Royalty,
    tally: PostedTally,
    data: Data,
    leaves: Iterable[int] | None,
    work: str | WorkRef | None,
    mine: bool,
) -> list[int]:
    """Return the places of the leaves that were asked for, in order; all where no other choice is made."""
    if leaves is not None:
        wanted = sorted(set(leaves))
        outside = [index for index in wanted if not 0 <= index < tally.leaves]
        if outside or not wanted:
            raise InputError(
                f"tally {tally.batch} has leaves 0 to {tally.leaves - 1:,}"
                + (f", no leaf {outside[0]}" if outside else "; name one")
            )
        return wanted
    if work is not None:
        wanted = holding(data, WorkRef.parse(work) if isinstance(work, str) else work)
        if not wanted:
            raise InputError(f"tally {tally.batch} has no usage of work {work}")
        return wanted
    every = range(tally.leaves)
    if not mine:
        return list(every)
    deals = _deals_of_account(session, {deal_of(claim) for claim in data.claims})
    return [index for index in every if deal_of(data.claims[index]) in deals]


def _deals_of_account(session: Royalty, keys: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return which deals the account has a share in, or is the producer of."""
    me = session.account.address
    found = [deal for deal in catalogues.deals(session) if deal.key in keys]
    numbers = sorted({deal.catalogue for deal in found})
    owned = {
        state.catalogue for state in session.ledger.catalogues_of(numbers) if state.owner == me
    }
    return {deal.key for deal in found if deal.ppm_of(me) or deal.catalogue in owned}


def _faults(
    session: Royalty, tally: PostedTally, data: Data, chosen: Sequence[int]
) -> dict[int, LeafFault]:
    """Return which of the leaves the ledger would void, and why."""
    deals = {deal.key: deal for deal in catalogues.deals(session)} if chosen else {}
    found = {}
    for index in chosen:
        claim = data.claims[index]
        fault = leaf_fault(claim, deals.get(deal_of(claim)), tally.day)
        if fault:
            found[index] = fault
    return found


def _spans(data: Data, chosen: Sequence[int], closed: Set[int], gas_limit: int) -> Iterator[Span]:
    for first, count in joined(chosen, data.claims, closed=closed):
        yield from spans(
            data.claims,
            data.tree.leaves,
            first=first,
            count=count,
            closed=closed,
            gas_limit=gas_limit,
        )


# --- what gas costs ---


def _coin_price(session: Royalty, given: str | int | None, *, needed: bool) -> int | None:
    """Return what one coin of the chain costs in nano-tokens, None where nobody says and nobody needs it."""
    text = session.settings.coin_price if given is None else given
    if text is None:
        if needed:
            raise InputError(
                "what is worth its gas depends on what a coin of the chain costs: pass --coin-price"
                " in tokens, or set ROYALTY_COIN_PRICE, or coin_price in royalty.toml"
            )
        return None
    return parse_tokens(str(text), what="--coin-price")


def gas_nano(gas: int, fee_wei: int, coin_nano: int) -> int:
    """Return what gas costs in nano-tokens, rounded up, at a fee in wei and a coin's price in nano-tokens."""
    return -(-gas * fee_wei * coin_nano // WEI_PER_COIN)


def _fee(session: Royalty) -> int:
    """Return what a gas costs now, in wei."""
    from royalty.chain.sender import fees

    fields = fees(session.node)
    base = session.node.block("latest").base_fee
    if base is None:
        return fields["gasPrice"]
    return base + fields["maxPriorityFeePerGas"]


def _worth_gas(
    session: Royalty,
    data: Data,
    chosen: Sequence[int],
    closed: Set[int],
    coin_nano: int | None,
) -> list[int]:
    """Return the leaves that bring more than they cost, in transactions that bring more than they cost.

    A leaf must be worth what it adds to a transaction; a transaction's leaves together what it costs.
    """
    fee, claims, price = _fee(session), data.claims, coin_nano or 0
    apart = [i for i in chosen if claims[i].amount > gas_nano(leaf_gas(claims[i]), fee, price)]
    worthy: list[int] = []
    for span in _spans(data, apart, closed, _gas_limit(session)):
        held = [index for index in span.indexes if index not in closed]
        if sum(claims[index].amount for index in held) > gas_nano(span.gas, fee, price):
            worthy += held
    return worthy


def _gas_limit(session: Royalty) -> int:
    """Return the most gas that one transaction can use on this chain now."""
    from royalty.chain.sender import gas_limit

    return gas_limit(session.node)


# --- settling ---


@dataclass(slots=True)
class Settled:
    """What settling did: leaves paid and void, those that somebody else settled meanwhile, its transactions."""

    plan: SettlePlan
    paid: list[int] = field(default_factory=list)
    paid_nano: int = 0
    void: list[dict[str, Any]] = field(default_factory=list)
    void_nano: int = 0
    meanwhile: list[int] = field(default_factory=list)
    too_large: list[int] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)
    gas: int = 0
    cost_wei: int = 0

    @property
    def findings(self) -> bool:
        """Whether a leaf was void, or fits no transaction."""
        return bool(self.void or self.too_large)

    def add(self, receipt: Receipt) -> set[int]:
        """Add what a transaction did; return the leaves that it settled."""
        settled = set()
        for event in receipt.events:
            if event.name not in ("LeafSettled", "LeafVoid"):
                continue
            index, amount = event.args["index"], event.args["amount"]
            settled.add(index)
            if event.name == "LeafSettled":
                self.paid.append(index)
                self.paid_nano += amount
            else:
                claim = Claim(bytes(event.args["leaf"]), amount)
                self.void.append(void_document(index, claim, LeafFault(event.args["reason"])))
                self.void_nano += amount
        self.transactions.append(receipt.transaction)
        self.gas += receipt.gas_used
        self.cost_wei += receipt.cost_wei
        return settled

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts in nano-tokens are ints."""
        return {
            "platform": self.plan.tally.platform,
            "batch": self.plan.tally.batch,
            "chosen_leaves": len(self.plan.chosen),
            "paid_leaves": len(self.paid),
            "paid_nano": self.paid_nano,
            "voided": self.void,
            "void_nano": self.void_nano,
            "already_settled": len(self.plan.already),
            "settled_meanwhile": sorted(self.meanwhile),
            "not_worth_gas": self.plan.unworthy,
            "too_large": self.too_large,
            "transactions": self.transactions,
            "gas": self.gas,
            "cost_wei": str(self.cost_wei),
        }


def settle(session: Royalty, batch: int, **choice: Unpack[Choice]) -> Settled:
    """Settle leaves of a tally, chosen as in `plan`, and return what became of them; see `carry_out`."""
    return carry_out(session, prepare(session, batch, **choice))


def prepare(session: Royalty, batch: int, **choice: Unpack[Choice]) -> SettlePlan:
    """Return what settling would do, after what a killed run of the account was sending has landed."""
    planned = plan(session, batch, **choice)
    if not session.dry_run and finish(session):
        planned = plan(session, batch, **choice)
    return planned


def carry_out(
    session: Royalty,
    planned: SettlePlan,
    done: Settled | None = None,
    progress: Callable[[int], None] | None = None,
) -> Settled:
    """Send what was planned, a transaction after the other, and return what it did.

    Asks first on a public chain. A kill loses nothing: to do it again settles what is left. `done` is
    filled as transactions land, `progress` is told how many leaves are dealt with. Raises
    ChainErrors, whose `pending` is what was not sent.
    """
    run = _Settling(session, planned, done or Settled(planned), progress or (lambda _: None))
    run.confirm()
    while run.queue:
        try:
            run.step()
        except ChainError as error:
            error.details["pending"] = run.pending(error)
            error.details["transactions"] = list(run.done.transactions)
            raise
    return run.done


class _Settling:
    """Transactions that are still to be sent, and which leaves are settled by now."""

    def __init__(
        self,
        session: Royalty,
        planned: SettlePlan,
        done: Settled,
        progress: Callable[[int], None],
    ) -> None:
        self.session, self.plan, self.done, self.progress = session, planned, done, progress
        self.queue = deque(planned.spans)
        self.chosen = frozenset(planned.chosen)
        self.closed = set(planned.closed)
        self.limit = _gas_limit(session) if planned.spans else 0

    def confirm(self) -> None:
        """Ask before sending: raises DryRun in a dry run, Declined where the person says no."""
        session = self.session
        if session.dry_run or not session.node.is_local:
            self.queue = deque(part for span in self.queue for part, _ in self.fitted(span))
            session.confirm([self.call(span) for span in self.queue])

    def step(self) -> None:
        """Send the next transaction, of what nobody else has settled since."""
        self.look()
        if not self.queue:
            return
        self.queue.extendleft(span for span, _ in reversed(self.fitted(self.queue.popleft())))
        if not self.queue:
            return
        receipt = send_once(self.session, self.call(self.queue[0]))
        span = self.queue.popleft()
        settled = self.done.add(receipt)
        self.note(set(span.indexes) - settled)
        self.closed.update(span.indexes)
        self.progress(span.count)
        crash_at("leaves-settled")

    def look(self) -> None:
        """Take leaves that somebody else has settled off what is to be sent."""
        tally = self.plan.tally
        count = self.session.ledger.tally(tally.platform, tally.batch).settled_leaves
        if count == len(self.closed):
            return
        closed = set(fates_of(self.session, tally))
        self.note(closed)
        waiting = {index for span in self.queue for index in span.indexes}
        rest = [i for i in self.plan.chosen if i in waiting and i not in closed]
        self.closed |= closed
        self.queue = deque(_spans(self.plan.data, rest, self.closed, self.limit))

    def note(self, settled: Set[int]) -> None:
        """Note which chosen leaves turn out to be settled by others."""
        self.done.meanwhile += (settled & self.chosen) - self.closed

    def fitted(self, span: Span) -> list[tuple[Span, int]]:
        """Return a run with its gas; halved as often as the node finds it too dear."""
        gas = self.gas(span)
        if gas is not None:
            return [(span, gas)]
        if span.count == 1:
            self.done.too_large.append(span.first)
            return []
        half = span.count // 2
        first = replace(span, count=half)
        second = replace(span, first=span.first + half, count=span.count - half)
        return [*self.fitted(first), *self.fitted(second)]

    def gas(self, span: Span) -> int | None:
        """Return the gas that a run takes, None where that is more than a transaction may use."""
        from royalty.chain.sender import checked_gas

        try:
            gas = checked_gas(self.session.node, self.call(span), self.session.account.address)
        except NodeRefused as error:
            if "gas" not in str(error.details.get("answer", "")).lower():
                raise
            return None
        return gas if gas * (100 + GAS_MARGIN_PERCENT) // 100 <= self.limit else None

    def call(self, span: Span) -> Call:
        """Return the call that settles a run, with what it pays in its description."""
        tally, data = self.plan.tally, self.plan.data
        claims = data.claims[span.first : span.first + span.count]
        call = self.session.ledger.settle(
            tally.platform,
            tally.batch,
            span.first,
            pack_claims(claims),
            data.tree.prove(span.first, span.count),
        )
        opened = [i for i in span.indexes if i not in self.closed]
        nano = sum(data.claims[i].amount for i in opened if i not in self.plan.faults)
        last = span.first + span.count - 1
        which = f"leaf {last}" if span.count == 1 else f"leaves {span.first} to {last}"
        paid = f"{format_nano(nano)} {self.session.token.symbol}"
        return replace(
            call, description=f"settle {which} of tally {tally.batch}, which pays {paid}"
        )

    def pending(self, error: ChainError) -> list[dict[str, Any]]:
        """Return what was not sent, the first with its transaction where that may land yet."""
        waiting = [{"description": self.call(span).description} for span in self.queue]
        found = error.details.get("transaction")
        return (
            [{**waiting[0], "transaction": found}, *waiting[1:]] if found and waiting else waiting
        )
