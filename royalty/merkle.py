"""Tallies: leaves of one deal each, the Merkle-sum tree over them, and proofs of neighbouring leaves.

Twin of contracts/libraries: the same vectors (tests/vectors/tally.json) run through both. A level of a tree is one
`bytes` of 44 a node, so that a million leaves with all their proofs fit in 150 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from royalty.errors import InputError
from royalty.usage import MAX_PAIRS, MAX_UNITS, PAIR_BYTES, Kind, Tariff

MAX_LEAVES = 2**24 - 1
MAX_NANO = 2**96 - 1
HASH_BYTES = 32
SUM_BYTES = 12
NODE_BYTES = HASH_BYTES + SUM_BYTES

# A leaf longer than this is split: settling it must fit a transaction, calldata and all.
MAX_LEAF_BYTES = 24_000

_LEAF_TAG = b"\x00"
_NODE_TAG = b"\x01"
_DEAL_BYTES = 6
_HEADER_BYTES = 5
_LENGTH_BYTES = 3


class LeafFault(IntEnum):
    """Why the ledger voids a leaf, numbered as its `LeafVoid` does: the first fault met in reading."""

    NONE = 0
    MALFORMED = 1
    DEAL_UNKNOWN = 2
    KIND_UNKNOWN = 3
    DAY_AFTER_TALLY = 4
    DEAL_NOT_IN_FORCE = 5
    AMOUNT_MISMATCH = 6


@dataclass(frozen=True, slots=True, order=True)
class DayGroup:
    """Units of one day and kind: pairs of (index, units), each at most 2^24 - 1."""

    day: int
    kind: Kind
    pairs: tuple[tuple[int, int], ...]

    def pack(self) -> bytes:
        """Return the group's bytes: day, kind, count of pairs, then 6 a pair, big-endian."""
        head = self.day.to_bytes(2, "big") + bytes([self.kind]) + len(self.pairs).to_bytes(2, "big")
        return head + b"".join(
            index.to_bytes(3, "big") + units.to_bytes(3, "big") for index, units in self.pairs
        )

    def cost(self, tariff: Tariff) -> int:
        """Return what the group costs, in nano-tokens."""
        return tariff.price(self.kind) * sum(units for _, units in self.pairs)


@dataclass(frozen=True, slots=True, order=True)
class Leaf:
    """One deal's usage of several days and kinds, in the order in which it is packed."""

    catalogue: int
    version: int
    groups: tuple[DayGroup, ...]

    def pack(self) -> bytes:
        """Return the leaf's bytes: catalogue, version, then the groups."""
        deal = self.catalogue.to_bytes(4, "big") + self.version.to_bytes(2, "big")
        return deal + b"".join(group.pack() for group in self.groups)

    def cost(self, tariff: Tariff) -> int:
        """Return what the leaf costs under its deal's tariff, in nano-tokens."""
        return sum(group.cost(tariff) for group in self.groups)


@dataclass(frozen=True, slots=True, order=True)
class DayLine:
    """Units of one work, day and kind under one deal; lines sort as leaves pack them."""

    catalogue: int
    version: int
    day: int
    kind: Kind
    index: int
    units: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A packed leaf with the amount that it claims, in nano-tokens: what a tree hangs on its lowest level."""

    leaf: bytes
    amount: int

    @property
    def node(self) -> bytes:
        """The leaf's node: hash, then amount."""
        return leaf_node(self.leaf, self.amount)


# --- Leaves ---


def leaves_of(lines: Iterable[DayLine], most: int = MAX_LEAF_BYTES) -> Iterator[Leaf]:
    """Yield the leaves of lines that come in order, one a deal, several where one would be too long.

    Lines of no units are left out. Units above 2^24 - 1 become several pairs.
    """
    leaf = _LeafMaker(most)
    for line in lines:
        rest = line.units
        if rest < 0:
            raise ValueError(f"negative units: {line}")
        while rest > 0:
            units = min(rest, MAX_UNITS)
            if not leaf.takes(line):
                yield leaf.make()
                leaf = _LeafMaker(most)
            leaf.add(line, units)
            rest -= units
    if leaf.groups:
        yield leaf.make()


