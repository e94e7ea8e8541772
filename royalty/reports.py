"""Reporting usage: once, whole, and under the deal of its day.

A report goes: take up what the journal holds; count each day again, stored rows and new ones
together; take off what was reported; see that money, limit and gas suffice; keep the rows; write the
batches down; send them. A kill between any two of these leaves something that the next report
finishes (docs/decisions/0020-usage-store-and-journal.md).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from royalty import delivery
from royalty import journal as journals
from royalty.days import format_day, today
from royalty.division import call_of, divide, undivided
from royalty.due import Due, compare
from royalty.errors import FundsTooLow, LimitTooLow, StoreFailed
from royalty.files import new_folder
from royalty.journal import Batch, Journal, crash_at
from royalty.manifests import documents_of, plans_of, write_pending
from royalty.precedent import require_columns, require_rows, require_rules
from royalty.questions import (
    Accepted,
    Asked,
    Logs,
    Question,
    read_question,
    require_over,
)
from royalty.recount import Counted, Progress, counted
from royalty.sent import Sent
from royalty.store import STORE, Staged, UsageStore
from royalty.terms import Item, held_rows, units_of
from royalty.ways import Say, Way, journal_of
from royalty.worksmap import WorksMap

if TYPE_CHECKING:
    from royalty.batches import Draft
    from royalty.client import Royalty
    from royalty.delivery import Link


@dataclass(slots=True)
class Report:
    """What a report did: `batches` landed by it (those it took up too), in order.

    `already` are units reported before; `held` units that are not reported now; `negative` what was
    reported too much, which is final. With `dry_run` nothing was sent: `gas` and `cost_wei` say what
    it would cost at most and `missing` what is missing. `pending` is what the journal still holds.
    """

    batches: list[Sent] = field(default_factory=list)
    already: list[Item] = field(default_factory=list)
    held: list[Item] = field(default_factory=list)
    negative: list[Item] = field(default_factory=list)
    pending: list[Sent] = field(default_factory=list)
    dry_run: bool = False
    gas: int = 0
    cost_wei: int = 0
    missing: str = ""

    @property
    def amount_nano(self) -> int:
        """What the batches cost together."""
        return sum(batch.amount_nano for batch in self.batches)

    @property
    def findings(self) -> bool:
        """Whether something is held or was reported too much."""
        return bool(self.held or self.negative)

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens, negative units are negative."""
        document: dict[str, Any] = {
            "batches": [batch.document() for batch in self.batches],
            "already_reported": units_of(self.already),
            "held": held_rows(self.held),
            "negative": [
                {
                    "day": format_day(item.day),
                    "work": str(item.work),
                    "kind": item.kind.word,
                    "units": item.units,
                }
                for item in self.negative
            ],
        }
        if self.dry_run:
            document |= {
                "dry_run": True,
                "amount_nano": self.amount_nano,
                "gas": self.gas,
                "cost_wei": str(self.cost_wei),
                "missing": self.missing,
                "pending": self.pending_rows(),
            }
        return document

    def pending_rows(self) -> list[dict[str, Any]]:
        """Return what is pending as JSON rows."""
        return [batch.document() | {"state": batch.state} for batch in self.pending]


def report(
    session: Royalty,
    logs: Logs | None = None,
    *,
    partial: bool = False,
    evidence: str | Path | None = None,
    confirmations: int | None = None,
    window: int | None = None,
    max_fee: str | int | None = None,
    deadline: float | None = None,
    into: Report | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    **asked: Unpack[Asked],
) -> Report:
    """Report the usage of UTC days (both inclusive) in logs and what was recorded, and return what was sent.

    Without `logs` it is what was recorded and ingested.

    Sends the difference to what was reported for these days before, so the same log again sends
    nothing. `evidence` is a folder for manifests and what they name; `confirmations` how many blocks
    must stand on a batch before it is settled; `window` how many may be under way at once; `max_fee` the
    most gwei that a gas may cost; `deadline` for how many seconds a node may fail, or nothing move;
    `into` is filled on the way, so that it says what was done when an error ends it. `partial` and `asked`
    as in `royalty.checks.check`.

    Raises InputError for what is given, FundsTooLow or LimitTooLow before anything is sent, ChainErrors
    for what happens on the way (`into.pending` then shows what the next report takes up),
    JournalStopped where journal and chain disagree.

    >>> royalty.usage.report("views/*.parquet", day="2026-11-19").batches  # doctest: +SKIP
    """
    question = read_question(logs, **asked)
    made = into if into is not None else Report()
    way = Way.of(session, confirmations, window, max_fee, deadline)
    with way.patiently(session):
        if not partial:
            require_over(session, question.period)
        folder = None if evidence is None else new_folder(evidence)
        job = _Job(session, question, way, made, folder, progress, say or (lambda _: None))
        if session.dry_run:
            _preview(job)
        else:
            _send(job)
    return made


