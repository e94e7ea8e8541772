"""Usage as the ledger takes it: kinds, works, packed groups and what they cost.

Twin of contracts/libraries: the same vectors (tests/vectors/usage.json) run through both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from royalty.errors import InputError

MAX_UNITS = 2**24 - 1
MAX_SECONDS = 10**9
"""The most seconds that a number of a log may say (design section 4)."""
MAX_PAIRS = 2**16 - 1
HEADER_BYTES = 9
PAIR_BYTES = 6

_REFERENCE = re.compile(r"([1-9][0-9]{0,9})/(0|[1-9][0-9]{0,7})")


class Kind(IntEnum):
    """What was done with a work, as the ledger numbers it; an excerpt's unit is a second."""

    VIEW = 0
    DOWNLOAD = 1
    EXCERPT = 2

    @property
    def word(self) -> str:
        """`view`, `download` or `excerpt`."""
        return self.name.lower()


KINDS = {kind.word: kind for kind in Kind}


@dataclass(frozen=True, slots=True, order=True)
class WorkRef:
    """A work: its catalogue's number and its index there, written `12/3`."""

    catalogue: int
    index: int

    def __str__(self) -> str:
        return f"{self.catalogue}/{self.index}"

    @classmethod
    def parse(cls, text: str) -> WorkRef:
        """Return the work of `12/3`; InputError where it is not one."""
        work = cls.match(text)
        if work is None:
            raise InputError(
                f"'{text[:40]}' is not a work; write catalogue/index, for example 12/3"
            )
        return work

    @classmethod
    def match(cls, text: str) -> WorkRef | None:
        """Return the work of `12/3`, or None where the text is no canonical reference in range."""
        found = _REFERENCE.fullmatch(text)
        if found is None:
            return None
        work = cls(int(found.group(1)), int(found.group(2)))
        return work if work.catalogue < 2**32 and work.index < 2**24 else None

    @property
    def work_id(self) -> int:
        """`catalogue << 32 | index`."""
        return self.catalogue << 32 | self.index


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices in nano-tokens per unit; 0 means that the kind is free."""

    view: int
    download: int
    excerpt: int

    def __post_init__(self) -> None:
        for kind in Kind:
            if not 0 <= self.price(kind) < 2**40:
                raise InputError(f"the price of a {kind.word} is out of range")

    def price(self, kind: Kind) -> int:
        """Return the price of one unit of a kind, in nano-tokens."""
        return (self.view, self.download, self.excerpt)[kind]


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """Units of one work and kind under one deal."""

    catalogue: int
    version: int
    kind: Kind
    index: int
    units: int


@dataclass(frozen=True, slots=True)
class Group:
    """One deal, one kind, and pairs of (index, units), each at most 2^24 - 1."""

    catalogue: int
    version: int
    kind: Kind
    pairs: tuple[tuple[int, int], ...]

    def pack(self) -> bytes:
        """Return the group's bytes: header of 9, then 6 a pair, big-endian."""
        header = (
            self.catalogue.to_bytes(4, "big")
            + self.version.to_bytes(2, "big")
            + bytes([self.kind])
            + len(self.pairs).to_bytes(2, "big")
        )
        return header + b"".join(
            index.to_bytes(3, "big") + units.to_bytes(3, "big") for index, units in self.pairs
        )


def group_lines(lines: Iterable[Line]) -> list[Group]:
    """Return the lines as groups, sorted by deal, kind and index, so that equal usage packs alike.

    Lines of no units are left out. Units above 2^24 - 1 become several pairs; a group holds at most
    65,535 pairs, more go into a further group of the same deal and kind.
    """
    pairs: dict[tuple[int, int, Kind], list[tuple[int, int]]] = {}
    for line in sorted(lines):
        if line.units < 0:
            raise ValueError(f"negative units: {line}")
        rest = line.units
        while rest > 0:
            units = min(rest, MAX_UNITS)
            pairs.setdefault((line.catalogue, line.version, line.kind), []).append(
                (line.index, units)
            )
            rest -= units
    return [
        Group(*deal, tuple(found[at : at + MAX_PAIRS]))
        for deal, found in sorted(pairs.items())
        for at in range(0, len(found), MAX_PAIRS)
    ]


def pack_usage(groups: Iterable[Group]) -> bytes:
    """Return the packed usage that `report` takes."""
    return b"".join(group.pack() for group in groups)


def unpack_usage(packed: bytes) -> Iterator[Group]:
    """Yield the groups of packed usage; InputError where one is cut, empty or of no known kind."""
    at = 0
    while at < len(packed):
        header = packed[at : at + HEADER_BYTES]
        count = int.from_bytes(header[7:9], "big")
        end = at + HEADER_BYTES + count * PAIR_BYTES
        if len(header) < HEADER_BYTES or not count or end > len(packed) or header[6] > Kind.EXCERPT:
            raise InputError(f"packed usage is malformed at byte {at}")
        body = packed[at + HEADER_BYTES : end]
        yield Group(
            int.from_bytes(header[:4], "big"),
            int.from_bytes(header[4:6], "big"),
            Kind(header[6]),
            tuple(
                (int.from_bytes(body[i : i + 3], "big"), int.from_bytes(body[i + 3 : i + 6], "big"))
                for i in range(0, len(body), PAIR_BYTES)
            ),
        )
        at = end


def lines_of(groups: Iterable[Group]) -> list[Line]:
    """Return one line a work and kind of the groups, pairs of the same work added up, in order."""
    units: dict[tuple[int, int, Kind, int], int] = {}
    for group in groups:
        for index, count in group.pairs:
            key = (group.catalogue, group.version, group.kind, index)
            units[key] = units.get(key, 0) + count
    return [Line(*key, count) for key, count in sorted(units.items())]


class Units(Protocol):
    """Units of a kind of usage, whatever else they are known to be of."""

    @property
    def kind(self) -> Kind:
        """What was done."""

    @property
    def units(self) -> int:
        """How often, or for how many seconds."""


def units_of(counted: Iterable[Units]) -> dict[str, int]:
    """Return units by kind, always all three."""
    units = {kind.word: 0 for kind in Kind}
    for one in counted:
        units[one.kind.word] += one.units
    return units


def works_of(lines: Iterable[Line]) -> int:
    """Return how many works lines are about."""
    return len({(line.catalogue, line.index) for line in lines})


def total_nano(groups: Iterable[Group], tariffs: Mapping[tuple[int, int], Tariff]) -> int:
    """Return what the groups cost in nano-tokens at the tariffs of (catalogue, version)."""
    return sum(
        tariffs[group.catalogue, group.version].price(group.kind) * sum(u for _, u in group.pairs)
        for group in groups
    )
