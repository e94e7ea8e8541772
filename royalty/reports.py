"""Usage: what a log comes to, and reporting it: once, whole, and under the deal of its day.

A report goes: take up what the journal holds; count each day again, stored rows and new ones
together; take off what was reported; see that money, limit and gas suffice; keep the rows; write the
batches down; send them. A kill between any two of these leaves something that the next report
finishes (docs/decisions/0020-usage-store-and-journal.md).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty import delivery
from royalty import journal as journals
from royalty.batches import MAX_TRANSACTION_GAS, Draft, Tariffs, drafts, fitted
from royalty.days import format_day, parse_day, today
from royalty.errors import (
    FundsTooLow,
    InputError,
    LimitTooLow,
    NodeRefused,
    NodeTimeout,
    NodeUnreachable,
    StoreFailed,
)
from royalty.evidence import (
    Counts,
    Document,
    Manifest,
    Source,
    evidence_of,
    hex_of,
    new_salt,
    write_evidence,
)
from royalty.files import write_json
from royalty.journal import Batch, Journal, Owner, Plan, State, crash_at
from royalty.questions import (
    Accepted,
    Day,
    Logs,
    Question,
    map_document,
    read_question,
    require_over,
)
from royalty.recorder import FLUSH_BYTES, FLUSH_SECONDS, Recorder
from royalty.recount import Counted, counted
from royalty.settings import LOCAL, MAX_DEADLINE_SECONDS, MAX_WINDOW, WINDOW, parse_gwei
from royalty.store import UsageStore
from royalty.terms import Held, Item, amount_nano, difference, held_rows, units_of
from royalty.usage import Kind, Line, WorkRef
from royalty.worksmap import WorksMap

if TYPE_CHECKING:
    from royalty.chain.events import Event
    from royalty.chain.ledger import Call
    from royalty.client import Royalty
    from royalty.delivery import Link
    from royalty.ingest import Ingested
    from royalty.logs import Count
    from royalty.logs import Source as LogSource

Progress = Callable[[int, int], None]
Say = Callable[[str], None]
STORE = "store"
HEADROOM_PERCENT = 5
"""What an estimate of gas must leave of a transaction's limit: other money moves in between."""


# --- check ---


@dataclass(frozen=True, slots=True)
class Check:
    """What a log alone comes to. Amounts are nano-tokens; `amount_nano` includes what is held.

    `counted` are all units with deal and price. `excluded` has all seven reasons. `over_excluded`
    says that more rows were excluded than the caller allows.
    """

    count: Count
    counted: tuple[Item, ...]
    over_excluded: bool = False

    @property
    def held(self) -> tuple[Item, ...]:
        """What would not be reported now."""
        return tuple(item for item in self.counted if item.held)

    @property
    def amount_nano(self) -> int:
        """What all units cost, held ones included."""
        return amount_nano(self.counted)

    @property
    def findings(self) -> bool:
        """Whether something is held, or over the limit that was asked for."""
        return bool(self.held) or self.over_excluded

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        sums = self.count.aggregates
        apart = {} if sums is None else {"aggregates": sums.document()}
        return {
            "rows": self.count.rows,
            "qualified": self.count.qualified,
            "excluded": dict(self.count.excluded),
            "units": units_of(self.counted),
            "amount_nano": self.amount_nano,
            "without_identity": self.count.without_identity,
            "held": held_rows(self.counted),
            **apart,
        }