@dataclass(frozen=True, slots=True)
class _Job:
    """One report on its way: what was asked, of whom, and what it has come to so far."""

    session: Royalty
    question: Question
    way: Way
    report: Report
    folder: Path | None
    progress: Progress | None
    say: Say

    @property
    def store(self) -> UsageStore:
        """The platform's usage store."""
        return UsageStore(self.session.platform_dir() / STORE)

    def link(self) -> Link:
        """Return the way to the chain, which notes in the report what settles."""
        return self.way.link(self.session, self.say, self._note_settled)

    def _note_settled(self, batch: Batch) -> None:
        """List a batch as sent, once: one that a reorg took settles twice."""
        others = [one for one in self.report.batches if one.batch != batch.number]
        self.report.batches[:] = [*others, Sent.of(batch)]

    def accepted(self) -> Accepted:
        """Return the deals that can be reported to: those at the confirmation depth."""
        return Accepted.read(self.session, self.way.depth)

    def works_map(self) -> WorksMap:
        """Return the map that counts: the one given, over those of earlier reports."""
        return {**self.store.works_map(), **self.question.works_map}


def _send(job: _Job) -> None:
    """Take up, count, keep, write down, send."""
    link = job.link()
    with journal_of(job.session) as journal:
        try:
            require_rules(journal, job.question, job.store)
            write_pending(job.folder, journal)
            delivery.take_up(link, journal)
            if _plan(job, link, journal):
                write_pending(job.folder, journal)
                delivery.deliver(link, journal)
            _close_days(job, journal)
        finally:
            job.report.pending = [Sent.of(batch) for batch in journal.pending()]


def _preview(job: _Job) -> None:
    """Count and price everything, change nothing; what is missing is said and no error."""
    link, made = job.link(), job.report
    made.dry_run = True
    with (
        journals.read(job.session.platform_dir()) as existing,
        tempfile.TemporaryDirectory(prefix="royalty-") as area,
    ):
        journal = existing or journals.empty()
        require_rules(journal, job.question, job.store)
        made.pending = [Sent.of(batch) for batch in journal.pending()]
        with _counting(job, journal, Path(area, STORE)) as basis:
            _price(job, link, journal, basis)


# --- counting ---


@dataclass(frozen=True, slots=True)
class _Basis:
    """What batches are made from: the deals and the map, the rows staged, what they come to, what is due."""

    accepted: Accepted
    works_map: WorksMap
    staged: Staged
    found: Counted
    due: Due


@contextmanager
def _counting(job: _Job, journal: Journal, area: Path | None = None) -> Iterator[_Basis]:
    """Count the days whole, and yield what is due of them; in `area` the store is not touched."""
    require_rows(journal, job.question.period, job.store)
    accepted, works_map = job.accepted(), job.works_map()
    with counted(
        job.question,
        accepted.matcher(job.session, works_map),
        job.store,
        first_reported=journal.rules,
        area=area,
        progress=job.progress,
    ) as (staged, found):
        require_columns(journal, job.question, found.alone.sources)
        due = _due(job, accepted, journal, found)
        yield _Basis(accepted, works_map, staged, found, due)