class _LeafMaker:
    """A leaf that is being filled, up to so many bytes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = _DEAL_BYTES
        self.deal: tuple[int, int] | None = None
        self.groups: list[tuple[int, Kind, list[tuple[int, int]]]] = []

    def takes(self, line: DayLine) -> bool:
        """Whether one more pair of a line belongs here and fits, with a group of its own at worst."""
        if self.deal is None:
            return True
        fits = self.size + _HEADER_BYTES + PAIR_BYTES <= self.most
        return fits and self.deal == (line.catalogue, line.version)

    def add(self, line: DayLine, units: int) -> None:
        """Add a pair to the last group, or to a new one where that is of another day or kind, or full."""
        self.deal = line.catalogue, line.version
        last = self.groups[-1] if self.groups else None
        if last is None or last[:2] != (line.day, line.kind) or len(last[2]) == MAX_PAIRS:
            last = (line.day, line.kind, [])
            self.groups.append(last)
            self.size += _HEADER_BYTES
        last[2].append((line.index, units))
        self.size += PAIR_BYTES

    def make(self) -> Leaf:
        """Return the leaf as it is now."""
        assert self.deal is not None
        groups = tuple(DayGroup(day, kind, tuple(pairs)) for day, kind, pairs in self.groups)
        return Leaf(*self.deal, groups)


def unpack_leaf(packed: bytes) -> Leaf:
    """Return the leaf of its bytes; InputError where a group is cut, empty or of no known kind."""
    groups: list[DayGroup] = []
    for day, kind, pairs in _groups(packed):
        if not pairs or kind > Kind.EXCERPT:
            raise InputError("the leaf is malformed or of a kind that this version does not know")
        groups.append(DayGroup(day, Kind(kind), _pairs(pairs)))
    if not groups:
        raise InputError("the leaf is malformed: it holds no usage")
    return Leaf(
        int.from_bytes(packed[:4], "big"), int.from_bytes(packed[4:6], "big"), tuple(groups)
    )


def fault_of(
    packed: bytes, amount: int, tariff: Tariff | None, from_day: int, until_day: int, last_day: int
) -> LeafFault:
    """Return why the ledger would void a leaf of a deal, `NONE` where it would pay it.

    `tariff` is None where there is no such deal; `until_day` is 0 while the deal is open; `last_day` is the tally's.
    """
    if len(packed) <= _DEAL_BYTES:
        return LeafFault.MALFORMED
    if tariff is None:
        return LeafFault.DEAL_UNKNOWN
    cost = 0
    for day, kind, pairs in _groups(packed):
        if not pairs:
            return LeafFault.MALFORMED
        if kind > Kind.EXCERPT:
            return LeafFault.KIND_UNKNOWN
        if day > last_day:
            return LeafFault.DAY_AFTER_TALLY
        if day < from_day or (until_day and day >= until_day):
            return LeafFault.DEAL_NOT_IN_FORCE
        cost += tariff.price(Kind(kind)) * sum(units for _, units in _pairs(pairs))
    return LeafFault.NONE if cost == amount else LeafFault.AMOUNT_MISMATCH


def _groups(packed: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield day, kind and packed pairs of a leaf's groups; a group that is cut has no pairs and is the last."""
    at = _DEAL_BYTES
    while at < len(packed):
        head = packed[at : at + _HEADER_BYTES]
        start = at + _HEADER_BYTES
        at = start + int.from_bytes(head[3:5], "big") * PAIR_BYTES
        if len(head) < _HEADER_BYTES or at > len(packed):
            yield 0, 0, b""
            return
        yield int.from_bytes(head[:2], "big"), head[2], packed[start:at]


def _pairs(packed: bytes) -> tuple[tuple[int, int], ...]:
    return tuple(
        (int.from_bytes(packed[at : at + 3], "big"), int.from_bytes(packed[at + 3 : at + 6], "big"))
        for at in range(0, len(packed), PAIR_BYTES)
    )


def pack_claims(claims: Iterable[Claim]) -> bytes:
    """Return neighbouring leaves as `settle` takes them: length, amount, leaf, each."""
    return b"".join(
        len(claim.leaf).to_bytes(_LENGTH_BYTES, "big") + _sum_bytes(claim.amount) + claim.leaf
        for claim in claims
    )


# --- The tree ---


def leaf_node(leaf: bytes, amount: int) -> bytes:
    """Return the node of a packed leaf: its hash, then its amount."""
    from tiny_keccak import keccak256

    claimed = _sum_bytes(amount)
    return keccak256(_LEAF_TAG + claimed + leaf) + claimed


