"""A platform's log against the chain: what was counted, what was credited, and where they differ.

Catalogues that count: those that the platform has accepted, where this folder keeps its licences;
in an auditor's own folder, every catalogue of the chain.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty import findings as pure
from royalty import heldback
from royalty.breakdown import (
    Basis,
    BatchUsed,
    DayRow,
    SourceUsed,
    WorkRow,
    by_day,
    by_work,
    command_of,
    largest,
)
from royalty.catalogues import Deal, deals_of
from royalty.days import Period, format_day
from royalty.errors import InputError
from royalty.findings import Cell, ChainLine, Context, Deals, Finding, Reason
from royalty.heldback import HeldBack, hold_back, most_held
from royalty.index.rows import Rows
from royalty.money import counted as counted_of
from royalty.money import format_nano
from royalty.openleaves import DataFiles, Opened, open_tally
from royalty.proof import Batch, Known, check, need_folder, read_manifests, released_in
from royalty.questions import Day, Logs, Question, map_document, read_question
from royalty.repeated import repeated_cells
from royalty.tallybook import Tally, lines_of_leaves, read_tallies
from royalty.tallybook import terms_of as leaf_terms
from royalty.usage import Kind, WorkRef, lines_of, unpack_usage
from royalty.works import Registration, notes, registrations_of, rivals_among, titles
from royalty.worksmap import WorksMap

if TYPE_CHECKING:
    from royalty.audit import Figures, Solvency
    from royalty.client import Royalty
    from royalty.index.reader import Snapshot
    from royalty.index.tables import ChainEvent
    from royalty.logs import Count, Policy, WorkTable
    from royalty.spikes import Release

DEAL_EVENTS = ("CatalogueOpened", "DealAmended")
NO_EVIDENCE = bytes(32)
TITLED = 100  # works of most money, and findings of each reason, whose titles are looked up


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a log and the chain say of one platform over a period; `findings` is where they differ.

    Money is nano-tokens. `unpaid_nano` (accrued and balances of the deals concerned) and `solvent` are
    of block `block`, and no findings. `held` is what the policy keeps back until a person has looked: no
    difference, and not in `units_logged` and `logged_nano`. `basis` is what it stands on, `days` and `works`
    what the totals consist of. `notes` say in words what is wrong with evidence.
    """

    platform: str
    period: Period
    block: int
    rows: int
    qualified: int
    excluded: Mapping[str, int]
    units_logged: Mapping[str, int]
    units_chain: Mapping[str, int]
    logged_nano: int
    credited_nano: int
    over_threshold: bool
    unpaid_nano: int
    solvent: bool
    findings: tuple[Finding, ...]
    basis: Basis
    days: tuple[DayRow, ...]
    works: tuple[WorkRow, ...]
    notes: tuple[str, ...] = ()
    held: tuple[HeldBack, ...] = ()

    @property
    def units_held(self) -> dict[str, int]:
        """What the policy holds back, by kind."""
        return _units((one.kind, one.held_units) for one in self.held)

    @property
    def held_amount_nano(self) -> int:
        """What the policy holds back is worth."""
        return sum(one.amount_nano for one in self.held)

    @property
    def to_look_at(self) -> bool:
        """Whether a person has to look: at findings, or at what is held for one."""
        return bool(self.findings or self.held)

    @property
    def difference_nano(self) -> int:
        """What the log is worth less what was credited; the findings' differences sum to it."""
        return self.logged_nano - self.credited_nano

    @property
    def shortfall_percent(self) -> str | None:
        """100 x difference / logged, 4 decimals, a half away from zero; None where nothing is logged."""
        return pure.shortfall_percent(self.logged_nano, self.credited_nano)

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return {
            "platform": self.platform,
            "since": format_day(self.period.since),
            "until": format_day(self.period.until),
            "block": self.block,
            "rows": self.rows,
            "qualified": self.qualified,
            "excluded": dict(self.excluded),
            "units_logged": dict(self.units_logged),
            "units_chain": dict(self.units_chain),
            "units_held": self.units_held,
            "logged_nano": self.logged_nano,
            "credited_nano": self.credited_nano,
            "difference_nano": self.difference_nano,
            "held_amount_nano": self.held_amount_nano,
            "shortfall_percent": self.shortfall_percent,
            "over_threshold": self.over_threshold,
            "unpaid_nano": self.unpaid_nano,
            "solvent": self.solvent,
            **self.basis.document(),
            "days": [row.document() for row in self.days],
            "works": [row.document() for row in self.works],
            "findings": self.table().to_list(),
            "held": self.held_table().to_list(),
        }

    def table(self) -> Rows:
        """Return the findings as rows: `.to_list()`, `.to_arrow()`, `.to_csv(path)`, ..."""
        return Rows(pure.COLUMNS, tuple(_row(finding) for finding in self.findings))

    def held_table(self) -> Rows:
        """Return what is held as rows: `.to_list()`, `.to_arrow()`, `.to_csv(path)`, ..."""
        return Rows(heldback.COLUMNS, tuple(one.row() for one in self.held))

    def write(self, folder: str | Path) -> list[Path]:
        """Write findings, and what a policy with a hold holds, as CSV and Parquet each; return the paths."""
        tables = {"findings": self.table()}
        if "spike" in self.basis.policy:
            tables["held"] = self.held_table()
        paths: list[Path] = []
        for name, table in tables.items():
            paths += [Path(folder) / f"{name}.csv", Path(folder) / f"{name}.parquet"]
            table.to_csv(paths[-2])
            table.to_parquet(paths[-1])
        return paths

    def to_html(self, path: str | Path) -> Path:
        """Write it as one page for people (docs/pages.md) and return its path.

        Raises InputError where the file cannot be written.
        """
        from royalty.pages import reconciliation_page, write_page

        return write_page(path, reconciliation_page(self))


