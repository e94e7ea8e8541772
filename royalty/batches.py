"""Usage of one day as batches that a transaction can carry.

A batch must fit the gas of a transaction (EIP-7825, and the block's own limit) and the size that
nodes take. What a batch will cost is bounded here from its groups alone; `usage report` then asks
the node, and halves what the node finds too dear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from royalty.errors import InputError
from royalty.usage import (
    HEADER_BYTES,
    MAX_UNITS,
    PAIR_BYTES,
    Line,
    Tariff,
    group_lines,
    pack_usage,
    total_nano,
    units_of,
    works_of,
)

Tariffs = Mapping[tuple[int, int], Tariff]
"""Tariffs by (catalogue, version)."""

MAX_TRANSACTION_GAS = 16_777_216
MAX_TRANSACTION_BYTES = 128 * 1024
OVERHEAD_BYTES = 1_024
"""Room for everything in a signed transaction but the packed usage: 6 words, signature, fees."""
MAX_USAGE_BYTES = MAX_TRANSACTION_BYTES - OVERHEAD_BYTES

BASE_GAS = 80_000
GROUP_GAS = 9_000
PAIR_GAS = 320
"""Upper bounds: a group touches a cold slot (measured 7,100); a pair is calldata, log and sum."""
CONTENT_SHARE = 90
"""Percent of a gas limit that batches are planned to fill."""


def lines_cost(lines: Iterable[Line]) -> tuple[int, int]:
    """Return (bytes, gas), both upper bounds, of reporting lines sorted by deal and kind."""
    size = gas = 0
    last = None
    for line in lines:
        more_bytes, more_gas = _line_cost(line, last)
        size, gas, last = size + more_bytes, gas + more_gas, line
    return size, BASE_GAS + gas


def split_lines(
    lines: Sequence[Line], *, gas_limit: int = MAX_TRANSACTION_GAS, max_bytes: int = MAX_USAGE_BYTES
) -> list[list[Line]]:
    """Return the lines, sorted, in runs that fit a transaction each, every line in exactly one.

    Lines of no units are left out. Raises InputError where a single line fits none.
    """
    gas_left = min(gas_limit, MAX_TRANSACTION_GAS) * CONTENT_SHARE // 100 - BASE_GAS
    runs: list[list[Line]] = []
    size = gas = 0
    for line in sorted(line for line in lines if line.units):
        last = runs[-1][-1] if runs else None
        more_bytes, more_gas = _line_cost(line, last)
        if not runs or size + more_bytes > max_bytes or gas + more_gas > gas_left:
            more_bytes, more_gas = _line_cost(line, None)
            if more_bytes > max_bytes or more_gas > gas_left:
                raise InputError(
                    f"work {line.catalogue}/{line.index} alone does not fit a transaction of"
                    f" {gas_limit:,} gas; use a chain with larger blocks"
                )
            runs.append([])
            size = gas = 0
        runs[-1].append(line)
        size, gas = size + more_bytes, gas + more_gas
    return runs


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch of one day that has no number yet; `total_nano` in nano-tokens."""

    day: int
    lines: tuple[Line, ...]
    total_nano: int

    @classmethod
    def of(cls, day: int, lines: Sequence[Line], tariffs: Tariffs) -> Draft:
        """Return lines of a day with what they cost at the tariffs of (catalogue, version)."""
        return cls(day, tuple(lines), total_nano(group_lines(lines), tariffs))

    @property
    def works(self) -> int:
        """How many works it is about."""
        return works_of(self.lines)

    @property
    def units(self) -> dict[str, int]:
        """Its units by kind, always all three."""
        return units_of(self.lines)

    @property
    def usage(self) -> bytes:
        """The packed usage that a transaction carries."""
        return pack_usage(group_lines(self.lines))

    @property
    def gas_bound(self) -> int:
        """The most gas that it can use."""
        return lines_cost(self.lines)[1]

    def halves(self, tariffs: Tariffs) -> tuple[Draft, Draft]:
        """Return it in two; InputError where a single line is left, which fits no transaction."""
        if len(self.lines) == 1:
            line = self.lines[0]
            raise InputError(
                f"work {line.catalogue}/{line.index} alone does not fit a transaction;"
                " use a chain with larger blocks"
            )
        middle = len(self.lines) // 2
        first, second = self.lines[:middle], self.lines[middle:]
        return Draft.of(self.day, first, tariffs), Draft.of(self.day, second, tariffs)


def drafts(day: int, lines: Sequence[Line], tariffs: Tariffs, *, gas_limit: int) -> list[Draft]:
    """Return a day's usage as batches that each fit a transaction by the bounds above."""
    runs = split_lines(lines, gas_limit=gas_limit)
    return [Draft.of(day, run, tariffs) for run in runs]


def fitted(
    draft: Draft, tariffs: Tariffs, gas_of: Callable[[Draft], int | None]
) -> list[tuple[Draft, int]]:
    """Return a draft with its gas; halved as often as `gas_of` says None: too large."""
    gas = gas_of(draft)
    if gas is not None:
        return [(draft, gas)]
    return [part for half in draft.halves(tariffs) for part in fitted(half, tariffs, gas_of)]


def _line_cost(line: Line, last: Line | None) -> tuple[int, int]:
    """Return the bytes and gas that a line adds after the line before it."""
    pairs = -(-line.units // MAX_UNITS)
    same = last is not None and _deal_and_kind(last) == _deal_and_kind(line)
    # The 65,535 pairs that a group can hold would not fit a transaction: no second head for them.
    heads = 0 if same else 1
    return heads * HEADER_BYTES + pairs * PAIR_BYTES, heads * GROUP_GAS + pairs * PAIR_GAS


def _deal_and_kind(line: Line) -> tuple[int, int, int]:
    return line.catalogue, line.version, line.kind
