"""Whether the ledger can pay everybody: rule 1 on the chain, and every figure again from events alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from royalty import tallybook
from royalty.catalogues import Deal, deals_of
from royalty.days import day_of_timestamp, format_day
from royalty.errors import ChainError
from royalty.merkle import LeafFault
from royalty.money import TokenUnit
from royalty.shares import divide
from royalty.tallybook import Tally, TallyKey
from royalty.usage import total_nano, unpack_usage

if TYPE_CHECKING:
    from royalty.chain.events import Event
    from royalty.chain.ledger import TallyState
    from royalty.client import Royalty
    from royalty.index.reader import Snapshot

ATTEMPTS = 3
PLATFORM_EVENTS = (
    "Deposited",
    "FundsWithdrawn",
    "UsageReported",
    "TallyPosted",
    "ReporterSet",
    "LimitSet",
)
MONEY_EVENTS = (
    "Deposited",
    "FundsWithdrawn",
    "UsageReported",
    *tallybook.EVENTS,
    "Paid",
    "Allocated",
    "Withdrawn",
)
DEAL_EVENTS = ("CatalogueOpened", "DealAmended")

DealKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure that the contract says otherwise than its events: `what` of `whom`, in nano-tokens.

    `what` is `funds`, `accrued`, `balance` or `tally` (state against events: of a tally what is
    unsettled), `tally_terms` (its root, total, day or leaves are others; the amounts are its totals),
    `report` (a batch's total), `leaf` (what was settled is not what it costs, or was settled before),
    `void` (a leaf that could be paid, or was closed before, went back to the platform), `overdrawn`
    (more left a tally than was debited) or `allocation` (what was divided); for the last five
    `state_nano` is what the events say, `events_nano` what they should.
    """

    what: str
    whom: str
    state_nano: int
    events_nano: int

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "what": self.what,
            "of": self.whom,
            "state_nano": self.state_nano,
            "events_nano": self.events_nano,
        }