def check(
    session: Royalty,
    logs: Logs,
    *,
    day: Day | None = None,
    since: Day | None = None,
    until: Day | None = None,
    works: str | Path | None = None,
    columns: str | Path | None = None,
    policy: str | Path | None = None,
    separator: str | None = None,
    format: str | None = None,  # noqa: A002
    partial: bool = False,
    out: str | Path | None = None,
    max_excluded: str | int | None = None,
    progress: Progress | None = None,
) -> Check:
    """Return what logs come to over UTC days (both inclusive), at the deals of each day; sends nothing.

    `logs` is a file, a glob or several; `works` a map, `columns` and `policy` TOML files. `out` is a
    folder for `excluded.csv`: each excluded row with reason, file and line. `max_excluded` is a
    percentage of the rows. Raises InputError for what is given (a day that is not over unless
    `partial`), ChainError where the node does not answer.

    >>> royalty.usage.check("views.csv", day="2026-11-19").amount_nano  # doctest: +SKIP
    """
    from royalty.logs import add_up, are_sums, count

    limit = None if max_excluded is None else _percent(max_excluded)
    question = read_question(
        logs,
        day=day,
        since=since,
        until=until,
        works=works,
        columns=columns,
        policy=policy,
        separator=separator,
        format=format,
    )
    if not partial:
        require_over(session, question.period)
    listing = None if out is None else _new_folder(out) / "excluded.csv"
    accepted = Accepted.read(session, _deep_block(session, session.confirmations))
    matcher = accepted.matcher(session, question.works_map)
    if are_sums(question.sources):
        sources, period = question.sources, question.period
        return Check(add_up(sources, period, matcher, excluded_to=listing, progress=progress), ())
    counted = count(
        question.sources,
        question.period,
        matcher,
        question.policy,
        excluded_to=listing,
        progress=progress,
    )
    items = tuple(accepted.items(session, counted.units))
    return Check(counted, items, limit is not None and _is_over(counted, limit))


def _percent(text: str | int) -> Fraction:
    try:
        number = Fraction(str(text)) if "/" not in str(text) else Fraction(-1)
    except (ValueError, ZeroDivisionError):
        number = Fraction(-1)
    if not 0 <= number <= 100:
        raise InputError(
            f"--max-excluded '{str(text)[:40]}' is not a percentage; write for example 5"
        )
    return number


def _is_over(counted: Count, limit: Fraction) -> bool:
    return 100 * sum(counted.excluded.values()) > limit * counted.rows


def _new_folder(path: str | Path) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"the folder {folder} cannot be made: {reason}") from None
    return folder


def _deep_block(session: Royalty, confirmations: int) -> int:
    """Return the newest block at the confirmation depth: only deals opened by it are reported to."""
    return max(session.ledger.deployed_block, session.node.head() - confirmations, 0)


# --- report ---


@dataclass(frozen=True, slots=True)
class Sent:
    """One batch as `usage report` shows it; evidence and transaction are None in a dry run."""

    batch: int
    day: int
    works: int
    units: Mapping[str, int]
    amount_nano: int
    evidence: str | None
    transaction: str | None
    state: str = "settled"

    @classmethod
    def of(cls, batch: Batch) -> Sent:
        """Return a journal's batch as it is shown."""
        return _sent(
            batch.number,
            batch.day,
            batch.lines,
            batch.total_nano,
            hex_of(batch.evidence),
            batch.transaction,
            batch.state.value,
        )

    def document(self) -> dict[str, Any]:
        """Return the JSON row."""
        return {
            "batch": self.batch,
            "day": format_day(self.day),
            "works": self.works,
            "units": dict(self.units),
            "amount_nano": self.amount_nano,
            "evidence": self.evidence,
            "transaction": self.transaction,
        }


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
    day: Day | None = None,
    since: Day | None = None,
    until: Day | None = None,
    works: str | Path | None = None,
    columns: str | Path | None = None,
    policy: str | Path | None = None,
    separator: str | None = None,
    format: str | None = None,  # noqa: A002
    partial: bool = False,
    evidence: str | Path | None = None,
    confirmations: int | None = None,
    window: int | None = None,
    max_fee: str | int | None = None,
    deadline: float | None = None,
    into: Report | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Report:
    """Report the usage of UTC days (both inclusive) in logs and what was recorded, and return what was sent.

    Without `logs` it is what was recorded and ingested.

    Sends the difference to what was reported for these days before, so the same log again sends
    nothing. `evidence` is a folder for manifests and what they name; `confirmations` how many blocks
    must stand on a batch before it is settled; `window` how many may be under way at once; `max_fee` the
    most gwei that a gas may cost; `deadline` for how many seconds a node may fail, or nothing move;
    `into` is filled on the way, so that it says what was done when an error ends it. Other arguments as
    in `check`.

    Raises InputError for what is given, FundsTooLow or LimitTooLow before anything is sent, ChainErrors
    for what happens on the way (`into.pending` then shows what the next report takes up),
    JournalStopped where journal and chain disagree.

    >>> royalty.usage.report("views/*.parquet", day="2026-11-19").batches  # doctest: +SKIP
    """
    question = read_question(
        logs,
        day=day,
        since=since,
        until=until,
        works=works,
        columns=columns,
        policy=policy,
        separator=separator,
        format=format,
    )
    made = into if into is not None else Report()
    way = Way.of(session, confirmations, window, max_fee, deadline)
    with way.patiently(session):
        if not partial:
            require_over(session, question.period)
        folder = None if evidence is None else _new_folder(evidence)
        job = _Job(session, question, way, made, folder, progress, say or (lambda _: None))
        if session.dry_run:
            _preview(job)
        else:
            _send(job)
    return made


