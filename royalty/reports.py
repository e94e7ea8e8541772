"""Reporting usage: once, whole, and under the deal of its day.

A report goes: take up what the journal holds; count each day again, stored rows and new ones
together; take off what was reported; see that money, limit and gas suffice; keep the rows; write the
batches down; send them. A kill between any two of these leaves something that the next report
finishes (docs/decisions/0020-usage-store-and-journal.md).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from royalty import delivery, posted
from royalty import journal as journals
from royalty.batches import Draft
from royalty.costs import Costs, Form
from royalty.days import format_day, today
from royalty.division import call_of
from royalty.due import Due, compare
from royalty.errors import FundsTooLow, InputError, LimitTooLow, StoreFailed
from royalty.files import new_folder
from royalty.journal import FINAL, Batch, Journal, Tally, crash_at
from royalty.manifests import documents_of, plan_of_tally, plans_of, write_pending
from royalty.offers import Offer, Wish, offer, priced, unfunded
from royalty.posting import TallyDraft
from royalty.precedent import require_columns, require_rows, require_rules
from royalty.publishing import Place
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
from royalty.settlement import settle
from royalty.spikes import Release, format_release, hold_spikes, parse_release
from royalty.store import STORE, Staged, UsageStore
from royalty.tallydata import file_name, write_data
from royalty.terms import Item, held_rows
from royalty.usage import units_of
from royalty.voids import Account, account_of
from royalty.ways import Say, Way, journal_of
from royalty.worksmap import WorksMap

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.delivery import Link
    from royalty.settlement import Settled


@dataclass(slots=True)
class Report:
    """What a report did: `batches` landed by it (those it took up too), in order.

    `already` are units reported before; `held` units that are not reported now; `negative` what was
    reported too much, which is final; `settled` what became of tallies' leaves. With `dry_run` nothing
    was sent: `gas` and `cost_wei` say what it would cost at most, `costs` what both ways of reporting
    would, and `missing` what is missing. `pending` is what the journal still holds.
    """

    batches: list[Sent] = field(default_factory=list)
    already: list[Item] = field(default_factory=list)
    held: list[Item] = field(default_factory=list)
    negative: list[Item] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    pending: list[Sent] = field(default_factory=list)
    dry_run: bool = False
    gas: int = 0
    cost_wei: int = 0
    price_wei: int = 0
    form: Form = Form.DIRECT
    costs: Costs | None = None
    missing: str = ""

    @property
    def amount_nano(self) -> int:
        """What the batches cost together."""
        return sum(batch.amount_nano for batch in self.batches)

    @property
    def findings(self) -> bool:
        """Whether something is held, was reported too much, or turned out void."""
        return bool(self.held or self.negative or any(one.void for one in self.settled))

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
        if self.settled:
            document["settled"] = [one.document() for one in self.settled]
        if self.dry_run:
            document |= {
                "dry_run": True,
                "as": self.form.value,
                "costs": self.costs.document(self.price_wei) if self.costs else None,
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
    as_: str | None = None,
    publish: str | Path | None = None,
    uri: str | None = None,
    settle: bool = True,
    release: Iterable[str] = (),
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
    `as_` is `direct`, a batch or more a day that pay at once, or `tally`, one batch of all days that is
    settled leaf by leaf, by this very report unless `settle` is False; without it, whichever costs less.
    `publish` is a folder or an address where a tally's data is put, `uri` where others find that folder.
    `release` are spikes, `12/3:2026-11-19`, that are let go now and for every report to come.
    `into` is filled on the way, so that it says what was done when an error ends it. `partial` and `asked`
    as in `royalty.checks.check`.

    Raises InputError for what is given, FundsTooLow or LimitTooLow before anything is sent, ChainErrors
    for what happens on the way (`into.pending` then shows what the next report takes up),
    JournalStopped where journal and chain disagree.

    >>> royalty.usage.report("views/*.parquet", day="2026-11-19").batches  # doctest: +SKIP
    """
    question = read_question(logs, **asked)
    released = _releases(release, question)
    made = into if into is not None else Report()
    way = Way.of(session, confirmations, window, max_fee, deadline)
    with way.patiently(session):
        if not partial:
            require_over(session, question.period)
        folder = None if evidence is None else new_folder(evidence)
        wish = Wish(Form.of(as_), Place.of(publish, uri), settle)
        say = say or (lambda _: None)
        job = _Job(session, question, way, wish, made, folder, progress, say, released)
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
    wish: Wish
    report: Report
    folder: Path | None
    progress: Progress | None
    say: Say
    release: frozenset[Release] = frozenset()

    @property
    def store(self) -> UsageStore:
        """The platform's usage store."""
        return UsageStore(self.session.platform_dir() / STORE)

    @property
    def tallies(self) -> Path:
        """The folder of the data of the platform's tallies."""
        return self.session.platform_dir() / posted.FOLDER

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
            write_pending(job.folder, journal, job.tallies)
            delivery.take_up(link, journal)
            if _plan(job, link, journal):
                write_pending(job.folder, journal, job.tallies)
                delivery.deliver(link, journal)
            _settle(job, journal)
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
    account: Account
    works_map: WorksMap
    staged: Staged
    found: Counted
    due: Due