def _row(finding: Finding) -> dict[str, Any]:
    row = {name: getattr(finding, name) for name in pure.COLUMNS}
    row["reason"] = finding.reason.value
    row["day"] = None if finding.day is None else format_day(finding.day)
    row["kind"] = None if finding.kind is None else finding.kind.word
    return row


# --- out of events, pure ---


def batches_of(
    events: Iterable[ChainEvent], tallies: Iterable[Tally], period: Period
) -> list[Batch]:
    """Return the batches that are known to hold usage of a period, of all platforms, in order.

    Of a tally that is known of its last day, and of those days whose leaves were settled or void.
    """
    reported = [(event.order, _batch(event)) for event in events if event.args["day"] in period]
    settled = [
        (tally.posted.order, tally_batch(tally, period))
        for tally in tallies
        if tally.day >= period.since and any(day in period for day in tally.days())
    ]
    return [batch for _, batch in sorted((*reported, *settled), key=lambda one: one[0])]


def _batch(event: ChainEvent) -> Batch:
    args = event.args
    lines = tuple(
        ChainLine(
            args["batch"],
            args["day"],
            WorkRef(line.catalogue, line.index),
            line.version,
            line.kind,
            line.units,
        )
        for line in lines_of(unpack_usage(args["usage"]))
        if line.units
    )
    return Batch(
        args["platform"], args["batch"], args["day"], args["evidence"], args["usage"], lines
    )


def tally_batch(tally: Tally, period: Period) -> Batch:
    """Return a tally as a batch, with what was settled of a period."""
    lines = tuple(
        ChainLine(
            tally.batch,
            line.day,
            WorkRef(line.catalogue, line.index),
            line.version,
            line.kind,
            line.units,
        )
        for line in lines_of_leaves(event.args["leaf"] for event in tally.paid)
        if line.day in period and line.units
    )
    evidence = tally.posted.args["evidence"]
    return Batch(tally.platform, tally.batch, tally.day, evidence, b"", lines, tally)