@dataclass(frozen=True, slots=True)
class Way:
    """How batches go to the chain: depth, batches under way, most wei a gas, seconds of patience."""

    depth: int
    window: int
    max_fee: int | None
    deadline: float

    @classmethod
    def of(
        cls,
        session: Royalty,
        confirmations: int | None = None,
        window: int | None = None,
        max_fee: str | int | None = None,
        deadline: float | None = None,
    ) -> Way:
        """Return what was asked for, else the settings', else the defaults; InputError."""
        chosen = session.settings
        window = window or chosen.window or WINDOW
        fee = chosen.max_fee if max_fee is None else max_fee
        if deadline is None:
            deadline = delivery.WAIT_SECONDS if chosen.deadline is None else chosen.deadline
        if not 1 <= window <= MAX_WINDOW:
            raise InputError(f"--window {window} is not from 1 to {MAX_WINDOW}")
        if not 0 < deadline <= MAX_DEADLINE_SECONDS:
            raise InputError(
                f"--deadline {deadline} is not from 1 to {MAX_DEADLINE_SECONDS} seconds"
            )
        depth = session.confirmations if confirmations is None else confirmations
        return cls(depth, window, None if fee is None else parse_gwei(fee), deadline)

    @contextmanager
    def patiently(self, session: Royalty) -> Iterator[None]:
        """Let the node's faults be sat out up to the deadline, as long as this lasts."""
        node = session.node
        before, node.patience = node.patience, float(self.deadline)
        try:
            yield
        finally:
            node.patience = before

    def link(
        self,
        session: Royalty,
        say: Say = lambda _: None,
        settled: Callable[[Batch], None] = lambda _: None,
    ) -> Link:
        """Return the way to the chain for a session's platform and account."""
        return delivery.Link(
            session.node,
            session.ledger,
            session.platform,
            session.account,
            self.depth,
            self.window,
            self.max_fee,
            self.deadline,
            say,
            settled,
        )


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

    def works_map(self) -> WorksMap:
        """Return the map that counts: the one given, over those of earlier reports."""
        return {**self.store.works_map(), **self.question.works_map}


def _send(job: _Job) -> None:
    """Take up, count, keep, write down, send."""
    session, link = job.session, job.link()
    with journals.opened(session.platform_dir(), _owner(session)) as journal:
        try:
            _require_rules(journal, job.question, job.store)
            _write_evidence(job, journal)
            delivery.take_up(link, journal)
            if _plan(job, link, journal):
                _write_evidence(job, journal)
                delivery.deliver(link, journal)
            _close_days(job, journal)
        finally:
            job.report.pending = [Sent.of(batch) for batch in journal.pending()]


def _plan(job: _Job, link: Link, journal: Journal) -> bool:
    """Count, keep the rows and write the batches down; return whether there is any."""
    _require_store(job, journal)
    accepted = Accepted.read(job.session, _deep_block(job.session, job.way.depth))
    works_map = job.works_map()
    matcher = accepted.matcher(job.session, works_map)
    with counted(
        job.question,
        matcher,
        job.store,
        first_reported=journal.rules,
        progress=job.progress,
    ) as (staged, found):
        _require_columns(journal, job.question, found.alone.sources)
        due = _compare(job, accepted, journal, found)
        parts = _divide(link, accepted, due)
        number = journal.last_number() + 1
        _approve(job, link, parts, number)
        if parts:
            link.account.unlock()
        crash_at("before-store")
        staged.commit()
        job.store.keep_map(works_map)
        crash_at("after-store")
        documents = _documents(job, accepted, works_map)
        manifests = _manifests(job, found, parts, number, documents)
        plans = [
            _batch_plan(found, draft, manifest)
            for (draft, _), manifest in zip(parts, manifests, strict=True)
        ]
        journal.plan(plans, documents.values())
        held = {item.day for item in job.report.held}
        staged.mark_counted({day: _standing(journal, day) for day in found.days if day not in held})
    return bool(plans)