@contextmanager
def _counting(job: _Job, journal: Journal, area: Path | None = None) -> Iterator[_Basis]:
    """Count the days whole, and yield what is due of them; in `area` the store is not touched."""
    require_rows(journal, job.question.period, job.store)
    accepted, works_map = job.accepted(), job.works_map()
    account = account_of(job.session, journal, job.way.depth)
    with counted(
        job.question,
        accepted.matcher(job.session, works_map),
        job.store,
        first_reported=journal.rules,
        area=area,
        progress=job.progress,
    ) as (staged, found):
        require_columns(journal, job.question, found.alone.sources)
        due = _due(job, accepted, account, found)
        if job.question.policy.spike_multiple is not None:
            found = replace(found, released=_released_in(job))
        yield _Basis(accepted, account, works_map, staged, found, due)


def _due(job: _Job, accepted: Accepted, account: Account, found: Counted) -> Due:
    """Return what is due; what is held, negative or was reported goes into the report."""
    made = job.report
    taken_up = {batch.batch for batch in made.batches}
    units = [row for count in found.days.values() for row in count.units]
    items = accepted.items(job.session, units)
    _require_units(job.release, items)
    due = compare(
        hold_spikes(
            items,
            job.question.policy,
            reported=account.reported,
            released=job.store.released() | job.release,
            counted=set(found.days) - set(found.closed),
        ),
        found.days,
        closed=found.closed,
        reported=account.reported,
        reported_before=lambda day: account.reported(day, without=taken_up),
    )
    made.already += due.already
    made.held += due.held
    made.negative += due.negative
    return due


def _releases(texts: Iterable[str], question: Question) -> frozenset[Release]:
    """Return the spikes that are let go; InputError for one that this report does not ask about."""
    found = frozenset(map(parse_release, texts))
    if found and question.policy.spike_multiple is None:
        raise InputError(
            f"--release lets go what [spike] of a policy holds; {question.policy.name} has none"
        )
    for day, work in sorted(found):
        if day not in range(question.period.since, question.period.until + 1):
            raise InputError(
                f"--release {format_release((day, work))}: the day is not one that is reported now"
            )
    return found


def _require_units(releases: Collection[Release], items: Iterable[Item]) -> None:
    """Raise InputError for a spike of a work that has no units on its day: it is most likely misspelt."""
    known = {(item.day, item.work) for item in items}
    for one in sorted(set(releases) - known):
        raise InputError(f"--release {format_release(one)}: the work has no units on that day")


def _released_in(job: _Job) -> tuple[str, ...]:
    """Return the spikes of the period that were let go, now or before, for the evidence."""
    period = job.question.period
    every = sorted(job.store.released() | job.release)
    return tuple(format_release(one) for one in every if period.since <= one[0] <= period.until)


# --- planning and pricing ---


def _plan(job: _Job, link: Link, journal: Journal) -> bool:
    """Count, keep the rows and write the batches down; return whether there is any."""
    with _counting(job, journal) as basis:
        number = journal.last_number() + 1
        made = offer(link, basis.accepted.tariffs, basis.due.days, job.wish, number)
        _approve(job.session, link, made, number)
        if made.parts:
            link.account.unlock()
        _keep(job, basis)
        _write_down(job, journal, basis, made, number)
    return bool(made.parts)


def _price(job: _Job, link: Link, journal: Journal, basis: _Basis) -> None:
    """Fill a dry run's report with what would be sent, and what it would cost at most."""
    from royalty.chain.sender import fees, max_fee

    made, tariffs, due = job.report, basis.accepted.tariffs, basis.due.days
    waiting = [batch.total_nano for batch in journal.pending() if batch.block is None]
    try:
        found, made.costs = priced(link, tariffs, due, job.wish, waiting)
    except (FundsTooLow, LimitTooLow) as error:
        made.missing = str(error)
        found, made.costs = unfunded(link, tariffs, due, job.wish)
    number = max(journal.last_number(), link.landed()) + 1
    made.batches += [Sent.planned(number + at, draft) for at, (draft, _) in enumerate(found.parts)]
    made.form, made.gas = found.form, found.gas
    made.price_wei = max_fee(fees(link.node))
    made.cost_wei = made.gas * made.price_wei