@dataclass(slots=True)
class Figures:
    """Every figure of the ledger in nano-tokens: what platforms, deals, holders and tallies have.

    Of platforms it is their funds, of deals what they have accrued, of tallies what is unsettled.
    """

    funds: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    accrued: dict[DealKey, int] = field(default_factory=lambda: defaultdict(int))
    balances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unsettled: dict[TallyKey, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def owed(self) -> int:
        """What must be held for all of it."""
        parts = (self.funds, self.unsettled, self.accrued, self.balances)
        return sum(sum(part.values()) for part in parts)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Money of a tally that nobody has settled: in how many leaves, for how many days since it was posted.

    `day` is the last day of the tally's usage.
    """

    platform: str
    batch: int
    day: int
    age_days: int
    leaves: int
    unsettled_nano: int

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "platform": self.platform,
            "batch": self.batch,
            "day": format_day(self.day),
            "age_days": self.age_days,
            "leaves": self.leaves,
            "unsettled_nano": self.unsettled_nano,
        }


@dataclass(frozen=True, slots=True)
class Solvency:
    """Rule 1 at one block: tokens held against funds, what is unsettled, accrued, and balances.

    `held_nano` is rounded down to a nano-token. `surplus_nano` is what nobody is owed: sent there by
    mistake where positive, missing where negative. `waiting` is what is unsettled, oldest first.
    """

    block: int
    held_nano: int
    state: Figures
    differences: tuple[Difference, ...]
    waiting: tuple[Waiting, ...] = ()

    @property
    def surplus_nano(self) -> int:
        """Nano-tokens held beyond what is owed."""
        return self.held_nano - self.state.owed

    @property
    def solvent(self) -> bool:
        """Whether the ledger holds at least what it owes."""
        return self.surplus_nano >= 0

    @property
    def ok(self) -> bool:
        """Whether there is nothing to say: solvent, and events and state agree."""
        return self.solvent and not self.differences

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return {
            "block": self.block,
            "held_nano": self.held_nano,
            "funds_nano": sum(self.state.funds.values()),
            "unsettled_nano": sum(self.state.unsettled.values()),
            "accrued_nano": sum(self.state.accrued.values()),
            "balances_nano": sum(self.state.balances.values()),
            "surplus_nano": self.surplus_nano,
            "solvent": self.solvent,
            "platforms": len(self.state.funds),
            "tallies": len(self.state.unsettled),
            "deals": len(self.state.accrued),
            "holders": len(self.state.balances),
            "differences": [difference.document() for difference in self.differences],
            "unsettled_tallies": [one.document() for one in self.waiting],
        }


# --- from events alone (rule 8) ---


def replay(
    events: Iterable[Event], deals: Sequence[Deal], unit: TokenUnit
) -> tuple[Figures, list[Difference]]:
    """Return every figure as the events make it, and where an event contradicts those before it.

    `events` are those of MONEY_EVENTS, in any order.
    """
    figures, wrong = Figures(), []
    by_key = {deal.key: deal for deal in deals}
    tallies: dict[TallyKey, _Tally] = {}
    for event in sorted(events, key=lambda event: (event.block, event.log_index)):
        args = event.args
        if event.name == "Deposited":
            figures.funds[args["platform"]] += args["nano"]
        elif event.name == "FundsWithdrawn":
            figures.funds[args["platform"]] -= args["nano"]
        elif event.name == "UsageReported":
            wrong += _report(figures, args, by_key)
        elif event.name == "TallyPosted":
            _move(figures, args, -args["total"])
            tallies[_tally_key(args)] = _Tally(args["total"], args["day"])
        elif event.name == "LeafSettled":
            wrong += _settled(figures, args, by_key, tallies[_tally_key(args)])
        elif event.name in ("LeafVoid", "NodeVoid"):
            wrong += _void(figures, event, by_key, tallies[_tally_key(args)])
        elif event.name == "Paid":
            figures.accrued[args["catalogue"], args["version"]] += args["nano"]
        elif event.name == "Allocated":
            wrong += _allocation(figures, args, by_key)
        elif event.name == "Withdrawn":
            figures.balances[args["holder"]] -= unit.to_nano(args["amount"])
    return figures, [*wrong, *_overdrawn(figures, tallies)]


def _report(
    figures: Figures, args: Mapping[str, Any], deals: Mapping[DealKey, Deal]
) -> list[Difference]:
    tariffs = {key: deal.tariff for key, deal in deals.items()}
    total = 0
    for group in unpack_usage(args["usage"]):
        amount = total_nano([group], tariffs)
        figures.accrued[group.catalogue, group.version] += amount
        total += amount
    figures.funds[args["platform"]] -= total
    whom = f"batch {args['batch']} of {args['platform']}"
    return [] if total == args["total"] else [Difference("report", whom, args["total"], total)]


def _tally_key(args: Mapping[str, Any]) -> TallyKey:
    return args["platform"], args["batch"]


def _move(figures: Figures, args: Mapping[str, Any], nano: int) -> None:
    """Move money out of a tally back to its platform's funds, or, where negative, into it."""
    figures.funds[args["platform"]] += nano
    figures.unsettled[_tally_key(args)] -= nano


@dataclass(slots=True)
class _Tally:
    """A tally in the replay: what was posted of it, and which of its places are closed."""

    total: int
    day: int
    leaves: set[int] = field(default_factory=set)
    nodes: list[range] = field(default_factory=list)

    def close_leaf(self, index: int) -> bool:
        """Close a leaf; return whether it was open."""
        was_open = index not in self.leaves and not any(index in node for node in self.nodes)
        self.leaves.add(index)
        return was_open

    def close_node(self, level: int, index: int) -> bool:
        """Close the leaves under a node; return whether all were open."""
        under = range(index << level, (index + 1) << level)
        others = any(node.start < under.stop and under.start < node.stop for node in self.nodes)
        was_open = not others and not any(leaf in under for leaf in self.leaves)
        self.nodes.append(under)
        return was_open


def _settled(
    figures: Figures, args: Mapping[str, Any], deals: Mapping[DealKey, Deal], tally: _Tally
) -> list[Difference]:
    """Pay a leaf what it costs, nothing where it should have been void or was closed before."""
    leaf, amount = args["leaf"], args["amount"]
    deal = deals.get(tallybook.deal_of(leaf))
    terms = tallybook.terms_of(deal)
    fault = tallybook.judge(leaf, amount, terms, tally.day)
    due = 0
    if tally.close_leaf(args["index"]) and fault in (LeafFault.NONE, LeafFault.AMOUNT_MISMATCH):
        due = amount if fault == LeafFault.NONE else tallybook.cost_of(leaf, terms)
    figures.unsettled[_tally_key(args)] -= due
    if deal is not None:
        figures.accrued[deal.key] += due
    return [] if due == amount else [Difference("leaf", _leaf_name(args), amount, due)]


def _void(
    figures: Figures, event: Event, deals: Mapping[DealKey, Deal], tally: _Tally
) -> list[Difference]:
    """Return money to the platform; name a leaf that could have been paid, or was closed before.

    A leaf whose deal came later could not: only deals of earlier blocks are known to it.
    """
    args = event.args
    _move(figures, args, args["amount"])
    if event.name == "NodeVoid":
        right = tally.close_node(args["level"], args["index"])
        name = f"node {args['index']} on level {args['level']} of {_tally_name(_tally_key(args))}"
    else:
        deal = deals.get(tallybook.deal_of(args["leaf"]))
        terms = tallybook.terms_of(deal) if deal is not None and deal.block < event.block else None
        fault = tallybook.judge(args["leaf"], args["amount"], terms, tally.day)
        right = tally.close_leaf(args["index"]) and fault != LeafFault.NONE
        name = _leaf_name(args)
    return [] if right else [Difference("void", name, args["amount"], 0)]


def _overdrawn(figures: Figures, tallies: Mapping[TallyKey, _Tally]) -> list[Difference]:
    """Return the tallies that more has left than was debited for them (rule 2)."""
    return [
        Difference("overdrawn", _tally_name(key), tally.total - left, tally.total)
        for key, tally in tallies.items()
        if (left := figures.unsettled[key]) < 0
    ]


def _leaf_name(args: Mapping[str, Any]) -> str:
    return f"leaf {args['index']} of {_tally_name(_tally_key(args))}"


def _tally_name(key: TallyKey) -> str:
    return f"tally {key[1]} of {key[0]}"


def _allocation(
    figures: Figures, args: Mapping[str, Any], deals: Mapping[DealKey, Deal]
) -> list[Difference]:
    key = args["catalogue"], args["version"]
    before = figures.accrued[key]
    parts, remainder = divide(before, deals[key].split)
    for share, part in zip(deals[key].split, parts, strict=True):
        figures.balances[share.holder] += part
    figures.accrued[key] = remainder
    whom = _deal_name(key)
    said = {"accruedBefore": before, "remainder": remainder}
    return [
        Difference("allocation", whom, args[word], nano)
        for word, nano in said.items()
        if args[word] != nano
    ]


def _deal_name(key: DealKey) -> str:
    return f"catalogue {key[0]} version {key[1]}"


def differences(state: Figures, events: Figures) -> list[Difference]:
    """Return where the contract's state and its events differ."""
    return [
        *_differing("funds", state.funds, events.funds),
        *_differing(
            "accrued",
            {_deal_name(key): nano for key, nano in state.accrued.items()},
            {_deal_name(key): nano for key, nano in events.accrued.items()},
        ),
        *_differing("balance", state.balances, events.balances),
        *_differing(
            "tally",
            {_tally_name(key): nano for key, nano in state.unsettled.items()},
            {_tally_name(key): nano for key, nano in events.unsettled.items()},
        ),
    ]


def tally_differences(states: Iterable[TallyState], tallies: Iterable[Tally]) -> list[Difference]:
    """Return the tallies whose terms or counters the contract keeps otherwise than its events say."""
    return [
        Difference("tally_terms", _tally_name(tally.key), state.total_nano, tally.total_nano)
        for state, tally in zip(states, tallies, strict=True)
        if (state.root, state.total_nano, state.day, state.leaves, state.settled_leaves)
        != (tally.root, tally.total_nano, tally.day, tally.leaves, tally.closed)
    ]


def waiting(tallies: Iterable[Tally], today: int) -> tuple[Waiting, ...]:
    """Return the tallies that hold unsettled money, oldest first."""
    return tuple(
        Waiting(
            tally.platform,
            tally.batch,
            tally.day,
            today - tally.posted.day,
            tally.unsettled,
            tally.unsettled_nano,
        )
        for tally in tallies
        if tally.unsettled_nano
    )


def _differing(what: str, state: Mapping[str, int], events: Mapping[str, int]) -> list[Difference]:
    return [
        Difference(what, whom, state.get(whom, 0), events.get(whom, 0))
        for whom in sorted({*state, *events})
        if state.get(whom, 0) != events.get(whom, 0)
    ]


# --- on the chain ---


def solvency(session: Royalty) -> Solvency:
    """Return rule 1 at the newest block, all of it read at that one block.

    Who there is (platforms, tallies, deals, holders) comes from events; what they have, from the contract's
    state; then the same again from events alone. Raises ChainError where the node does not answer,
    or the block is taken back under every attempt.
    """
    from royalty import index

    for _ in range(ATTEMPTS):
        snapshot = index.snapshot(session)
        found = solvency_at(session, snapshot)
        if session.node.block(snapshot.head.number).hash == snapshot.head.hash:
            return found
    raise ChainError("the chain changes faster than it can be audited; try again later")


def solvency_at(session: Royalty, snapshot: Snapshot) -> Solvency:
    """Return rule 1 at the head of a snapshot; ChainError where the node no longer has its state."""
    deals = deals_of(event for name in DEAL_EVENTS for event in snapshot.events(name))
    money = [event for name in MONEY_EVENTS for event in snapshot.events(name)]
    platforms = {
        event.args["platform"] for name in PLATFORM_EVENTS for event in snapshot.events(name)
    }
    tallies = tallybook.read_tallies(snapshot.events)
    kept = session.ledger.tallies(tallies, snapshot.head.number)
    state = read_state(session, sorted(platforms), deals, kept, snapshot.head.number)
    unit = session.ledger.token().unit
    replayed, wrong = replay(money, deals, unit)
    held = session.ledger.token_balance(session.ledger.address, snapshot.head.number)
    return Solvency(
        block=snapshot.head.number,
        held_nano=whole_nano(held, unit),
        state=state,
        differences=(
            *wrong,
            *differences(state, replayed),
            *tally_differences(kept, tallies.values()),
        ),
        waiting=waiting(tallies.values(), day_of_timestamp(snapshot.head.timestamp)),
    )


def read_state(
    session: Royalty,
    platforms: Sequence[str],
    deals: Sequence[Deal],
    tallies: Sequence[TallyState],
    block: int,
) -> Figures:
    """Return what the contract itself says at a block: of platforms, tallies, deals and their holders."""
    ledger = session.ledger
    holders = sorted({share.holder for deal in deals for share in deal.split})
    accrued = ledger.deals([deal.key for deal in deals], block)
    return Figures(
        funds={one.address: one.funds_nano for one in ledger.platforms(platforms, block)},
        accrued={(one.catalogue, one.version): one.accrued_nano for one in accrued},
        balances=dict(zip(holders, ledger.balances_nano(holders, block), strict=True)),
        unsettled={(one.platform, one.batch): one.unsettled_nano for one in tallies},
    )


def whole_nano(amount: int, unit: TokenUnit) -> int:
    """Return smallest units as nano-tokens, rounded down: anybody may have sent a finer amount."""
    if unit.decimals <= 9:
        return unit.to_nano(amount)
    return int(amount // 10 ** (unit.decimals - 9))


def sentence(found: Solvency, symbol: str) -> str:
    """Return what it means, in one sentence for a person."""
    from royalty.money import format_nano

    if not found.solvent:
        missing = format_nano(-found.surplus_nano)
        return f"The ledger holds {missing} {symbol} too little: not everybody can be paid."
    if found.differences:
        return "The ledger can pay everybody, but its state and its events differ."
    if found.surplus_nano:
        surplus = format_nano(found.surplus_nano)
        return f"The ledger can pay everybody; {surplus} {symbol} belong to nobody."
    return "The ledger holds exactly what it owes, to the last nano-token."