def _close_days(job: _Job, journal: Journal) -> None:
    """Close the days that the platform need not keep open, where all their usage has settled."""
    from royalty.logs import engine

    retain = job.session.settings.retain_days
    if retain is None:
        return
    pending = {batch.day for batch in journal.pending()}
    first = min(today(), job.session.today()) - retain
    days = {
        day: _standing(journal, day)
        for day in job.store.days()
        if day < first and day not in pending
    }
    if days:
        with engine() as connection, suppress(StoreFailed):  # busy: the next report closes them
            job.store.close(connection, days)


def _standing(journal: Journal, day: int) -> str:
    """Return what is reported of a day in words: others once a batch is void, or one was adopted."""
    return json.dumps(sorted((*key, units) for key, units in journal.reported(day).items()))


def _preview(job: _Job) -> None:
    """Count and price everything, change nothing; what is missing is said and no error."""
    session, link, made = job.session, job.link(), job.report
    made.dry_run = True
    with (
        journals.read(session.platform_dir()) as existing,
        tempfile.TemporaryDirectory(prefix="royalty-") as area,
    ):
        journal = existing or journals.empty()
        _require_rules(journal, job.question, job.store)
        _require_store(job, journal)
        made.pending = [Sent.of(batch) for batch in journal.pending()]
        accepted = Accepted.read(session, _deep_block(session, job.way.depth))
        matcher = accepted.matcher(session, job.works_map())
        with counted(
            job.question,
            matcher,
            job.store,
            first_reported=journal.rules,
            area=Path(area, STORE),
            progress=job.progress,
        ) as (_, found):
            _require_columns(journal, job.question, found.alone.sources)
            due = _compare(job, accepted, journal, found)
        _price(job, link, accepted, due, journal)


def _price(
    job: _Job,
    link: Link,
    accepted: Accepted,
    due: Mapping[int, Sequence[Item]],
    journal: Journal,
) -> None:
    """Fill a dry run's report with what would be sent, and what it would cost at most."""
    from royalty.chain.sender import fees, max_fee

    made = job.report
    waiting = [batch for batch in journal.pending() if batch.block is None]
    try:
        parts = _divide(link, accepted, due, [batch.total_nano for batch in waiting])
    except (FundsTooLow, LimitTooLow) as error:
        made.missing = str(error)
        parts = [(draft, draft.gas_bound) for draft in _drafts(link, accepted, due)]
    number = max(journal.last_number(), link.ledger.platform(link.platform).batches) + 1
    for at, (draft, _) in enumerate(parts):
        made.batches.append(
            _sent(number + at, draft.day, draft.lines, draft.total_nano, None, None)
        )
    made.gas = sum(gas for _, gas in parts)
    made.cost_wei = made.gas * max_fee(fees(link.node))


def _owner(session: Royalty) -> Owner:
    return Owner(
        session.node.chain_id, session.node.genesis_hash, session.ledger.address, session.platform
    )


def _require_rules(journal: Journal, question: Question, store: UsageStore) -> None:
    """Raise InputError where a day was first reported under another policy, or way to resend."""
    policy, resend = question.policy.digest, question.columns.resend
    for day in question.period:
        before = journal.rules(day)
        if before is not None and before[0] != policy:
            raise InputError(
                f"{format_day(day)} was first reported under the policy {_policy_name(journal, before[0])}"
                f" ({before[0][:18]}…), not under {question.policy.name} {question.policy.version}"
                f" ({policy[:18]}…); pass that one with --policy: what was reported is final"
            )
        if not question.sources or store.last_counts(day):
            continue  # what was recorded is counted as the day was first reported
        if before is not None and before[1] != resend:
            raise InputError(
                f'{format_day(day)} was first reported with resend = "{before[1]}" in its columns'
                f' file, not "{resend}"; report it with that again'
            )


def _require_columns(journal: Journal, question: Question, sources: Iterable[LogSource]) -> None:
    """Raise InputError where a log that was reported is read by other columns, and has no ids.

    Its rows would be taken for others, since viewer, work, kind and instant are their id: paid twice.
    """
    given = {source.sha256: source.path for source in sources}
    now = question.columns_document
    for day in question.period:
        for manifest in map(json.loads, journal.manifests(day)):
            before = manifest["columns"]
            if before == (now.digest if now else None):
                continue
            if question.columns.own_ids and _had_ids(journal, before):
                continue
            for source in manifest["sources"]:
                if source["sha256"] in given:
                    raise InputError(
                        f"{given[source['sha256']]} was reported for {format_day(day)} with other"
                        " columns, and without ids its rows would be paid again; report it with"
                        " the columns file of then"
                    )