def may_touch(tally: Tally, period: Period) -> bool:
    """Return whether leaves that nobody has settled may hold usage of a period."""
    return tally.unsettled > 0 and tally.day >= period.since


def only_platform(platforms: Iterable[str], period: Period) -> str:
    """Return the one platform that reported usage of the period; InputError names them otherwise."""
    found = sorted(set(platforms))
    days = f"{format_day(period.since)} to {format_day(period.until)}"
    if not found:
        raise InputError(f"no platform has reported usage of {days}; name one with --platform")
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (" and more" if len(found) > 5 else "")
        raise InputError(
            f"{len(found)} platforms have reported usage of {days}: {shown}; name one with --platform"
        )
    return found[0]


def works_registered(registrations: Iterable[Registration]) -> dict[int, int]:
    """Return how many works each catalogue has."""
    count: dict[int, int] = defaultdict(int)
    for one in registrations:
        count[one.work.catalogue] = max(count[one.work.catalogue], one.work.index + 1)
    return dict(count)


def twins_of(registrations: Iterable[Registration]) -> dict[WorkRef, frozenset[WorkRef]]:
    """Return, for each work whose file another catalogue has too, all works of that file."""
    same: dict[str, set[WorkRef]] = defaultdict(set)
    for one in registrations:
        same[one.fingerprint].add(one.work)
    return {
        work: frozenset(works)
        for works in same.values()
        if len({work.catalogue for work in works}) > 1
        for work in works
    }


def terms_of(deals: Iterable[Deal]) -> Deals:
    """Return the deals as findings want them."""
    return Deals(
        tuple(
            pure.Terms(deal.catalogue, deal.version, deal.from_day, deal.until_day, deal.tariff)
            for deal in deals
        )
    )


def concerned(
    cells: Iterable[Cell], lines: Iterable[ChainLine], deals: Deals
) -> set[tuple[int, int]]:
    """Return the deals that were credited, and those in force where the log has usage."""
    credited = {(line.work.catalogue, line.version) for line in lines}
    due = (deals.on(cell.work.catalogue, cell.day) for cell in cells)
    return credited | {(deal.catalogue, deal.version) for deal in due if deal is not None}


def parse_threshold(text: str | int) -> Fraction:
    """Return a threshold in percent, exactly; InputError where it is no decimal of 0 or more."""
    number = Fraction(str(text)) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,18})?", str(text)) else None
    if number is None:
        raise InputError(f"--threshold '{str(text)[:40]}' is not a percentage; write for example 3")
    return number


def _units(pairs: Iterable[tuple[Kind, int]]) -> dict[str, int]:
    units = {kind.word: 0 for kind in Kind}
    for kind, count in pairs:
        units[kind.word] += count
    return units


# --- the noun ---

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Book:
    """What the chain says that a reconciliation needs, all of one snapshot."""

    snapshot: Snapshot
    period: Period
    platform: str
    batches: tuple[Batch, ...]
    tallies: tuple[Tally, ...]
    deals: tuple[Deal, ...]
    terms: Deals
    registrations: tuple[Registration, ...]
    works: Mapping[int, int]

    @property
    def lines(self) -> list[ChainLine]:
        """Everything that the platform reported for the period."""
        return [line for batch in self.batches for line in batch.lines]


