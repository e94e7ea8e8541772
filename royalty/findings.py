"""What a log and the chain disagree on: one row a work, day and kind, out of two small tables.

Pure: integers in, rows out. Counting (rows to units) has happened before; reading the chain too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from royalty.money import format_nano
from royalty.usage import Kind, Tariff, WorkRef


class Reason(StrEnum):
    """Why a row is a finding; `MEANING` says it for people."""

    MISSING_ON_CHAIN = "missing_on_chain"
    NOT_IN_LOG = "not_in_log"
    UNDER_REPORTED = "under_reported"
    OVER_REPORTED = "over_reported"
    WRONG_DAY = "wrong_day"
    WRONG_DEAL = "wrong_deal"
    UNMATCHED_WORK = "unmatched_work"
    UNKNOWN_WORK = "unknown_work"
    RIVAL_CATALOGUE = "rival_catalogue"
    EVIDENCE_MISMATCH = "evidence_mismatch"
    EVIDENCE_REUSED = "evidence_reused"
    REPORTED_TWICE = "reported_twice"
    UNSETTLED = "unsettled"


MEANING: dict[Reason, str] = {
    Reason.MISSING_ON_CHAIN: "the log has it, the chain has nothing of it",
    Reason.NOT_IN_LOG: "the chain has it, the log has nothing of it",
    Reason.UNDER_REPORTED: "the log has more than the chain",
    Reason.OVER_REPORTED: "the chain has more than the log",
    Reason.WRONG_DAY: "the units stand on another day",
    Reason.WRONG_DEAL: "the units went to another deal than the one in force",
    Reason.UNMATCHED_WORK: "rows of a work that no accepted catalogue has, or no deal covers",
    Reason.UNKNOWN_WORK: "paid for an index that was never registered",
    Reason.RIVAL_CATALOGUE: "held: another registrant registered the same file earlier",
    Reason.EVIDENCE_MISMATCH: "the evidence is not what the batch committed to",
    Reason.EVIDENCE_REUSED: "two batches carry the same evidence",
    Reason.REPORTED_TWICE: "the same rows were reported in two batches",
    Reason.UNSETTLED: "in a tally's leaf that nobody has settled: credited when it is",
}


EXCESS = frozenset({Reason.OVER_REPORTED, Reason.NOT_IN_LOG})
"""The reasons of rows on which the chain has more than the log."""


class Cell(NamedTuple):
    """What is counted: one work, one UTC day (since 1970), one kind."""

    work: WorkRef
    day: int
    kind: Kind


class ChainLine(NamedTuple):
    """Units of one work that one batch reported, or holds unsettled, under one deal."""

    batch: int
    day: int
    work: WorkRef
    version: int
    kind: Kind
    units: int

    @property
    def cell(self) -> Cell:
        """Where these units stand."""
        return Cell(self.work, self.day, self.kind)


@dataclass(frozen=True, slots=True)
class Terms:
    """A deal, in force from `from_day` until before `until_day` (None: open)."""

    catalogue: int
    version: int
    from_day: int
    until_day: int | None
    tariff: Tariff

    def covers(self, day: int) -> bool:
        """Return whether the deal is in force on a day."""
        return self.from_day <= day and (self.until_day is None or day < self.until_day)


@dataclass(frozen=True, slots=True)
class Deals:
    """All deals of the catalogues concerned, found by version or by day."""

    terms: tuple[Terms, ...]
    _by_catalogue: dict[int, dict[int, Terms]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found: dict[int, dict[int, Terms]] = defaultdict(dict)
        for deal in self.terms:
            found[deal.catalogue][deal.version] = deal
        object.__setattr__(self, "_by_catalogue", dict(found))

    def get(self, catalogue: int, version: int) -> Terms | None:
        """Return one deal, or None."""
        return self._by_catalogue.get(catalogue, {}).get(version)

    def on(self, catalogue: int, day: int) -> Terms | None:
        """Return the deal in force on a day, or None."""
        deals = self._by_catalogue.get(catalogue, {}).values()
        return next((deal for deal in deals if deal.covers(day)), None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of reconciliation. Money is nano-tokens; None where there is none to name.

    `version` and `price_nano` are those of the deal in force on that day, or, where none is, of
    the deal that was credited. `difference_nano` = expected - credited: positive is owed. `batch`
    is the newest batch that reported the row.
    """

    reason: Reason
    platform: str
    catalogue: int | None
    work: str | None
    day: int | None
    kind: Kind | None
    version: int | None
    logged_units: int | None
    chain_units: int | None
    price_nano: int | None
    expected_nano: int | None
    credited_nano: int | None
    difference_nano: int | None
    batch: int | None