def _had_ids(journal: Journal, columns: str | None) -> bool:
    """Return whether rows read by the columns of a digest (None: the native ones) carry ids."""
    from royalty.logs import has_own_ids

    if columns is None:
        return True
    return any(has_own_ids(json.loads(one.content)) for one in journal.documents([columns]))


def _require_store(job: _Job, journal: Journal) -> None:
    """Raise InputError where rows that were reported are not in the store any more."""

    def reported(day: int) -> int:
        found = (json.loads(manifest) for manifest in journal.manifests(day))
        return max((int(manifest["recount"]["rows"]) for manifest in found), default=0)

    job.store.need_whole(job.question.period, reported)


def _policy_name(journal: Journal, digest: str) -> str:
    found = journal.documents([digest])
    if not found:
        return "of this digest"
    document = json.loads(found[0].content)
    return f"{document['name']} {document['version']}"


# --- from counts to what is due ---


def _compare(
    job: _Job, accepted: Accepted, journal: Journal, found: Counted
) -> dict[int, tuple[Item, ...]]:
    """Return what is due of each day; what is held, negative or was reported goes into the report."""
    made = job.report
    items: dict[int, list[Item]] = {day: [] for day in found.days}
    every = [row for count in found.days.values() for row in count.units]
    for item in accepted.items(job.session, every):
        items[item.day].append(item)
    taken_up = {batch.batch for batch in made.batches}
    due = {}
    for day, counted_items in items.items():
        if day in found.closed:
            made.held += [replace(item, held=Held.CLOSED_DAY) for item in counted_items]
            made.already += [_final(day, *entry) for entry in journal.reported(day).items()]
            continue
        differs = difference(day, counted_items, journal.reported(day))
        made.already += _already(counted_items, journal.reported(day, without=taken_up))
        made.held += differs.held
        made.negative += differs.negative
        due[day] = differs.due
    return due


def _final(day: int, key: tuple[int, int, Kind, int], units: int) -> Item:
    """Return what was reported of a closed day, which is not counted again."""
    catalogue, version, kind, index = key
    return Item(day, WorkRef(catalogue, index), kind, version, units, 0)


def _already(
    items: Iterable[Item], reported: Mapping[tuple[int, int, Kind, int], int]
) -> list[Item]:
    """Return the part of counted items that was reported before."""
    return [item.of(min(item.units, reported.get(item.key, 0))) for item in items]


def _tariffs(accepted: Accepted) -> Tariffs:
    return {deal.key: deal.tariff for deal in accepted.deals}


def _drafts(link: Link, accepted: Accepted, due: Mapping[int, Sequence[Item]]) -> list[Draft]:
    limit, tariffs = _gas_limit(link), _tariffs(accepted)
    return [
        draft
        for day, items in due.items()
        for draft in drafts(day, [_line(item) for item in items], tariffs, gas_limit=limit)
    ]


def _divide(
    link: Link,
    accepted: Accepted,
    due: Mapping[int, Sequence[Item]],
    waiting: Sequence[int] = (),
) -> list[tuple[Draft, int]]:
    """Return what is due as batches with their gas, each of which fits a transaction of this chain.

    Raises FundsTooLow or LimitTooLow where money does not suffice for them and what is `waiting`.
    """
    whole = _drafts(link, accepted, due)
    if not whole:
        return []
    tariffs, limit = _tariffs(accepted), _gas_limit(link)
    delivery.require_money(link, [*waiting, *(draft.total_nano for draft in whole)])
    parts = [
        part
        for draft in whole
        for part in fitted(draft, tariffs, lambda one: _gas(link, one, limit))
    ]
    totals = [*waiting, *(draft.total_nano for draft, _ in parts)]
    delivery.require_money(link, totals, sum(gas for _, gas in parts))
    return parts


def _gas_limit(link: Link) -> int:
    """Return the most gas that one transaction can use on this chain now."""
    from royalty.chain.events import number

    head = link.node.request("eth_getBlockByNumber", ["latest", False])
    return min(MAX_TRANSACTION_GAS, number(head["gasLimit"]))