def _due(job: _Job, accepted: Accepted, journal: Journal, found: Counted) -> Due:
    """Return what is due; what is held, negative or was reported goes into the report."""
    made = job.report
    taken_up = {batch.batch for batch in made.batches}
    units = [row for count in found.days.values() for row in count.units]
    due = compare(
        accepted.items(job.session, units),
        found.days,
        closed=found.closed,
        reported=journal.reported,
        reported_before=lambda day: journal.reported(day, without=taken_up),
    )
    made.already += due.already
    made.held += due.held
    made.negative += due.negative
    return due


# --- planning and pricing ---


def _plan(job: _Job, link: Link, journal: Journal) -> bool:
    """Count, keep the rows and write the batches down; return whether there is any."""
    with _counting(job, journal) as basis:
        parts = divide(link, basis.accepted.tariffs, basis.due.days)
        number = journal.last_number() + 1
        _approve(job.session, link, parts, number)
        if parts:
            link.account.unlock()
        _keep(job, basis)
        _write_down(job, journal, basis, [draft for draft, _ in parts], number)
    return bool(parts)


def _price(job: _Job, link: Link, journal: Journal, basis: _Basis) -> None:
    """Fill a dry run's report with what would be sent, and what it would cost at most."""
    from royalty.chain.sender import fees, max_fee

    made, tariffs, due = job.report, basis.accepted.tariffs, basis.due.days
    waiting = [batch.total_nano for batch in journal.pending() if batch.block is None]
    try:
        parts = divide(link, tariffs, due, waiting)
    except (FundsTooLow, LimitTooLow) as error:
        made.missing = str(error)
        parts = [(draft, draft.gas_bound) for draft in undivided(link, tariffs, due)]
    number = max(journal.last_number(), link.landed()) + 1
    made.batches += [Sent.planned(number + at, draft) for at, (draft, _) in enumerate(parts)]
    made.gas = sum(gas for _, gas in parts)
    made.cost_wei = made.gas * max_fee(fees(link.node))


def _approve(session: Royalty, link: Link, parts: Sequence[tuple[Draft, int]], number: int) -> None:
    """Ask before sending on a public chain; Declined where the person says no."""
    from royalty.chain.sender import Plan as SendPlan
    from royalty.chain.sender import fees, max_fee

    if session.approver is None or session.node.is_local or not parts:
        return
    price = max_fee(fees(link.node))
    plans = [
        SendPlan(call_of(link, draft, number + at), gas, gas * price)
        for at, (draft, gas) in enumerate(parts)
    ]
    session.approver(session, plans)


def _keep(job: _Job, basis: _Basis) -> None:
    """Keep the rows that were counted, and the map that says their works."""
    crash_at("before-store")
    basis.staged.commit()
    job.store.keep_map(basis.works_map)
    crash_at("after-store")


def _write_down(
    job: _Job, journal: Journal, basis: _Basis, drafts: Sequence[Draft], number: int
) -> None:
    """Write the batches into the journal with their evidence, and note what the days were counted for."""
    session, question, found = job.session, job.question, basis.found
    documents = documents_of(session, question, basis.accepted, basis.works_map)
    plans = plans_of(session, question, found, drafts, number, documents)
    journal.plan(plans, documents.values())
    held = {item.day for item in job.report.held}
    basis.staged.mark_counted({day: _mark(journal, day) for day in found.days if day not in held})


# --- afterwards ---


def _close_days(job: _Job, journal: Journal) -> None:
    """Close the days that the platform need not keep open, where all their usage has settled."""
    from royalty.logs import engine

    retain = job.session.settings.retain_days
    if retain is None:
        return
    pending = {batch.day for batch in journal.pending()}
    first = min(today(), job.session.today()) - retain
    days = {
        day: _mark(journal, day) for day in job.store.days() if day < first and day not in pending
    }
    if days:
        with engine() as connection, suppress(StoreFailed):  # busy: the next report closes them
            job.store.close(connection, days)


def _mark(journal: Journal, day: int) -> str:
    """Return what is reported of a day in words: others once a batch is void, or one was adopted."""
    return json.dumps(sorted((*key, units) for key, units in journal.reported(day).items()))
