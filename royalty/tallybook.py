"""What events say of tallies: who posted which, what became of their leaves, what is left in them.

Whatever a tally's data claim, only this is certain: leaves stand in the events that close them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from royalty.errors import InputError
from royalty.merkle import DayLine, LeafFault, fault_of, unpack_leaf
from royalty.usage import Kind, Tariff

if TYPE_CHECKING:
    from royalty.catalogues import Deal
    from royalty.index.tables import ChainEvent

EVENTS = ("TallyPosted", "LeafSettled", "LeafVoid", "NodeVoid")

TallyKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Tally:
    """One tally with the events that closed its leaves: paid, void, or under a void node."""

    posted: ChainEvent
    paid: tuple[ChainEvent, ...] = ()
    void: tuple[ChainEvent, ...] = ()
    nodes: tuple[ChainEvent, ...] = ()

    @property
    def key(self) -> TallyKey:
        """(platform, batch), which names a tally."""
        return self.platform, self.batch

    @property
    def root(self) -> bytes:
        """The hash of its tree's root."""
        return bytes(self.posted.args["root"])

    @property
    def platform(self) -> str:
        """Whose tally it is."""
        return str(self.posted.args["platform"])

    @property
    def batch(self) -> int:
        """Its number among the platform's batches."""
        return int(self.posted.args["batch"])

    @property
    def day(self) -> int:
        """The last day of its usage."""
        return int(self.posted.args["day"])

    @property
    def leaves(self) -> int:
        """How many leaves it has."""
        return int(self.posted.args["leaves"])

    @property
    def total_nano(self) -> int:
        """What the platform was debited."""
        return int(self.posted.args["total"])

    @property
    def paid_nano(self) -> int:
        """What its leaves paid into deals."""
        return _sum(self.paid)

    @property
    def void_nano(self) -> int:
        """What went back to the platform."""
        return _sum((*self.void, *self.nodes))

    @property
    def unsettled_nano(self) -> int:
        """What has neither reached a deal nor gone back."""
        return self.total_nano - self.paid_nano - self.void_nano

    @property
    def closed(self) -> int:
        """How many leaves are closed, as the ledger counts them: paid, void, or under a void node."""
        return len(self.paid) + len(self.void) + sum(len(self.under(node)) for node in self.nodes)

    @property
    def unsettled(self) -> int:
        """How many leaves are still open."""
        return self.leaves - self.closed

    def under(self, node: ChainEvent) -> range:
        """Return the indexes of the leaves under a void node."""
        level, index = node.args["level"], node.args["index"]
        return range(index << level, min((index + 1) << level, self.leaves))

    def open_leaves(self) -> set[int]:
        """Return the indexes of the leaves that are still open."""
        found = set(range(self.leaves))
        found -= {event.args["index"] for event in (*self.paid, *self.void)}
        for node in self.nodes:
            found -= set(self.under(node))
        return found

    def days(self) -> Iterator[int]:
        """Yield the days that are known to be its own: its last, and those of leaves that are closed."""
        yield self.day
        for event in (*self.paid, *self.void):
            yield from (line.day for line in lines_of_leaf(event.args["leaf"]))


def _sum(events: Iterable[ChainEvent]) -> int:
    return sum(event.args["amount"] for event in events)


def read_tallies(events: Callable[[str], Sequence[ChainEvent]]) -> dict[TallyKey, Tally]:
    """Return every tally by (platform, batch), in the order in which they were posted."""
    closed: dict[tuple[TallyKey, str], list[ChainEvent]] = defaultdict(list)
    for name in EVENTS[1:]:
        for event in events(name):
            closed[_key(event), name].append(event)
    return {
        _key(event): Tally(event, *(tuple(closed[_key(event), name]) for name in EVENTS[1:]))
        for event in events(EVENTS[0])
    }


def _key(event: ChainEvent) -> TallyKey:
    return event.args["platform"], event.args["batch"]


# --- leaves ---


@dataclass(frozen=True, slots=True)
class DealTerms:
    """What a leaf is judged by: its deal's prices and days (`until_day` None: open)."""

    tariff: Tariff
    from_day: int
    until_day: int | None


def deal_of(leaf: bytes) -> tuple[int, int]:
    """Return the (catalogue, version) that a packed leaf names."""
    return int.from_bytes(leaf[:4], "big"), int.from_bytes(leaf[4:6], "big")


def lines_of_leaf(leaf: bytes) -> list[DayLine]:
    """Return one line a day, kind and work of a packed leaf, sorted; none where it cannot be read."""
    return lines_of_leaves([leaf])


def lines_of_leaves(leaves: Iterable[bytes]) -> list[DayLine]:
    """Return the same of several leaves, what is alike in them added up."""
    units: dict[tuple[int, int, int, Kind, int], int] = defaultdict(int)
    for packed in leaves:
        try:
            leaf = unpack_leaf(packed)
        except InputError:
            continue
        for group in leaf.groups:
            for index, count in group.pairs:
                units[leaf.catalogue, leaf.version, group.day, group.kind, index] += count
    return [DayLine(*key, count) for key, count in sorted(units.items())]


def cost_of(leaf: bytes, terms: DealTerms | None) -> int:
    """Return units times price of a packed leaf, in nano-tokens; 0 where it or its deal is unknown."""
    if terms is None:
        return 0
    try:
        return unpack_leaf(leaf).cost(terms.tariff)
    except InputError:
        return 0


def judge(leaf: bytes, amount: int, terms: DealTerms | None, last_day: int) -> LeafFault:
    """Return why the ledger would void a leaf of a tally, `NONE` where it would pay it."""
    tariff = None if terms is None else terms.tariff
    from_day, until_day = (terms.from_day, terms.until_day or 0) if terms else (0, 0)
    return fault_of(leaf, amount, tariff, from_day, until_day, last_day)


def terms_of(deal: Deal | None) -> DealTerms | None:
    """Return what leaves of a deal are judged by, None where there is none."""
    return None if deal is None else DealTerms(deal.tariff, deal.from_day, deal.until_day)