def reconcile(
    session: Royalty,
    logs: Logs,
    *,
    since: Day,
    until: Day,
    works: str | Path | None = None,
    columns: str | Path | None = None,
    policy: str | Path | None = None,
    separator: str | None = None,
    format: str | None = None,
    memory: str | None = None,
    platform: str | None = None,
    evidence: str | Path | None = None,
    threshold: str | int = 3,
    progress: Progress | None = None,
    engine: str = "duckdb",
    master: str | None = None,
) -> Reconciliation:
    """Return what a log and the chain differ in, over UTC days `since` to `until`, both inclusive.

    `works` is a map (`platform_id,work`), `platform` an address or account name (default: the only
    one that reported usage of the period), `evidence` the folder that `usage report --evidence`
    wrote; data of tallies may lie there, or in the platform's own folder. Amounts are ints of
    nano-tokens. `engine` counts: `duckdb` here, or `spark` on `master`. Raises InputError for what is
    given, ChainError where the node does not answer.

    >>> royalty.reconcile("views/*.parquet", since="2026-11-01", until="2026-11-30")  # doctest: +SKIP
    """
    from royalty.audit import solvency_at
    from royalty.logs import counter

    limit = parse_threshold(threshold)
    count = counter(engine, master)
    question = read_question(
        logs,
        since=since,
        until=until,
        works=works,
        columns=columns,
        policy=policy,
        separator=separator,
        format=format,
        memory=memory,
    )
    if evidence is not None:
        need_folder(Path(evidence))
    book = read_book(session, question.period, platform)
    now = solvency_at(session, book.snapshot)  # before a long count: nodes forget old state
    matcher = matcher_of(session, book, question.works_map)
    counted = count(
        question.sources,
        question.period,
        matcher,
        question.policy,
        memory=question.memory,
        progress=progress,
    )
    logged = {
        Cell(WorkRef(row.catalogue, row.index), row.day, row.kind): row.units
        for row in counted.units
    }
    opened = _open_tallies(session, book, evidence)
    pending = [line for one in opened.values() for line in one.lines]
    batches = _with_opened(book, opened)
    manifests = {} if evidence is None else read_manifests(Path(evidence), batches)
    context = _context(session, book)
    let_go = folder_releases(session, book, question.policy)
    held, doubts = held_by(
        book,
        question.policy,
        logged,
        pending,
        DataFiles(_places(session, book, evidence)),
        released=let_go | released_in(batches, manifests),
        apart=context.held,
    )
    due = heldback.without(logged, held)
    rows = pure.compare(book.platform, due, book.lines, context, pending)
    rows += pure.unmatched(book.platform, counted.unmatched)
    notes = [*_unlisted(counted), *_notes(book, opened, due, pending), *doubts]
    wrong = [
        (tally_batch(tally, book.period), why)
        for tally in book.tallies
        for why in opened[tally.batch].wrong
    ]
    if evidence is not None:
        known = _known(session, book, counted, question.policy_document.digest)
        checked = check(batches, manifests, known)
        again = repeated_cells(rows, batches, checked.sources, counted.sources, matcher)
        rows = pure.reported_twice(rows, checked.twice | again)
        wrong += checked.wrong
    rows += _mismatches(wrong)
    notes += [f"batch {batch.batch}: {why}" for batch, why in wrong]
    rows += _reused(book)
    rows += _unsettled(book, opened)
    options = {
        "--works": works,
        "--columns": columns,
        "--policy": policy,
        "--evidence": evidence,
        "--separator": separator,
        "--format": format,
    }
    basis = _basis(session, book, question, counted, options, str(threshold), len(let_go))
    return _result(session, book, now, counted, due, rows, limit, tuple(notes), basis, held)


def folder_releases(session: Royalty, book: _Book, policy: Policy) -> frozenset[Release]:
    """Return the spikes of a period that were let go in this folder's own store of the platform."""
    from royalty.store import STORE, UsageStore

    if policy.spike_multiple is None:
        return frozenset()
    every = UsageStore(session.platform_dir(book.platform) / STORE).released()
    return frozenset(one for one in every if one[0] in book.period)


def held_by(
    book: _Book,
    policy: Policy,
    logged: Mapping[Cell, int],
    pending: Iterable[ChainLine],
    files: DataFiles,
    *,
    released: Collection[Release],
    apart: Collection[WorkRef] = (),
) -> tuple[tuple[HeldBack, ...], list[str]]:
    """Return what a policy's spike hold keeps back of a log, and in words what may make it less.

    `pending` are units of the period in leaves that nobody has settled; `files` may be data of tallies. For
    what is usual the days before the period are looked at too. See `royalty.heldback.hold_back`.
    """
    if policy.spike_multiple is None:
        return (), []
    before, notes = _reported_before(book, policy, files)
    reported = [*before, *book.lines, *pending]
    held = hold_back(logged, reported, policy, book.terms, released=released, apart=apart)
    return held, notes if held else []