def _approve(session: Royalty, link: Link, made: Offer, number: int) -> None:
    """Ask before sending on a public chain; Declined where the person says no."""
    from royalty.chain.sender import Plan as SendPlan
    from royalty.chain.sender import fees, max_fee

    if session.approver is None or session.node.is_local or not made.parts:
        return
    price = max_fee(fees(link.node))
    calls = [
        (call_of(link, draft, number + at, made.uri), gas)
        for at, (draft, gas) in enumerate(made.parts)
    ]
    if made.settle_gas:
        leaves = link.ledger.settle(link.platform, number, 0, b"", b"")
        calls.append((replace(leaves, description="settle all its leaves"), made.settle_gas))
    session.approver(session, [SendPlan(call, gas, gas * price) for call, gas in calls])


def _keep(job: _Job, basis: _Basis) -> None:
    """Keep the rows that were counted, the map that says their works, and what was let go."""
    crash_at("before-store")
    job.store.release(job.release)
    basis.staged.commit()
    job.store.keep_map(basis.works_map)
    crash_at("after-store")


def _write_down(job: _Job, journal: Journal, basis: _Basis, made: Offer, number: int) -> None:
    """Write the batches into the journal with their evidence, and note what the days were counted for."""
    session, question, found = job.session, job.question, basis.found
    documents = documents_of(session, question, basis.accepted, basis.works_map)
    plans = []
    for at, (draft, _) in enumerate(made.parts):
        if isinstance(draft, Draft):
            plans += plans_of(session, question, found, [draft], number + at, documents)
        else:
            tally = _tally_entry(job, made, draft, number + at)
            plans.append(
                plan_of_tally(session, question, found, draft, number + at, documents, tally)
            )
    journal.plan(plans, documents.values())
    held = {item.day for item in job.report.held}
    account = basis.account
    basis.staged.mark_counted({day: _mark(account, day) for day in found.days if day not in held})


def _tally_entry(job: _Job, made: Offer, draft: TallyDraft, number: int) -> Tally:
    """Write a tally's data, before anything names it, and return what the journal keeps of it."""
    wish = job.wish
    entry = draft.entry(uri=made.uri, target=wish.place.target, settle=wish.settle)
    write_data(job.tallies / file_name(number, entry.data), draft.data)
    crash_at("after-data")
    return entry


# --- afterwards ---


def _settle(job: _Job, journal: Journal) -> None:
    """Settle the open leaves of the tallies that whoever reported them settles."""
    session = job.session
    for batch in _with_open_leaves(session, journal):
        if batch.tally is not None and batch.tally.settle and batch.state in FINAL:
            crash_at("before-leaves")
            with session.approved():  # together with the posting, or in a report before
                done = settle(session, batch.number, all=True, platform=session.platform)
            job.report.settled.append(done)
            crash_at("after-leaves")


def _with_open_leaves(session: Royalty, journal: Journal) -> list[Batch]:
    """Return the tallies on chain of which not every leaf is settled."""
    posted = [batch for batch in journal.tallies() if batch.block is not None]
    states = session.ledger.tallies((session.platform, batch.number) for batch in posted)
    return [
        batch
        for batch, state in zip(posted, states, strict=True)
        if state.settled_leaves < state.leaves
    ]


def _close_days(job: _Job, journal: Journal) -> None:
    """Close the days that the platform need not keep open, where all their usage has settled."""
    from royalty.logs import engine

    retain = job.session.settings.retain_days
    if retain is None:
        return
    account = account_of(job.session, journal, job.way.depth)
    opened = [*journal.pending(), *_with_open_leaves(job.session, journal)]
    pending = {day for batch in opened for day in journal.days(batch)}
    first = min(today(), job.session.today()) - retain
    days = {
        day: _mark(account, day) for day in job.store.days() if day < first and day not in pending
    }
    if days:
        with engine() as connection, suppress(StoreFailed):  # busy: the next report closes them
            job.store.close(connection, days)


def _mark(account: Account, day: int) -> str:
    """Return what is reported of a day in words: others once something is void, or one was adopted."""
    return json.dumps(sorted((*key, units) for key, units in account.reported(day).items()))
