"""What a reconciliation's totals consist of, by day and by work, and what it stands on. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from royalty.days import Period, format_day
from royalty.findings import (
    Cell,
    ChainLine,
    Deals,
    Finding,
    Reason,
    credited_nano,
    expected_nano,
)
from royalty.usage import Kind, WorkRef

FILES_NAMED = 20  # of a log, in the command that repeats it
FILE_OPTIONS = ("--works", "--columns", "--policy", "--evidence")

K = TypeVar("K", int, WorkRef)
Sums = dict[K, "Sum"]


@dataclass(slots=True)
class Sum:
    """Units and money of some part of both sides; money is nano-tokens."""

    units_logged: dict[str, int] = field(default_factory=lambda: _no_units())
    units_chain: dict[str, int] = field(default_factory=lambda: _no_units())
    logged_nano: int = 0
    credited_nano: int = 0

    @property
    def difference_nano(self) -> int:
        """What the log is worth less what was credited."""
        return self.logged_nano - self.credited_nano

    @property
    def differs(self) -> bool:
        """Whether the two sides have other units or other money."""
        return bool(self.difference_nano) or self.units_logged != self.units_chain

    def add(self, other: Sum) -> None:
        """Add another part to this one."""
        for kind in self.units_logged:
            self.units_logged[kind] += other.units_logged[kind]
            self.units_chain[kind] += other.units_chain[kind]
        self.logged_nano += other.logged_nano
        self.credited_nano += other.credited_nano

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return {
            "units_logged": dict(self.units_logged),
            "units_chain": dict(self.units_chain),
            "logged_nano": self.logged_nano,
            "credited_nano": self.credited_nano,
            "difference_nano": self.difference_nano,
        }


def _no_units() -> dict[str, int]:
    return {kind.word: 0 for kind in Kind}


@dataclass(frozen=True, slots=True)
class DayRow:
    """Both sides of one UTC day."""

    day: int
    sum: Sum

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return {"day": format_day(self.day), **self.sum.document()}


@dataclass(frozen=True, slots=True)
class WorkRow:
    """Both sides of one work; `title` is the registrant's own word, '' where it is not known."""

    work: WorkRef
    title: str
    sum: Sum

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return {"work": str(self.work), "title": self.title, **self.sum.document()}


def by_day(
    logged: Mapping[Cell, int], lines: Iterable[ChainLine], deals: Deals, period: Period
) -> tuple[DayRow, ...]:
    """Return a row for each day of the period, days of nothing too."""
    sums = _sums(logged, lines, deals, lambda cell: cell.day)
    return tuple(DayRow(day, sums[day] if day in sums else Sum()) for day in period)


def by_work(
    logged: Mapping[Cell, int], lines: Iterable[ChainLine], deals: Deals
) -> tuple[WorkRow, ...]:
    """Return a row for each work that either side has, those of most money first, without titles."""
    sums = _sums(logged, lines, deals, lambda cell: cell.work)
    return tuple(WorkRow(work, "", sums[work]) for work in sorted(sums, key=_most_first(sums)))


def largest(rows: Iterable[Finding], most: int) -> list[Finding]:
    """Return at most so many findings of each reason, those of the largest difference, then of most units."""
    members: dict[Reason, list[Finding]] = defaultdict(list)
    for row in rows:
        members[row.reason].append(row)
    return [row for found in members.values() for row in sorted(found, key=_weight)[:most]]


def _weight(row: Finding) -> tuple[int, int]:
    return -abs(row.difference_nano or 0), -(row.logged_units or 0)


def _most_first(sums: Sums[WorkRef]) -> Callable[[WorkRef], tuple[int, WorkRef]]:
    return lambda work: (-max(sums[work].logged_nano, sums[work].credited_nano), work)


def _sums(
    logged: Mapping[Cell, int],
    lines: Iterable[ChainLine],
    deals: Deals,
    place: Callable[[Cell], K],
) -> Sums[K]:
    sums: Sums[K] = defaultdict(Sum)
    for cell, units in logged.items():
        found = sums[place(cell)]
        found.units_logged[cell.kind.word] += units
        found.logged_nano += expected_nano(cell, units, deals)
    for line in lines:
        found = sums[place(line.cell)]
        found.units_chain[line.kind.word] += line.units
        found.credited_nano += credited_nano(line, deals)
    return sums


@dataclass(frozen=True, slots=True)
class SourceUsed:
    """One file of the log: its name without its folder, SHA-256 of its decompressed content, rows."""

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class BatchUsed:
    """One batch that was compared; `evidence` is the digest that it committed to (`0x...`)."""

    batch: int
    day: int
    evidence: str
    tally: bool


@dataclass(frozen=True, slots=True)
class Basis:
    """What a reconciliation stands on: the chain at one block, the files, the rules, how to repeat it.

    `columns` and `works_map` are digests, None where none was given. The folder where it was made may know
    more: `folder_ids` ids of works besides the map, `accepted` catalogues, which then alone count (0:
    every catalogue does), and `folder_released` spikes of these days that a person let go. `evidence` says
    whether a folder of evidence was given and checked. `token` is the token's own word for itself. `command` names
    files without their folders: nothing here tells where it was run.
    """

    chain_id: int
    contract: str
    token: str
    block: int
    block_hash: str
    block_time: int
    policy: Mapping[str, Any]
    policy_digest: str
    columns: str | None
    works_map: str | None
    folder_ids: int
    accepted: int
    sources: tuple[SourceUsed, ...]
    batches: tuple[BatchUsed, ...]
    evidence: bool
    threshold: str
    command: tuple[str, ...]
    folder_released: int = 0

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "chain_id": self.chain_id,
            "contract": self.contract,
            "token": self.token,
            "block_hash": self.block_hash,
            "policy": {**self.policy, "digest": self.policy_digest},
            "columns_digest": self.columns,
            "works_digest": self.works_map,
            "folder_ids": self.folder_ids,
            "accepted_catalogues": self.accepted,
            "folder_released": self.folder_released,
            "sources": [
                {"name": one.name, "sha256": one.sha256, "rows": one.rows} for one in self.sources
            ],
            "batches": [
                {
                    "batch": one.batch,
                    "day": format_day(one.day),
                    "evidence": one.evidence,
                    "tally": one.tally,
                }
                for one in self.batches
            ],
            "evidence_checked": self.evidence,
            "threshold": self.threshold,
        }


def command_of(
    sources: Iterable[SourceUsed],
    period: Period,
    options: Mapping[str, str | Path | None],
    contract: str,
) -> tuple[str, ...]:
    """Return the words that repeat a reconciliation anywhere: files without folders, no address of a node.

    Of a log of many files `LOG...` stands for them all.
    """
    names = [f"./{one.name}" if one.name.startswith("-") else one.name for one in sources]
    words = ["royalty", "reconcile", *(names if len(names) <= FILES_NAMED else ["LOG..."])]
    words += ["--since", format_day(period.since), "--until", format_day(period.until)]
    for option, value in options.items():
        if value is not None:
            words += [option, Path(value).name if option in FILE_OPTIONS else str(value)]
    return (*words, "--contract", contract, "--rpc", "URL")