@dataclass(frozen=True, slots=True)
class Tree:
    """A Merkle-sum tree: its levels from the leaves up, each the 44 bytes of its nodes in a row."""

    levels: tuple[bytes, ...]

    @property
    def leaves(self) -> int:
        """How many leaves there are."""
        return len(self.levels[0]) // NODE_BYTES

    @property
    def root(self) -> bytes:
        """The root's hash, 32 bytes."""
        return self.levels[-1][:HASH_BYTES]

    @property
    def total(self) -> int:
        """The sum of all amounts, in nano-tokens."""
        return _sum_of(self.levels[-1])

    def amount(self, index: int) -> int:
        """Return what the leaf at an index claims, in nano-tokens."""
        return _sum_of(self.levels[0][index * NODE_BYTES : (index + 1) * NODE_BYTES])

    def prove(self, first: int, count: int = 1) -> bytes:
        """Return the proof of so many neighbouring leaves from an index on, as `settle` takes it."""
        if not (first >= 0 and count >= 1 and first + count <= self.leaves):
            raise InputError(f"the tally has leaves 0 to {self.leaves - 1:,}")
        places = neighbours(first, count, self.leaves)
        return b"".join(
            self.levels[level][place * NODE_BYTES : (place + 1) * NODE_BYTES]
            for level, place in places
        )


def make_tree(nodes: Iterable[bytes]) -> Tree:
    """Return the tree over leaf nodes (`leaf_node`), in their order; InputError where it cannot be posted.

    Raises InputError for no leaf, more than 2^24 - 1 of them, or a total that does not fit the ledger.
    """
    lowest = b"".join(nodes)
    if not 1 <= len(lowest) // NODE_BYTES <= MAX_LEAVES:
        raise InputError(f"a tally has 1 to {MAX_LEAVES:,} leaves")
    levels = [lowest]
    while len(levels[-1]) > NODE_BYTES:
        levels.append(_level_above(levels[-1]))
    return Tree(tuple(levels))


def _level_above(level: bytes) -> bytes:
    """Return the parents of a level's nodes; a last one without a partner is carried up."""
    from tiny_keccak import keccak256

    # Twice a million times: everything here is bound to a local name, and the sums are read by slices.
    pair, right, big = 2 * NODE_BYTES, NODE_BYTES + HASH_BYTES, int.from_bytes
    parents: list[bytes] = []
    append = parents.append
    whole = len(level) - len(level) % pair
    try:
        for at in range(0, whole, pair):
            both = level[at : at + pair]
            total = big(both[HASH_BYTES:NODE_BYTES], "big") + big(both[right:], "big")
            append(keccak256(_NODE_TAG + both))
            append(total.to_bytes(SUM_BYTES, "big"))
    except OverflowError:
        raise InputError("the tally's total does not fit the ledger") from None
    append(level[whole:])
    return b"".join(parents)


def neighbours(first: int, count: int, leaves: int) -> Iterator[tuple[int, int]]:
    """Yield (level, index) of the nodes that a proof of neighbouring leaves holds, in its order."""
    level, width = 0, leaves
    while width > 1:
        if first % 2:
            first, count = first - 1, count + 1
            yield level, first
        if count % 2 and first + count < width:
            yield level, first + count
            count += 1
        level, first, count, width = level + 1, first // 2, (count + 1) // 2, (width + 1) // 2


def climb(nodes: Sequence[bytes], first: int, width: int, proof: bytes) -> tuple[bytes, int]:
    """Return the root's hash and sum over neighbouring nodes of a level of `width`, as the ledger computes them.

    Raises InputError where the nodes lie outside the level, the proof is of another length, or a sum does not fit.
    """
    if not (nodes and first >= 0 and first + len(nodes) <= width):
        raise InputError("the proof is of a place that the tally does not have")
    level, at = b"".join(nodes), 0
    while width > 1:
        count = len(level) // NODE_BYTES
        if first % 2:
            level, at = proof[at : at + NODE_BYTES] + level, at + NODE_BYTES
            first, count = first - 1, count + 1
        if count % 2 and first + count < width:
            level, at = level + proof[at : at + NODE_BYTES], at + NODE_BYTES
        if at > len(proof):
            raise InputError("the proof is cut")
        level, first, width = _level_above(level), first // 2, (width + 1) // 2
    if at != len(proof):
        raise InputError("the proof is longer than its place needs")
    return level[:HASH_BYTES], _sum_of(level)


def verify(
    claims: Sequence[Claim], first: int, leaves: int, proof: bytes, root: bytes, total: int
) -> bool:
    """Return whether these are the tally's leaves from an index on; False for anything that is not a proof."""
    try:
        nodes = [claim.node for claim in claims]
        return climb(nodes, first, leaves, proof) == (root, total)
    except InputError:
        return False


def _sum_bytes(amount: int) -> bytes:
    if not 0 <= amount <= MAX_NANO:
        raise InputError(f"an amount of {amount:,} nano-tokens does not fit the ledger")
    return amount.to_bytes(SUM_BYTES, "big")


def _sum_of(node: bytes) -> int:
    return int.from_bytes(node[HASH_BYTES:NODE_BYTES], "big")
