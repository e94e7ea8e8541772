"""Settling leaves of a tally in transactions that fit: what a run of neighbours costs at most, and where to cut.

What a run will cost is bounded here from the bytes of its leaves alone. `tally settle` then asks the
node, and halves what the node finds too dear. Bounds of the ledger's own code are measured: a test
compares them with receipts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field

from royalty.batches import CONTENT_SHARE, MAX_TRANSACTION_BYTES, MAX_TRANSACTION_GAS
from royalty.merkle import NODE_BYTES, Claim, neighbours, pack_claims
from royalty.usage import PAIR_BYTES

TRANSACTION_GAS = 21_000
# EIP-7623: a byte of calldata, zero or not, costs so much, and at least so much where little is done with it.
ZERO_GAS, BYTE_GAS = 4, 16
ZERO_FLOOR, BYTE_FLOOR = 10, 40
# What `settle` is called with besides leaves and proof: selector, 7 words, padding; most of it is zero.
HEAD_BYTES, HEAD_ZEROS = 48, 242

# What the ledger's storage and log cost: a word of 256 bits of settled leaves, a deal, an event.
NEW_BITS_GAS, OLD_BITS_GAS = 22_200, 5_100
DEAL_GAS, SAME_DEAL_GAS = 5_000, 200
EVENT_GAS, EVENT_BYTE_GAS, EVENT_WORDS = 1_500, 8, 5
# What its code takes, measured: the call with its tally, a leaf, a group of one pair or of more, five pairs, a
# node that is hashed.
CALL_GAS = 15_500
LEAF_GAS, SKIPPED_GAS = 1_050, 450
SINGLE_GAS, GROUP_GAS, STRIDE_GAS = 520, 740, 100
NODE_GAS = 300
WORD_GAS = 12

MAX_SETTLE_BYTES = MAX_TRANSACTION_BYTES - 1_024
"""The most that a transaction can carry of leaves with their proof: nodes pass on no larger one."""

_DEAL_BYTES = 6
_HEADER_BYTES = 5
_PREFIX_BYTES = 15
_WORD = 32


@dataclass(frozen=True, slots=True)
class Span:
    """A run of neighbouring leaves that one transaction settles: the first, how many, the most gas it can use."""

    first: int
    count: int
    gas: int

    @property
    def indexes(self) -> range:
        """The places of its leaves."""
        return range(self.first, self.first + self.count)


@dataclass(slots=True)
class _Meter:
    """Adds up what a run costs, leaf by leaf; `closed` are leaves that were settled before."""

    closed: Set[int]
    standard: int = TRANSACTION_GAS + HEAD_BYTES * BYTE_GAS + HEAD_ZEROS * ZERO_GAS + CALL_GAS
    floor: int = TRANSACTION_GAS + HEAD_BYTES * BYTE_FLOOR + HEAD_ZEROS * ZERO_FLOOR
    size: int = 0
    longest: int = 0
    bits: int = -1
    deals: set[bytes] = field(default_factory=set)

    def add(self, index: int, claim: Claim) -> None:
        """Add a leaf, which comes right after the one before."""
        leaf, packed = claim.leaf, pack_claims([claim])
        self.size += len(packed)
        self.longest = max(self.longest, len(leaf))
        zeros = packed.count(0)
        self.standard += zeros * ZERO_GAS + (len(packed) - zeros) * BYTE_GAS + NODE_GAS
        self.floor += zeros * ZERO_FLOOR + (len(packed) - zeros) * BYTE_FLOOR
        if index >> 8 != self.bits:
            self.bits = index >> 8
            old = any(place in self.closed for place in _neighbourhood(index))
            self.standard += OLD_BITS_GAS if old else NEW_BITS_GAS
        self.standard += self._work(leaf, skipped=index in self.closed)

    def _work(self, leaf: bytes, *, skipped: bool) -> int:
        words = -(-len(leaf) // _WORD)
        if skipped:
            return SKIPPED_GAS + words * WORD_GAS
        deal = leaf[:_DEAL_BYTES]
        slot = SAME_DEAL_GAS if deal in self.deals else DEAL_GAS
        self.deals.add(deal)
        event = EVENT_GAS + (words + EVENT_WORDS) * _WORD * EVENT_BYTE_GAS
        return LEAF_GAS + slot + event + words * WORD_GAS + _reading(leaf)

    def gas(self, nodes: int) -> int:
        """Return the most gas of the run so far, with a proof of so many nodes."""
        proof = nodes * NODE_BYTES
        room = (25 + self.size // _PREFIX_BYTES) * NODE_BYTES + self.longest
        words = room // _WORD + 16
        memory = 3 * words + words * words // 512
        standard = self.standard + proof * BYTE_GAS + nodes * NODE_GAS + memory
        return max(standard, self.floor + proof * BYTE_FLOOR)


def _neighbourhood(index: int) -> range:
    """The leaves whose bits share a word."""
    return range(index & ~0xFF, (index | 0xFF) + 1)


def _reading(leaf: bytes) -> int:
    """Return what reading the groups of a leaf takes at most; one of a single pair is seen at a glance."""
    gas, at = 0, _DEAL_BYTES
    while at < len(leaf):
        pairs = int.from_bytes(leaf[at + 3 : at + _HEADER_BYTES], "big")
        held = min(pairs, len(leaf) // PAIR_BYTES)
        gas += SINGLE_GAS if pairs == 1 else GROUP_GAS + held // 5 * STRIDE_GAS
        at += _HEADER_BYTES + pairs * PAIR_BYTES
    return gas


def run_gas(
    claims: Iterable[Claim], first: int, leaves: int, *, closed: Set[int] = frozenset()
) -> int:
    """Return the most gas that settling neighbouring leaves of a tally of so many can use, in one transaction.

    `closed` are leaves that were settled before, which the ledger skips.
    """
    meter, count = _Meter(closed), 0
    for count, claim in enumerate(claims, 1):
        meter.add(first + count - 1, claim)
    return meter.gas(sum(1 for _ in neighbours(first, count, leaves)))


def leaf_gas(claim: Claim) -> int:
    """Return the most gas that a leaf adds to a transaction that settles others too."""
    meter = _Meter(frozenset())
    before, floor = meter.standard + NEW_BITS_GAS, meter.floor
    meter.add(0, claim)
    words = 2 * len(claim.leaf) // _WORD + 4
    return max(meter.standard - before + 4 * words, meter.floor - floor)


def spans(
    claims: Sequence[Claim],
    leaves: int,
    *,
    first: int = 0,
    count: int | None = None,
    closed: Set[int] = frozenset(),
    gas_limit: int = MAX_TRANSACTION_GAS,
    max_bytes: int = MAX_SETTLE_BYTES,
) -> Iterator[Span]:
    """Yield neighbouring leaves from `first` on, cut so that each transaction fits by the bounds of gas and bytes.

    `claims` are those of the whole tally; `count` is how many of them, all without. A leaf that alone
    is over a bound comes alone: whoever sends asks the node.
    """
    most = min(gas_limit, MAX_TRANSACTION_GAS) * CONTENT_SHARE // 100
    nodes = 2 * (leaves - 1).bit_length()
    end = len(claims) if count is None else first + count
    start, meter = first, _Meter(closed)
    for index in range(first, end):
        meter.add(index, claims[index])
        fits = meter.size + nodes * NODE_BYTES <= max_bytes and meter.gas(nodes) <= most
        if not fits and index > start:
            yield _span(claims, start, index, leaves, closed)
            start, meter = index, _Meter(closed)
            meter.add(index, claims[index])
    if end > start:
        yield _span(claims, start, end, leaves, closed)


def _span(claims: Sequence[Claim], start: int, end: int, leaves: int, closed: Set[int]) -> Span:
    run = (claims[index] for index in range(start, end))
    return Span(start, end - start, run_gas(run, start, leaves, closed=closed))


def settle_gas(
    claims: Sequence[Claim], total_leaves: int, *, gas_limit: int = MAX_TRANSACTION_GAS
) -> int:
    """Return the most gas that settling all these leaves takes, those of a tally from its first on.

    In as few transactions as fit (`spans`); none of them settled before.
    """
    return sum(span.gas for span in spans(claims, total_leaves, gas_limit=gas_limit))


def joined(
    chosen: Iterable[int], claims: Sequence[Claim], *, closed: Set[int] = frozenset()
) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of runs of neighbours out of leaves that are chosen, in order.

    Runs with nothing but settled leaves between them become one, where skipping those costs less than
    another transaction.
    """
    first = last = -1
    for index in sorted(set(chosen)):
        if first < 0:
            first = index
        elif not _bridged(last, index, claims, closed):
            yield first, last - first + 1
            first = index
        last = index
    if first >= 0:
        yield first, last - first + 1


def _bridged(last: int, index: int, claims: Sequence[Claim], closed: Set[int]) -> bool:
    left = TRANSACTION_GAS + CALL_GAS + OLD_BITS_GAS
    for place in range(last + 1, index):
        size = len(claims[place].leaf) + _PREFIX_BYTES
        left -= size * BYTE_GAS + NODE_GAS + SKIPPED_GAS + OLD_BITS_GAS // 256
        if place not in closed or left < 0:
            return False
    return True