def _gas(link: Link, draft: Draft, limit: int) -> int | None:
    """Return the most gas that a batch can use, None where that is more than a transaction may."""
    from royalty.chain.sender import estimate

    number = link.ledger.platform(link.platform).next_batch
    try:
        gas = estimate(link.node, _call(link, draft, number), link.account.address)
    except NodeRefused as error:
        if "gas" not in str(error.details.get("answer", "")).lower():
            raise
        return None
    most = gas * (100 + HEADROOM_PERCENT) // 100
    return most if most <= limit else None


def _call(link: Link, draft: Draft, number: int) -> Call:
    return link.ledger.report(
        link.platform, number, draft.day, bytes(32), draft.total_nano, draft.usage
    )


def _line(item: Item) -> Line:
    return Line(item.work.catalogue, item.version, item.kind, item.work.index, item.units)


def _approve(job: _Job, link: Link, parts: Sequence[tuple[Draft, int]], number: int) -> None:
    """Ask before sending on a public chain; Declined where the person says no."""
    from royalty.chain.sender import Plan as SendPlan
    from royalty.chain.sender import fees, max_fee

    session = job.session
    if session.approver is None or session.node.is_local or not parts:
        return
    price = max_fee(fees(link.node))
    plans = [
        SendPlan(_call(link, draft, number + at), gas, gas * price)
        for at, (draft, gas) in enumerate(parts)
    ]
    session.approver(session, plans)


# --- manifests ---


def _documents(job: _Job, accepted: Accepted, works_map: WorksMap) -> dict[str, Document]:
    """Return what the manifests name, by kind: policy, map, licences, and columns where given."""
    from royalty import works

    noted = dict(works.notes(job.session))
    found = [
        job.question.policy_document,
        map_document({**noted, **works_map}),
        accepted.document(),
    ]
    columns = job.question.columns_document
    return {document.kind: document for document in [*found, *([columns] if columns else [])]}


def _manifests(
    job: _Job,
    found: Counted,
    parts: Sequence[tuple[Draft, int]],
    number: int,
    documents: Mapping[str, Document],
) -> list[Manifest]:
    from royalty import __version__

    session, period = job.session, job.question.period
    columns = documents.get("columns")
    sources = tuple(Source(source.sha256, source.rows) for source in found.alone.sources)
    return [
        Manifest(
            chain_id=session.node.chain_id,
            contract=session.ledger.address,
            platform=session.platform,
            batch=number + at,
            day=format_day(draft.day),
            since=format_day(period.since),
            until=format_day(period.until),
            policy=documents["policy"].digest,
            columns=columns.digest if columns else None,
            works_map=documents["works"].digest,
            licences=documents["licences"].digest,
            sources=sources,
            counts=_counts(found.alone),
            recount=_counts(found.days[draft.day]),
            usage=draft.usage,
            program=f"royalty {__version__}",
            salt=new_salt(),
        )
        for at, (draft, _) in enumerate(parts)
    ]


def _counts(count: Count) -> Counts:
    return Counts(count.rows, count.qualified, count.excluded)


def _batch_plan(found: Counted, draft: Draft, manifest: Manifest) -> Plan:
    content = manifest.to_bytes()
    return Plan(
        manifest.batch,
        draft.day,
        draft.usage,
        draft.total_nano,
        evidence_of(content),
        content,
        manifest.policy,
        found.resend[draft.day],
    )


def _write_evidence(job: _Job, journal: Journal) -> None:
    """Write the manifests of what is about to be sent, and what they name, where that was asked."""
    pending = journal.pending()
    if job.folder is None or not pending:
        return
    named = [json.loads(batch.manifest) for batch in pending]
    digests = [
        digest
        for manifest in named
        for word in ("policy", "columns", "map", "licences")
        if (digest := manifest[word]) is not None
    ]
    manifests = {batch.number: batch.manifest for batch in pending}
    write_evidence(job.folder, manifests, journal.documents(digests))


def _sent(
    number: int,
    day: int,
    lines: Iterable[Line],
    total_nano: int,
    digest: str | None,
    transaction: str | None,
    state: str = State.PLANNED.value,
) -> Sent:
    units = {kind.word: 0 for kind in Kind}
    works = set()
    for line in lines:
        units[line.kind.word] += line.units
        works.add((line.catalogue, line.index))
    return Sent(number, day, len(works), units, total_nano, digest, transaction, state)