def _reported_before(
    book: _Book, policy: Policy, files: DataFiles
) -> tuple[list[ChainLine], list[str]]:
    """Return what the platform reported of the days before a period that its policy looks at, and notes."""
    if not book.period.since:
        return [], []
    days = Period(max(0, book.period.since - policy.spike_days), book.period.since - 1)
    batches = batches_of(book.snapshot.events("UsageReported"), book.tallies, days)
    lines = [line for one in batches if one.platform == book.platform for line in one.lines]
    deals = {deal.key: terms for deal in book.deals if (terms := leaf_terms(deal))}
    notes = []
    for tally in book.tallies:
        if may_touch(tally, days):
            found = open_tally(tally, files, deals, days)
            lines += found.lines
            if not found.known:
                notes.append(
                    f"batch {tally.batch}: what waits in its unsettled leaves, of days before too, may make"
                    " more usual than is known here, and less held; its data are not at hand"
                )
    return lines, notes


def _open_tallies(session: Royalty, book: _Book, evidence: str | Path | None) -> dict[int, Opened]:
    """Return what is known of each tally's open leaves, by batch, from evidence and this folder's data."""
    given = [] if evidence is None else [Path(evidence)]
    every, theirs = DataFiles(_places(session, book, evidence)), DataFiles(given)
    deals = {deal.key: terms for deal in book.deals if (terms := leaf_terms(deal))}
    touched = {batch.batch for batch in book.batches}
    opened = {}
    for tally in book.tallies:
        if may_touch(tally, book.period):
            opened[tally.batch] = open_tally(tally, every, deals, book.period)
        elif tally.batch in touched:
            opened[tally.batch] = open_tally(tally, theirs, deals, book.period)
        else:
            opened[tally.batch] = Opened(True)
    return opened


def _places(session: Royalty, book: _Book, evidence: str | Path | None) -> list[Path]:
    """Return the folders where data of tallies may lie: that of evidence, and the platform's own."""
    given = [] if evidence is None else [Path(evidence)]
    return [*given, session.platform_dir(book.platform) / "tallies"]


def _with_opened(book: _Book, opened: Mapping[int, Opened]) -> list[Batch]:
    """Return the batches of the period, those tallies among them of which only data say that they are."""
    known = {batch.batch for batch in book.batches}
    more = [
        tally_batch(tally, book.period)
        for tally in book.tallies
        if opened[tally.batch].days and tally.batch not in known
    ]
    return [*book.batches, *more]


def _mismatches(wrong: Iterable[tuple[Batch, str]]) -> list[Finding]:
    """Return one finding a batch, whatever number of things is wrong with its evidence."""
    batches = {batch.batch: batch for batch, _ in wrong}
    return [_about(Reason.EVIDENCE_MISMATCH, batch) for batch in batches.values()]


def _unsettled(book: _Book, opened: Mapping[int, Opened]) -> list[Finding]:
    """Return the tallies that may hold usage of the period in leaves of which nothing is at hand."""
    return [
        pure.about_batch(Reason.UNSETTLED, tally.platform, tally.batch, tally.day)
        for tally in book.tallies
        if may_touch(tally, book.period) and not opened[tally.batch].known
    ]