COLUMNS = tuple(Finding.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Context:
    """What explains a difference: deals, how many works each catalogue has, and works of one file.

    `held` are works that a rival registered earlier and that the platform has not accepted despite
    it; `twins` maps a work to all works (itself included) registered with the same fingerprint.
    """

    deals: Deals
    works: Mapping[int, int]
    held: Collection[WorkRef] = frozenset()
    twins: Mapping[WorkRef, frozenset[WorkRef]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Compared:
    """A cell with both sides' units and money."""

    cell: Cell
    logged: int
    chain: int
    expected: int
    credited: int
    version: int | None
    price: int | None
    batch: int | None
    misdealt: bool

    @property
    def missing(self) -> int:
        """Units that the chain lacks; negative where it has too many."""
        return self.logged - self.chain


def expected_nano(cell: Cell, units: int, deals: Deals) -> int:
    """Return what the units cost at the deal in force on their day; 0 where none is."""
    deal = deals.on(cell.work.catalogue, cell.day)
    return units * deal.tariff.price(cell.kind) if deal else 0


def credited_nano(line: ChainLine, deals: Deals) -> int:
    """Return what the chain credited for a line, at the deal that the batch named."""
    deal = deals.get(line.work.catalogue, line.version)
    return line.units * deal.tariff.price(line.kind) if deal else 0


def compare(
    platform: str,
    logged: Mapping[Cell, int],
    chain: Iterable[ChainLine],
    context: Context,
    pending: Iterable[ChainLine] = (),
) -> list[Finding]:
    """Return a row for each work, day and kind on which log and chain differ, sorted by them.

    `pending` are units of leaves that nobody has settled: what they explain of a cell is a row of its
    own, and the rest is compared as if the log had not held it. The rows' `difference_nano` sum to
    what the log is worth less what the chain credited, exactly.
    """
    lines = list(chain)
    waiting = explained(logged, lines, pending)
    rest = dict(logged)
    for line, units in waiting:
        rest[line.cell] = rest.get(line.cell, 0) - units
    compared = _compared(rest, lines, context.deals)
    differing = [row for row in compared if row.missing or row.misdealt or _unknown(row, context)]
    reasons = _reasons(differing, context)
    rows = [(row.cell, _finding(platform, row, reasons[row.cell])) for row in differing]
    rows += [
        (line.cell, _unsettled(platform, line, units, context.deals)) for line, units in waiting
    ]
    return [row for _, row in sorted(rows, key=lambda one: one[0])]


def explained(
    logged: Mapping[Cell, int], chain: Iterable[ChainLine], pending: Iterable[ChainLine]
) -> list[tuple[ChainLine, int]]:
    """Return each cell's pending units of a batch, with how many of them the chain lacks.

    The oldest batch explains first, and nothing is explained twice.
    """
    missing: Counter[Cell] = Counter(logged)
    for line in chain:
        missing[line.cell] -= line.units
    found = []
    for line in _by_batch(pending):
        units = max(0, min(line.units, missing[line.cell]))
        missing[line.cell] -= units
        found.append((line, units))
    return found


def _by_batch(lines: Iterable[ChainLine]) -> list[ChainLine]:
    """Return one line a batch and cell, sorted by batch; a leaf that can be paid is of the deal in force."""
    units: Counter[ChainLine] = Counter()
    for line in lines:
        units[line._replace(units=0)] += line.units
    return [line._replace(units=count) for line, count in sorted(units.items())]


def _unsettled(platform: str, line: ChainLine, units: int, deals: Deals) -> Finding:
    """Return the row of units that wait in a batch: nothing of them is on the chain yet."""
    waiting = _one_cell(line.cell, units, [], deals)
    row = _finding(platform, waiting, Reason.UNSETTLED)
    return replace(row, batch=line.batch)


def _compared(
    logged: Mapping[Cell, int], chain: Iterable[ChainLine], deals: Deals
) -> list[_Compared]:
    lines: dict[Cell, list[ChainLine]] = defaultdict(list)
    for line in chain:
        lines[line.cell].append(line)
    cells = sorted(set(lines) | {cell for cell, units in logged.items() if units})
    return [_one_cell(cell, logged.get(cell, 0), lines.get(cell, []), deals) for cell in cells]


def _one_cell(cell: Cell, logged: int, lines: list[ChainLine], deals: Deals) -> _Compared:
    in_force = deals.on(cell.work.catalogue, cell.day)
    credited_to = deals.get(cell.work.catalogue, lines[-1].version) if lines else None
    deal = in_force or credited_to
    return _Compared(
        cell=cell,
        logged=logged,
        chain=sum(line.units for line in lines),
        expected=expected_nano(cell, logged, deals),
        credited=sum(credited_nano(line, deals) for line in lines),
        version=deal.version if deal else None,
        price=deal.tariff.price(cell.kind) if deal else None,
        batch=max((line.batch for line in lines), default=None),
        misdealt=any(in_force is None or line.version != in_force.version for line in lines),
    )


def _unknown(row: _Compared, context: Context) -> bool:
    return row.chain > 0 and row.cell.work.index >= context.works.get(row.cell.work.catalogue, 0)


def _reasons(rows: list[_Compared], context: Context) -> dict[Cell, Reason]:
    """Return each row's reason: the first of these that explains it."""

    def same_file(row: _Compared) -> Hashable:
        twins = context.twins.get(row.cell.work, {row.cell.work})
        return min(twins), row.cell.day, row.cell.kind

    known = [row for row in rows if not _unknown(row, context)]
    other_deal = _explained(known, same_file)
    dealt = [row for row in known if row.cell not in other_deal and not row.misdealt]
    other_day = _explained(dealt, lambda row: (row.cell.work, row.cell.kind))
    reasons = {}
    for row in rows:
        if _unknown(row, context):
            reasons[row.cell] = Reason.UNKNOWN_WORK
        elif row.misdealt or row.cell in other_deal:
            reasons[row.cell] = Reason.WRONG_DEAL
        elif row.cell.work in context.held and row.missing > 0:
            reasons[row.cell] = Reason.RIVAL_CATALOGUE
        elif row.cell in other_day:
            reasons[row.cell] = Reason.WRONG_DAY
        else:
            reasons[row.cell] = _plain(row)
    return reasons


def _plain(row: _Compared) -> Reason:
    if not row.chain:
        return Reason.MISSING_ON_CHAIN
    if not row.logged:
        return Reason.NOT_IN_LOG
    return Reason.UNDER_REPORTED if row.missing > 0 else Reason.OVER_REPORTED


def _explained(rows: list[_Compared], place: Callable[[_Compared], Hashable]) -> set[Cell]:
    """Return the cells whose difference stands elsewhere in the same place.

    It must fit: either all of a place's differences cancel out, or one misses exactly as many
    units as another has too many (the nearest day first). Unequal numbers accuse nobody.
    """
    places: dict[Hashable, list[_Compared]] = defaultdict(list)
    for row in rows:
        if row.missing:
            places[place(row)].append(row)
    found: set[Cell] = set()
    for members in places.values():
        if not sum(row.missing for row in members):
            found.update(row.cell for row in members)
        else:
            found.update(_pairs(members))
    return found


def _pairs(rows: list[_Compared]) -> set[Cell]:
    surplus: dict[int, list[_Compared]] = defaultdict(list)
    for row in rows:
        if row.missing < 0:
            surplus[-row.missing].append(row)
    found: set[Cell] = set()
    for row in rows:
        candidates = surplus.get(row.missing, [])
        if row.missing > 0 and candidates:
            day = row.cell.day
            nearest = min(candidates, key=lambda other: (abs(other.cell.day - day), other.cell))
            candidates.remove(nearest)
            found.update((row.cell, nearest.cell))
    return found


def _finding(platform: str, row: _Compared, reason: Reason) -> Finding:
    return Finding(
        reason=reason,
        platform=platform,
        catalogue=row.cell.work.catalogue,
        work=str(row.cell.work),
        day=row.cell.day,
        kind=row.cell.kind,
        version=row.version,
        logged_units=row.logged,
        chain_units=row.chain,
        price_nano=row.price,
        expected_nano=row.expected,
        credited_nano=row.credited,
        difference_nano=row.expected - row.credited,
        batch=row.batch,
    )


def unmatched(platform: str, rows: Iterable[tuple[str, int, Kind, int]]) -> list[Finding]:
    """Return a finding for each (work as written, day, kind, rows); its money is empty."""
    return [
        _bare(Reason.UNMATCHED_WORK, platform, work=work, day=day, kind=kind, logged_units=count)
        for work, day, kind, count in rows
    ]


def about_batch(reason: Reason, platform: str, batch: int, day: int) -> Finding:
    """Return a finding about a batch as a whole: its evidence."""
    return _bare(reason, platform, batch=batch, day=day)


def _bare(reason: Reason, platform: str, **known: object) -> Finding:
    row: dict[str, object] = dict.fromkeys(COLUMNS)
    row.update(reason=reason, platform=platform, **known)
    return Finding(**row)  # type: ignore[arg-type]


def reported_twice(rows: Iterable[Finding], cells: Collection[Cell]) -> list[Finding]:
    """Return the rows with the reason of those that have too much on `cells` made `reported_twice`.

    `cells` are those whose rows, after the evidence, stand in two batches.
    """
    named = {(str(cell.work), cell.day, cell.kind) for cell in cells}
    return [
        replace(row, reason=Reason.REPORTED_TWICE)
        if row.reason in EXCESS and (row.work, row.day, row.kind) in named
        else row
        for row in rows
    ]


def reused_evidence(evidence: Mapping[tuple[str, int], bytes]) -> set[tuple[str, int]]:
    """Return the (platform, batch) pairs whose evidence another batch of the same platform carries too.

    Digests are public and posting is free: who copies another platform's accuses nobody by it.
    """
    times = Counter((platform, digest) for (platform, _), digest in evidence.items())
    return {batch for batch, digest in evidence.items() if times[batch[0], digest] > 1}


def shortfall_percent(logged_nano: int, credited: int) -> str | None:
    """Return 100 x (logged - credited) / logged to 4 decimals, None where nothing was logged.

    Exact integers, a half rounded away from zero; negative when too much was credited.

    >>> shortfall_percent(3, 2)
    '33.3333'
    """
    if not logged_nano:
        return None
    missing = logged_nano - credited
    scaled = (2 * 1_000_000 * abs(missing) + logged_nano) // (2 * logged_nano)
    sign = "-" if missing < 0 and scaled else ""
    return f"{sign}{scaled // 10_000}.{scaled % 10_000:04d}"


def is_over(logged_nano: int, credited: int, threshold: Fraction) -> bool:
    """Return whether the shortfall, before rounding, is above a threshold in percent."""
    return logged_nano > 0 and Fraction(100 * (logged_nano - credited), logged_nano) > threshold


def summary(rows: Iterable[Finding]) -> list[tuple[Reason, int, int]]:
    """Return (reason, rows, difference in nano-tokens) in the order of `Reason`."""
    count: Counter[Reason] = Counter()
    difference: Counter[Reason] = Counter()
    for row in rows:
        count[row.reason] += 1
        difference[row.reason] += row.difference_nano or 0
    return [(reason, count[reason], difference[reason]) for reason in Reason if count[reason]]


def sentence(difference_nano: int, findings: int, symbol: str) -> str:
    """Return what a reconciliation means, in one sentence for a person."""
    if not findings:
        return "Log and chain agree, to the last nano-token."
    amount = f"{format_nano(abs(difference_nano))} {symbol}"
    if difference_nano > 0:
        return f"The log is worth {amount} more than the chain credited."
    if difference_nano < 0:
        return f"The chain credited {amount} more than the log is worth."
    return "The totals agree, but the rows below do not."