# --- status ---


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch on chain that the journal has not, or has with other evidence."""

    batch: int
    day: int
    sender: str
    evidence: str
    transaction: str

    def document(self) -> dict[str, Any]:
        """Return the JSON row."""
        return {
            "batch": self.batch,
            "day": format_day(self.day),
            "sender": self.sender,
            "evidence": self.evidence,
            "transaction": self.transaction,
        }


@dataclass(frozen=True, slots=True)
class Status:
    """A platform's journal beside the chain; `on_chain` is how many batches the ledger has.

    `foreign` are those on chain that did not come from this journal, from the lowest that it has not
    settled: `adopt` takes them into the account.
    """

    platform: str
    on_chain: int
    batches: tuple[Batch, ...]
    foreign: tuple[Taken, ...] = ()

    @property
    def pending(self) -> tuple[Batch, ...]:
        """What the next report takes up, in order."""
        return tuple(batch for batch in self.batches if batch.state in journals.PENDING)

    @property
    def in_step(self) -> bool:
        """Whether every batch on chain stands in the journal, and every settled one on chain."""
        final = (State.SETTLED, State.ADOPTED)
        settled = [batch.number for batch in self.batches if batch.state in final]
        known = max((batch.number for batch in self.batches), default=0)
        return max(settled, default=0) <= self.on_chain <= known and not self.foreign

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return {
            "platform": self.platform,
            "next_batch": self.on_chain + 1,
            "in_step": self.in_step,
            "pending": [self._row(batch) for batch in self.pending],
            "foreign": [taken.document() for taken in self.foreign],
            "batches": [self._row(batch) for batch in self.batches],
        }

    def _row(self, batch: Batch) -> dict[str, Any]:
        return Sent.of(batch).document() | {
            "state": batch.state.value,
            "block": batch.block,
            "note": batch.note,
        }


def status(session: Royalty) -> Status:
    """Return a platform's journal beside what the ledger has of it; reads only."""
    with journals.read(session.platform_dir()) as existing:
        journal = existing or journals.empty()
        batches = tuple(journal.batches())
        link = Way.of(session).link(session)
        foreign = tuple(_taken(event) for event in delivery.foreign_batches(link, journal))
    return Status(session.platform, link.landed(), batches, foreign)


def _taken(event: Event) -> Taken:
    args = event.args
    return Taken(
        int(args["batch"]),
        int(args["day"]),
        str(args["sender"]),
        hex_of(args["evidence"]),
        event.transaction,
    )


@dataclass(frozen=True, slots=True)
class Adoption:
    """A foreign batch taken into the account, and the numbers of the batches that became void for it."""

    batch: Sent
    voided: tuple[int, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return self.batch.document() | {"voided": list(self.voided)}


def adopt(session: Royalty, number: int, *, confirmations: int | None = None) -> Adoption:
    """Take a batch of the chain that another machine reported into this journal's account.

    What the journal had under its number, and later batches that have not landed, become void: the
    next `report` counts their units again, less what the adopted batch has. Sends nothing.

    Raises InputError where the chain has no such batch or it is not foreign, ChainError where it is not
    at the confirmation depth yet.

    >>> royalty.usage.adopt(7).voided  # doctest: +SKIP
    """
    way = Way.of(session, confirmations)
    with (
        way.patiently(session),
        journals.opened(session.platform_dir(), _owner(session)) as journal,
    ):
        adopted, void = delivery.adopt(way.link(session), journal, number)
    return Adoption(Sent.of(adopted), tuple(batch.number for batch in void))


def store_of(session: Royalty) -> UsageStore:
    """Return the store of a session's platform, without a node too where one has answered before.

    Its folder is named after the chain's genesis, so it is noted down for every named network: usage
    must be kept while no node answers. Of the local chain, which begins anew, nothing is noted.
    """
    settings = session.settings
    path = settings.state / "stores.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    key = json.dumps(
        [settings.network, settings.contract, settings.account, session.named_platform]
    )
    try:
        folder = session.platform_dir()
    except (NodeUnreachable, NodeTimeout, NodeRefused):  # of several addresses: what the first said
        if key not in known:
            raise
        return UsageStore(settings.state / known[key] / STORE)
    noted = str(folder.relative_to(settings.state))
    if settings.network != LOCAL and known.get(key) != noted:
        write_json(path, known | {key: noted})
    return UsageStore(folder / STORE)