def _notes(
    book: _Book,
    opened: Mapping[int, Opened],
    logged: Mapping[Cell, int],
    pending: Iterable[ChainLine],
) -> list[str]:
    """Return in words what open leaves are worth that no row can say."""
    notes = []
    for tally in book.tallies:
        found = opened[tally.batch]
        notes += [f"batch {tally.batch}: {note}" for note in found.notes]
        if not found.known and may_touch(tally, book.period):
            leaves = counted_of(tally.unsettled, "leaf", "leaves")
            notes.append(
                f"batch {tally.batch}: {format_nano(tally.unsettled_nano)} tokens in {leaves} are unsettled,"
                " and its data are not at hand; give them with --evidence"
            )
    more: Counter[int] = Counter()
    for line, units in pure.explained(logged, book.lines, pending):
        more[line.batch] += line.units - units
    notes += [
        f"batch {batch}: its unsettled leaves hold {counted_of(units, 'unit')} more than the log"
        for batch, units in sorted(more.items())
        if units
    ]
    return notes


def read_book(session: Royalty, period: Period, platform: str | None) -> _Book:
    from royalty import index

    named = None if platform is None else session.address(platform)
    snapshot = index.snapshot(session)
    tallies = read_tallies(snapshot.events)
    batches = batches_of(snapshot.events("UsageReported"), tallies.values(), period)
    maybe = [tally.platform for tally in tallies.values() if may_touch(tally, period)]
    chosen = named or only_platform([batch.platform for batch in batches] or maybe, period)
    deals = deals_of(event for name in DEAL_EVENTS for event in snapshot.events(name))
    registrations = registrations_of(snapshot.events("WorksRegistered"))
    return _Book(
        snapshot=snapshot,
        period=period,
        platform=chosen,
        batches=tuple(batch for batch in batches if batch.platform == chosen),
        tallies=tuple(tally for tally in tallies.values() if tally.platform == chosen),
        deals=tuple(deals),
        terms=terms_of(deals),
        registrations=tuple(registrations),
        works=works_registered(registrations),
    )


def _unlisted(counted: Count) -> tuple[str, ...]:
    more = counted.unmatched_total - len(counted.unmatched)
    return (f"{more:,} more rows of unmatched works are not listed",) if more > 0 else ()


def matcher_of(session: Royalty, book: _Book, works_map: WorksMap) -> WorkTable:
    """Return what the log's ids stand for, in the catalogues that count."""
    from royalty.logs import WorkTable
    from royalty.platforms import licences

    accepted = set(licences(session, book.platform)) or {deal.catalogue for deal in book.deals}
    deals = [deal for deal in book.deals if deal.catalogue in accepted]
    return WorkTable(
        [*works_map.items(), *notes(session)],
        [(deal.catalogue, deal.version, deal.from_day, deal.until_day) for deal in deals],
        {catalogue: number for catalogue, number in book.works.items() if catalogue in accepted},
    )


def _context(session: Royalty, book: _Book) -> Context:
    """Return what explains differences; a rival that the platform accepted despite it is none."""
    from royalty.platforms import licences

    despite = {
        catalogue
        for catalogue, licence in licences(session, book.platform).items()
        if licence.despite_rival
    }
    rivals = rivals_among(book.registrations, [one.work for one in book.registrations])
    return Context(
        deals=book.terms,
        works=book.works,
        held={work for work in rivals if work.catalogue not in despite},
        twins=twins_of(book.registrations),
    )


def _known(session: Royalty, book: _Book, counted: Count, policy: str) -> Known:
    return Known(
        chain_id=session.node.chain_id,
        contract=session.ledger.address,
        policy=policy,
        sources={source.sha256: source.rows for source in counted.sources},
        since=format_day(book.period.since),
        until=format_day(book.period.until),
        rows=counted.rows,
        excluded=counted.excluded,
    )


def _about(reason: Reason, batch: Batch) -> Finding:
    return pure.about_batch(reason, batch.platform, batch.batch, batch.day)


def _reused(book: _Book) -> list[Finding]:
    """Return the batches of the period whose evidence another batch of the platform, of any day, carries too.

    A batch without evidence (32 zero bytes) shares it with nobody.
    """
    carried = {
        (event.args["platform"], event.args["batch"]): event.args["evidence"]
        for name in ("UsageReported", "TallyPosted")
        for event in book.snapshot.events(name)
        if event.args["evidence"] != NO_EVIDENCE
    }
    reused = pure.reused_evidence(carried)
    return [
        _about(Reason.EVIDENCE_REUSED, batch)
        for batch in book.batches
        if (batch.platform, batch.batch) in reused
    ]


