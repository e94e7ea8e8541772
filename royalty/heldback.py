"""What a policy holds back from a report until a person has looked: the spikes of a log against the chain.

Pure: integers in, rows out. A spike that was let go is due as any other usage. A release shows in the chain
itself, as more than the policy would have sent; in evidence; or in the platform's own store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from royalty.days import format_day
from royalty.findings import Cell, ChainLine, Deals
from royalty.spikes import Release, usual_most
from royalty.terms import Held
from royalty.usage import Kind, WorkRef

if TYPE_CHECKING:
    from royalty.logs import Policy

NAME = Held.SPIKE_HOLD.value
MEANING = "far more than usual: held until a person lets it go"

_Subject = tuple[WorkRef, Kind]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Units of a work, day and kind that are held: no difference, and nobody's fault. Money is nano-tokens.

    The log has `logged_units`, of which `due_units` need no person; the chain, and leaves that nobody has
    settled, have `reported_units`.
    """

    work: WorkRef
    day: int
    kind: Kind
    version: int
    held_units: int
    logged_units: int
    reported_units: int
    price_nano: int
    reason: Held = Held.SPIKE_HOLD

    @property
    def cell(self) -> Cell:
        """Where these units stand."""
        return Cell(self.work, self.day, self.kind)

    @property
    def due_units(self) -> int:
        """What is to be reported although nobody has let the rest go."""
        return self.logged_units - self.held_units

    @property
    def amount_nano(self) -> int:
        """What the units that are held cost."""
        return self.held_units * self.price_nano

    def row(self) -> dict[str, Any]:
        """Return the row of tables and of the JSON document."""
        return {
            "reason": self.reason.value,
            "catalogue": self.work.catalogue,
            "work": str(self.work),
            "day": format_day(self.day),
            "kind": self.kind.word,
            "version": self.version,
            "held_units": self.held_units,
            "due_units": self.due_units,
            "logged_units": self.logged_units,
            "reported_units": self.reported_units,
            "price_nano": self.price_nano,
            "amount_nano": self.amount_nano,
        }


COLUMNS = (
    "reason",
    "catalogue",
    "work",
    "day",
    "kind",
    "version",
    "held_units",
    "due_units",
    "logged_units",
    "reported_units",
    "price_nano",
    "amount_nano",
)


def hold_back(
    logged: Mapping[Cell, int],
    reported: Iterable[ChainLine],
    policy: Policy,
    deals: Deals,
    *,
    released: Collection[Release] = (),
    apart: Collection[WorkRef] = (),
) -> tuple[HeldBack, ...]:
    """Return what a policy's spike hold keeps back of a log, by day, work and kind.

    `reported` are the units of these days and of the days before that the policy looks at, those of leaves
    that nobody has settled among them. `released` are spikes that a person let go; works that are held
    `apart`, for another reason, are left to it. A day counts as usual with what was reported of it, or with
    what of its log was due where that is more: so who reports too little is allowed no less.
    """
    if policy.spike_multiple is None:
        return ()
    book = _Reported.of(reported)
    due: dict[_Subject, dict[int, int]] = defaultdict(dict)
    found = []
    for cell in sorted(logged, key=lambda one: (one.day, one)):
        units, subject = logged[cell], (cell.work, cell.kind)
        if cell.work in apart:
            continue
        let_go = (cell.day, cell.work) in released
        usual = book.usual(cell, policy, due[subject])
        allowed = units if let_go else _allowed(units, book.units(cell), usual)
        due[subject][cell.day] = allowed
        if allowed < units:
            found.append(_held(cell, units, allowed, book.units(cell), deals))
    return tuple(found)


def without(logged: Mapping[Cell, int], held: Iterable[HeldBack]) -> dict[Cell, int]:
    """Return the units of a log that are due: all but those that are held."""
    due = dict(logged)
    for one in held:
        due[one.cell] -= one.held_units
    return due


def most_held(held: Iterable[HeldBack], most: int) -> list[HeldBack]:
    """Return at most so many of what is held, those of most money first."""
    return sorted(held, key=lambda one: (-one.amount_nano, one.day, one.work))[:most]


def _allowed(logged: int, reported: int, usual: tuple[int, int]) -> int:
    """Return how many units of a log are due, where at most from `usual[0]` to `usual[1]` are usual.

    What is usual moves when days before are reported later: neither end is held against anybody. More than
    that is reported only of a spike that was let go, which then is due as a whole.
    """
    least, most = usual
    return logged if reported > most else min(logged, max(least, reported))


def _held(cell: Cell, logged: int, due: int, reported: int, deals: Deals) -> HeldBack:
    deal = deals.on(cell.work.catalogue, cell.day)
    assert deal is not None, "rows of a day without a deal are unmatched"
    return HeldBack(
        work=cell.work,
        day=cell.day,
        kind=cell.kind,
        version=deal.version,
        held_units=logged - due,
        logged_units=logged,
        reported_units=reported,
        price_nano=deal.tariff.price(cell.kind),
    )


@dataclass(frozen=True, slots=True)
class _Reported:
    """Units that were reported of each work and kind, by day and batch."""

    lines: Mapping[_Subject, Mapping[int, Mapping[int, int]]]

    @classmethod
    def of(cls, lines: Iterable[ChainLine]) -> _Reported:
        found: dict[_Subject, dict[int, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
        for line in lines:
            batches = found[line.work, line.kind][line.day]
            batches[line.batch] = batches.get(line.batch, 0) + line.units
        return cls(found)

    def _batches(self, subject: _Subject, day: int) -> Mapping[int, int]:
        return self.lines.get(subject, {}).get(day, {})

    def units(self, cell: Cell) -> int:
        """Return what was reported of a cell in all."""
        return sum(self._batches((cell.work, cell.kind), cell.day).values())

    def usual(self, cell: Cell, policy: Policy, due: Mapping[int, int]) -> tuple[int, int]:
        """Return the least and the most that was usual: now, and when the last batch of the cell was made."""
        subject = cell.work, cell.kind
        days = range(cell.day - policy.spike_days, cell.day)
        bounds = [usual_most(policy, self._now(subject, days, due))]
        if batches := self._batches(subject, cell.day):
            bounds.append(usual_most(policy, self._until(subject, days, due, max(batches))))
        return min(bounds), max(bounds)

    def _now(self, subject: _Subject, days: range, due: Mapping[int, int]) -> Iterator[int]:
        for day in days:
            yield max(sum(self._batches(subject, day).values()), due.get(day, 0))

    def _until(
        self, subject: _Subject, days: range, due: Mapping[int, int], last: int
    ) -> Iterator[int]:
        """Yield what was reported of each day up to a batch, that one included: a tally has many days.

        What was reported later was not known then. What is due and was never reported is no reason to hold.
        """
        for day in days:
            batches = self._batches(subject, day)
            lacks = sum(batches.values()) < due.get(day, 0)
            known = sum(units for batch, units in batches.items() if batch <= last)
            yield due[day] if lacks else known