def forget(session: Royalty, month: str) -> None:
    """Destroy the secret of a month (`YYYY-MM`) of which every day is closed; InputError where one is not."""
    parse_day(f"{month}-01", what="month")
    store_of(session).forget(month)


class Usage:
    """Usage of one platform, for a session: `royalty.usage`.

    Days are `YYYY-MM-DD`, dates, or numbers since 1970-01-01; a period's ends are inclusive.
    """

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def check(
        self,
        logs: Logs,
        *,
        day: Day | None = None,
        since: Day | None = None,
        until: Day | None = None,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,  # noqa: A002
        partial: bool = False,
        out: str | Path | None = None,
        max_excluded: str | int | None = None,
    ) -> Check:
        """Return what logs come to, sending nothing; see `royalty.reports.check`.

        >>> royalty.usage.check("views.csv", day="2026-11-19").amount_nano  # doctest: +SKIP
        """
        return check(
            self._session,
            logs,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            partial=partial,
            out=out,
            max_excluded=max_excluded,
        )

    def report(
        self,
        logs: Logs | None = None,
        *,
        day: Day | None = None,
        since: Day | None = None,
        until: Day | None = None,
        works: str | Path | None = None,
        columns: str | Path | None = None,
        policy: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,  # noqa: A002
        partial: bool = False,
        evidence: str | Path | None = None,
        confirmations: int | None = None,
        window: int | None = None,
        max_fee: str | int | None = None,
        deadline: float | None = None,
        into: Report | None = None,
        say: Say | None = None,
    ) -> Report:
        """Report the usage in logs and return what was sent; see `royalty.reports.report`.

        >>> royalty.usage.report("views/*.parquet", day="2026-11-19").batches  # doctest: +SKIP
        """
        return report(
            self._session,
            logs,
            day=day,
            since=since,
            until=until,
            works=works,
            columns=columns,
            policy=policy,
            separator=separator,
            format=format,
            partial=partial,
            evidence=evidence,
            confirmations=confirmations,
            window=window,
            max_fee=max_fee,
            deadline=deadline,
            into=into,
            say=say,
        )

    def recorder(
        self,
        *,
        resend: str = "first",
        flush_seconds: float = FLUSH_SECONDS,
        flush_bytes: int = FLUSH_BYTES,
    ) -> Recorder:
        """Return what keeps single rows, durable when its `record` returns; see `royalty.recorder.Recorder`.

        >>> with royalty.usage.recorder() as recorder:  # doctest: +SKIP
        ...     recorder.record(usage_id="a1", work="12/3", watched_seconds=184)
        """
        store = store_of(self._session)
        return Recorder(store, resend=resend, flush_seconds=flush_seconds, flush_bytes=flush_bytes)

    def ingest(
        self,
        logs: Logs,
        *,
        columns: str | Path | None = None,
        separator: str | None = None,
        format: str | None = None,  # noqa: A002
        progress: Progress | None = None,
    ) -> Ingested:
        """Keep the rows of files (`-`: standard input) for later reports; see `royalty.ingest.ingest`.

        >>> royalty.usage.ingest("views.csv").kept  # doctest: +SKIP
        """
        from royalty.ingest import ingest

        store = store_of(self._session)
        named = [logs] if isinstance(logs, str | Path) else logs
        return ingest(
            store, named, columns=columns, separator=separator, format=format, progress=progress
        )

    def forget(self, month: str) -> None:
        """Destroy the secret that a month's viewers are kept under; see `UsageStore.forget`.

        >>> royalty.usage.forget("2026-01")  # doctest: +SKIP
        """
        forget(self._session, month)

    def status(self) -> Status:
        """Return the journal beside what the ledger has; reads only.

        >>> royalty.usage.status().pending  # doctest: +SKIP
        """
        return status(self._session)

    def adopt(self, number: int, *, confirmations: int | None = None) -> Adoption:
        """Take a foreign batch of the chain into the account; see `royalty.reports.adopt`.

        >>> royalty.usage.adopt(7).voided  # doctest: +SKIP
        """
        return adopt(self._session, number, confirmations=confirmations)