def _basis(
    session: Royalty,
    book: _Book,
    question: Question,
    counted: Count,
    options: Mapping[str, str | Path | None],
    threshold: str,
    released: int,
) -> Basis:
    from royalty.platforms import licences

    head, columns, asked = book.snapshot.head, question.columns_document, question.works_map
    sources = tuple(SourceUsed(one.path.name, one.sha256, one.rows) for one in counted.sources)
    return Basis(
        chain_id=session.node.chain_id,
        contract=session.ledger.address,
        token=session.token.symbol,
        block=head.number,
        block_hash=head.hash,
        block_time=head.timestamp,
        policy=question.policy.document(),
        policy_digest=question.policy_document.digest,
        columns=None if columns is None else columns.digest,
        works_map=map_document(asked).digest if asked else None,
        folder_ids=len(notes(session)),
        accepted=len(licences(session, book.platform)),
        sources=sources,
        batches=tuple(
            BatchUsed(one.batch, one.day, "0x" + one.evidence.hex(), one.tally is not None)
            for one in book.batches
        ),
        evidence=options["--evidence"] is not None,
        threshold=threshold,
        command=command_of(
            sources,
            book.period,
            {**options, "--threshold": threshold, "--platform": book.platform},
            session.ledger.address,
        ),
        folder_released=released,
    )


def _with_titles(
    session: Royalty,
    book: _Book,
    works: Sequence[WorkRow],
    rows: Sequence[Finding],
    held: Sequence[HeldBack],
) -> tuple[WorkRow, ...]:
    """Return the works, those that a person will look at with their titles."""
    shown = {row.work for row in works[:TITLED]} | {one.work for one in most_held(held, TITLED)}
    named = {row.work for row in largest(rows, TITLED) if row.work is not None}
    wanted = shown | {row.work for row in works if str(row.work) in named}
    known = titles(session, [one for one in book.registrations if one.work in wanted])
    return tuple(replace(row, title=known.get(row.work, "")) for row in works)


def _result(
    session: Royalty,
    book: _Book,
    now: Solvency,
    counted: Count,
    logged: Mapping[Cell, int],
    rows: Sequence[Finding],
    limit: Fraction,
    complaints: tuple[str, ...],
    basis: Basis,
    held: tuple[HeldBack, ...],
) -> Reconciliation:
    lines = book.lines
    worth = sum(pure.expected_nano(cell, units, book.terms) for cell, units in logged.items())
    credited = sum(pure.credited_nano(line, book.terms) for line in lines)
    return Reconciliation(
        platform=book.platform,
        period=book.period,
        block=now.block,
        rows=counted.rows,
        qualified=counted.qualified,
        excluded=counted.excluded,
        units_logged=_units((cell.kind, units) for cell, units in logged.items()),
        units_chain=_units((line.kind, line.units) for line in lines),
        logged_nano=worth,
        credited_nano=credited,
        over_threshold=pure.is_over(worth, credited, limit),
        unpaid_nano=unpaid(concerned(logged, lines, book.terms), book.deals, now.state),
        solvent=now.solvent,
        findings=tuple(rows),
        basis=basis,
        days=by_day(logged, lines, book.terms, book.period),
        works=_with_titles(session, book, by_work(logged, lines, book.terms), rows, held),
        notes=complaints,
        held=held,
    )


def unpaid(keys: set[tuple[int, int]], deals: Iterable[Deal], state: Figures) -> int:
    """Return what deals have accrued and their holders' balances hold, in nano-tokens."""
    found = [deal for deal in deals if deal.key in keys]
    holders = {share.holder for deal in found for share in deal.split}
    return sum(state.accrued[deal.key] for deal in found) + sum(
        state.balances[holder] for holder in holders
    )
