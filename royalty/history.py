"""What has happened on the ledger, as rows: usage, credits, payouts, amendments, works and tallies.

All of it comes from events, and every amount is recomputed from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, Any

from royalty.catalogues import Deal, deals_of
from royalty.days import Period, format_day, parse_day
from royalty.errors import InputError
from royalty.index.rows import Rows, merge
from royalty.money import TokenUnit
from royalty.shares import divide
from royalty.tallybook import Tally, deal_of, lines_of_leaves, read_tallies
from royalty.usage import Line, Tariff, WorkRef, lines_of, unpack_usage

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.index.reader import Snapshot
    from royalty.index.tables import ChainEvent
    from royalty.merkle import DayLine

DEAL_EVENTS = ("CatalogueOpened", "DealAmended")
MAX_DAY = 2**16 - 1
MONEY = ("amount_nano", "part_nano", "total_nano")

# `entry` says what a row is; `day` is the day of the usage, of a tally its last one, and for all others
# that of the block.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "usage": (
        "entry",
        "day",
        "time",
        "platform",
        "batch",
        "catalogue",
        "work",
        "kind",
        "version",
        "units",
        "price_nano",
        "amount_nano",
        "evidence",
        "block",
        "transaction",
    ),
    "credit": (
        "entry",
        "day",
        "time",
        "holder",
        "catalogue",
        "version",
        "share_ppm",
        "part_nano",
        "cause",
        "block",
        "transaction",
    ),
    "payout": ("entry", "day", "time", "holder", "to", "amount_nano", "block", "transaction"),
    "amendment": (
        "entry",
        "day",
        "time",
        "catalogue",
        "version",
        "owner",
        "from_day",
        "until_day",
        "view_nano",
        "download_nano",
        "excerpt_nano",
        "split",
        "uri",
        "block",
        "transaction",
    ),
    "work": (
        "entry",
        "day",
        "time",
        "catalogue",
        "work",
        "fingerprint",
        "registrant",
        "metadata_digest",
        "uri",
        "block",
        "transaction",
    ),
    "tally": (
        "entry",
        "day",
        "time",
        "platform",
        "batch",
        "leaves",
        "total_nano",
        "settled_leaves",
        "settled_nano",
        "void_nano",
        "unsettled_nano",
        "root",
        "evidence",
        "data_digest",
        "uri",
        "block",
        "transaction",
    ),
}
KINDS = tuple(COLUMNS)

# Which filters each kind of row can answer.
APPLIES: Mapping[str, frozenset[str]] = {
    "usage": frozenset({"catalogue", "work", "holder", "platform"}),
    "credit": frozenset({"catalogue", "holder"}),
    "payout": frozenset({"holder"}),
    "amendment": frozenset({"catalogue", "holder"}),
    "work": frozenset({"catalogue", "work"}),
    "tally": frozenset({"platform"}),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for; None asks for all. Days are numbers, both inclusive; addresses checksummed.

    A holder's usage and amendments are those of the deals in which it has a share.
    """

    catalogue: int | None = None
    work: WorkRef | None = None
    holder: str | None = None
    platform: str | None = None
    since: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        Period(self.since or 0, MAX_DAY if self.until is None else self.until)

    def has_day(self, day: int) -> bool:
        """Return whether a day is asked for."""
        return (self.since or 0) <= day <= (MAX_DAY if self.until is None else self.until)

    def has_platform(self, event: ChainEvent) -> bool:
        """Return whether an event's platform is asked for."""
        return self.platform in (None, event.args["platform"])

    def has_work(self, work: WorkRef) -> bool:
        """Return whether a work is asked for."""
        return self.work in (None, work) and self.catalogue in (None, work.catalogue)

    def has_deal(self, deal: Deal) -> bool:
        """Return whether a deal is asked for, by its catalogue and its holders."""
        return self.catalogue in (None, deal.catalogue) and (
            self.holder is None or deal.ppm_of(self.holder) > 0
        )

    def used(self) -> set[str]:
        """Return the names of the filters that only some kinds of rows can answer."""
        words = ("catalogue", "work", "holder", "platform")
        return {word for word in words if getattr(self, word) is not None}


# --- rows out of events, pure ---

EventsOf = Callable[[str], Sequence["ChainEvent"]]
Row = dict[str, Any]


def _head(entry: str, event: ChainEvent, day: int | None = None) -> Row:
    return {
        "entry": entry,
        "day": format_day(event.day if day is None else day),
        "time": event.time,
        "block": event.block,
        "transaction": event.transaction,
    }


def _deals(events: EventsOf) -> dict[tuple[int, int], Deal]:
    found = deals_of(event for name in DEAL_EVENTS for event in events(name))
    return {deal.key: deal for deal in found}


def usage_rows(events: EventsOf, filters: Filters) -> list[Row]:
    """Return one row a batch, day, work and kind, at the price of its deal.

    Usage of a tally is that of its settled leaves, in the block that settled them; what several
    transactions settled of the same is as many rows.
    """
    deals = _deals(events)
    wanted = {key: deal for key, deal in deals.items() if filters.has_deal(deal)}
    return [
        head | _usage(work, line, wanted[line.catalogue, line.version].tariff)
        for head, line in (*_reported(events, filters), *_settled(events, filters))
        if (line.catalogue, line.version) in wanted
        and filters.has_work(work := WorkRef(line.catalogue, line.index))
    ]


def _usage(work: WorkRef, line: Line | DayLine, tariff: Tariff) -> Row:
    price = tariff.price(line.kind)
    return {
        "catalogue": line.catalogue,
        "work": str(work),
        "kind": line.kind.word,
        "version": line.version,
        "units": line.units,
        "price_nano": price,
        "amount_nano": price * line.units,
    }


def _reported(events: EventsOf, filters: Filters) -> Iterator[tuple[Row, Line | DayLine]]:
    """Yield what was reported at once: the start of its row, and the units."""
    for event in events("UsageReported"):
        if filters.has_platform(event) and filters.has_day(event.args["day"]):
            head = _batch_head(event, event.args["day"], event.args["evidence"])
            for line in lines_of(unpack_usage(event.args["usage"])):
                yield head, line


def _settled(events: EventsOf, filters: Filters) -> Iterator[tuple[Row, Line | DayLine]]:
    """Yield what was settled of tallies, leaves of one transaction together."""
    for tally in read_tallies(events).values():
        if not filters.has_platform(tally.posted):
            continue
        evidence = tally.posted.args["evidence"]
        for _, group in groupby(tally.paid, key=lambda event: event.transaction):
            leaves = list(group)
            for line in lines_of_leaves(event.args["leaf"] for event in leaves):
                if filters.has_day(line.day):
                    yield _batch_head(leaves[0], line.day, evidence), line


def _batch_head(event: ChainEvent, day: int, evidence: bytes) -> Row:
    return _head("usage", event, day) | {
        "platform": event.args["platform"],
        "batch": event.args["batch"],
        "evidence": "0x" + evidence.hex(),
    }


def credit_rows(events: EventsOf, filters: Filters) -> list[Row]:
    """Return one row for each holder whom an allocation credited.

    Its part is recomputed: floor(accrued before x share). `cause` is what the deal had earned since
    the allocation before: `usage`, `payment`, `usage+payment`, or `remainder` where nothing new.
    """
    deals, causes = _deals(events), _causes(events)
    rows = []
    for event in events("Allocated"):
        deal = deals[event.args["catalogue"], event.args["version"]]
        if not filters.has_deal(deal) or not filters.has_day(event.day):
            continue
        parts, _ = divide(event.args["accruedBefore"], deal.split)
        rows += [
            _head("credit", event)
            | {
                "holder": share.holder,
                "catalogue": deal.catalogue,
                "version": deal.version,
                "share_ppm": share.ppm,
                "part_nano": part,
                "cause": causes[event.order],
            }
            for share, part in zip(deal.split, parts, strict=True)
            if filters.holder in (None, share.holder)
        ]
    return rows


def _causes(events: EventsOf) -> dict[tuple[int, int], str]:
    """Return, by its place on the chain, what each allocation's money came from."""
    earned: dict[tuple[int, int], set[str]] = defaultdict(set)
    found = {}
    names = ("UsageReported", "LeafSettled", "Paid", "Allocated")
    for event in sorted((e for name in names for e in events(name)), key=lambda e: e.order):
        if event.name == "UsageReported":
            for group in unpack_usage(event.args["usage"]):
                earned[group.catalogue, group.version].add("usage")
            continue
        if event.name == "LeafSettled":
            earned[deal_of(event.args["leaf"])].add("usage")
            continue
        key = event.args["catalogue"], event.args["version"]
        if event.name == "Paid":
            earned[key].add("payment")
        else:
            words = sorted(earned.pop(key, set()), reverse=True)
            found[event.order] = "+".join(words) or "remainder"
    return found


def payout_rows(events: EventsOf, filters: Filters, unit: TokenUnit) -> list[Row]:
    """Return one row for each transfer to a holder or its payee; what was skipped is none."""
    return [
        _head("payout", event)
        | {
            "holder": event.args["holder"],
            "to": event.args["to"],
            "amount_nano": unit.to_nano(event.args["amount"]),
        }
        for event in events("Withdrawn")
        if filters.holder in (None, event.args["holder"]) and filters.has_day(event.day)
    ]


def amendment_rows(events: EventsOf, filters: Filters) -> list[Row]:
    """Return one row for each version of a catalogue's deal, the first included.

    `split` is `address=ppm` for each holder, in the order of the split.
    """
    deals = _deals(events)
    rows = []
    for event in (event for name in DEAL_EVENTS for event in events(name)):
        deal = deals[event.args["catalogue"], event.args["version"]]
        if filters.has_deal(deal) and filters.has_day(event.day):
            rows.append(_head("amendment", event) | _terms(deal))
    return rows


def _terms(deal: Deal) -> Row:
    return {
        "catalogue": deal.catalogue,
        "version": deal.version,
        "owner": deal.owner,
        "from_day": format_day(deal.from_day),
        "until_day": None if deal.until_day is None else format_day(deal.until_day),
        **_prices(deal.tariff),
        "split": " ".join(f"{share.holder}={share.ppm}" for share in deal.split),
        "uri": deal.uri,
    }


def _prices(tariff: Tariff) -> Row:
    return {
        "view_nano": tariff.view,
        "download_nano": tariff.download,
        "excerpt_nano": tariff.excerpt,
    }


def work_rows(events: EventsOf, filters: Filters) -> list[Row]:
    """Return one row for each work registered."""
    rows = []
    for event in events("WorksRegistered"):
        args = event.args
        for index, fingerprint in enumerate(args["fingerprints"], args["firstIndex"]):
            work = WorkRef(args["catalogue"], index)
            if filters.has_work(work) and filters.has_day(event.day):
                rows.append(
                    _head("work", event)
                    | {
                        "catalogue": work.catalogue,
                        "work": str(work),
                        "fingerprint": "0x" + fingerprint.hex(),
                        "registrant": args["registrant"],
                        "metadata_digest": "0x" + args["metadataDigest"].hex(),
                        "uri": args["uri"],
                    }
                )
    return rows


def tally_rows(events: EventsOf, filters: Filters) -> list[Row]:
    """Return one row for each tally, with what has become of it so far.

    `settled_leaves` are those that are closed, as the ledger counts them: paid, void, or under a void
    node. Of the money, `settled_nano` reached deals, `void_nano` went back to the platform.
    """
    return [
        _head("tally", tally.posted, tally.day) | _tally(tally)
        for tally in read_tallies(events).values()
        if filters.has_platform(tally.posted) and filters.has_day(tally.day)
    ]


def _tally(tally: Tally) -> Row:
    args = tally.posted.args
    return {
        "platform": tally.platform,
        "batch": tally.batch,
        "leaves": tally.leaves,
        "total_nano": tally.total_nano,
        "settled_leaves": tally.closed,
        "settled_nano": tally.paid_nano,
        "void_nano": tally.void_nano,
        "unsettled_nano": tally.unsettled_nano,
        "root": "0x" + args["root"].hex(),
        "evidence": "0x" + args["evidence"].hex(),
        "data_digest": "0x" + args["dataDigest"].hex(),
        "uri": args["uri"],
    }


def rows_of(kind: str, events: EventsOf, filters: Filters, unit: TokenUnit) -> Rows:
    """Return the rows of one kind, in the order of the chain, with that kind's columns."""
    made = {
        "usage": lambda: usage_rows(events, filters),
        "credit": lambda: credit_rows(events, filters),
        "payout": lambda: payout_rows(events, filters, unit),
        "amendment": lambda: amendment_rows(events, filters),
        "work": lambda: work_rows(events, filters),
        "tally": lambda: tally_rows(events, filters),
    }[kind]()
    columns = COLUMNS[kind]
    ordered = sorted(made, key=lambda row: row["block"])
    return Rows(columns, tuple({name: row[name] for name in columns} for row in ordered))


def choose_kinds(kind: str | None, filters: Filters) -> list[str]:
    """Return the kinds to show: the one asked for, or all that the filters apply to.

    Raises InputError for an unknown kind, or a filter that it cannot answer.
    """
    if kind is None:
        return [word for word in KINDS if filters.used() <= APPLIES[word]]
    if kind not in COLUMNS:
        raise InputError(f"--kind '{kind[:40]}' is unknown; give one of {', '.join(KINDS)}")
    vain = sorted(filters.used() - APPLIES[kind])
    if vain:
        raise InputError(
            f"--{vain[0]} does not apply to --kind {kind}; it can be asked for"
            f" {', '.join(word for word in KINDS if vain[0] in APPLIES[word])}"
        )
    return [kind]


# --- the noun ---

Day = str | date | None


class History:
    """What has happened, of a session: each method returns `Rows` (`.to_list()`, `.to_arrow()`, ...).

    Addresses may be account names, works are `12/3`, days `YYYY-MM-DD` or dates, both inclusive.
    The index is brought up to the chain's head first, unless `sync=False`. Errors: InputError for
    what is given, ChainError where the node does not answer.
    """

    def __init__(self, session: Royalty) -> None:
        self._session = session

    def rows(self, kind: str | None = None, *, sync: bool = True, **asked: Any) -> Rows:
        """Return the rows of one kind, or of all kinds that the filters apply to, in chain order."""
        filters = self._filters(**asked)
        kinds = choose_kinds(kind, filters)
        snapshot = self._snapshot(sync)
        unit = self._session.ledger.token().unit
        found = [rows_of(word, snapshot.events, filters, unit) for word in kinds]
        return found[0] if kind else merge(found, order=lambda row: row["block"])

    def usage(
        self,
        *,
        catalogue: int | None = None,
        work: str | WorkRef | None = None,
        holder: str | None = None,
        platform: str | None = None,
        since: Day = None,
        until: Day = None,
        sync: bool = True,
    ) -> Rows:
        """Return what platforms reported and what was settled of their tallies, by day of the usage.

        One row a batch, day, work and kind.
        """
        return self.rows(
            "usage",
            sync=sync,
            catalogue=catalogue,
            work=work,
            holder=holder,
            platform=platform,
            since=since,
            until=until,
        )

    def credits(
        self,
        *,
        catalogue: int | None = None,
        holder: str | None = None,
        since: Day = None,
        until: Day = None,
        sync: bool = True,
    ) -> Rows:
        """Return what allocations credited to holders: one row a holder and allocation."""
        return self.rows(
            "credit", sync=sync, catalogue=catalogue, holder=holder, since=since, until=until
        )

    def payouts(
        self,
        *,
        holder: str | None = None,
        since: Day = None,
        until: Day = None,
        sync: bool = True,
    ) -> Rows:
        """Return what left the ledger for holders, by day of the block.

        >>> royalty.history.payouts(holder="0x...", since="2026-01-01")  # doctest: +SKIP
        """
        return self.rows("payout", sync=sync, holder=holder, since=since, until=until)

    def amendments(
        self,
        *,
        catalogue: int | None = None,
        holder: str | None = None,
        since: Day = None,
        until: Day = None,
        sync: bool = True,
    ) -> Rows:
        """Return every version of catalogues' deals, the first included, by day of the block."""
        return self.rows(
            "amendment", sync=sync, catalogue=catalogue, holder=holder, since=since, until=until
        )

    def works(
        self,
        *,
        catalogue: int | None = None,
        work: str | WorkRef | None = None,
        since: Day = None,
        until: Day = None,
        sync: bool = True,
    ) -> Rows:
        """Return every registration of a work, in order, by day of the block."""
        return self.rows(
            "work", sync=sync, catalogue=catalogue, work=work, since=since, until=until
        )

    def tallies(
        self,
        *,
        platform: str | None = None,
        since: Day = None,
        until: Day = None,
        sync: bool = True,
    ) -> Rows:
        """Return every tally and what has become of it so far, by the last day of its usage."""
        return self.rows("tally", sync=sync, platform=platform, since=since, until=until)

    def _snapshot(self, sync: bool) -> Snapshot:
        from royalty import index

        return index.snapshot(self._session, sync_first=sync)

    def _filters(
        self,
        catalogue: int | None = None,
        work: str | WorkRef | None = None,
        holder: str | None = None,
        platform: str | None = None,
        since: Day = None,
        until: Day = None,
    ) -> Filters:
        address = self._session.address
        return Filters(
            catalogue=catalogue,
            work=WorkRef.parse(work) if isinstance(work, str) else work,
            holder=None if holder is None else address(holder),
            platform=None if platform is None else address(platform),
            since=_day(since, "--since"),
            until=_day(until, "--until"),
        )


def _day(given: Day, what: str) -> int | None:
    return None if given is None else parse_day(str(given), what=what)


def totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return (rows, nano-tokens) by entry: usage and payouts their amounts, credits their parts.

    Of tallies, what was debited for them.
    """
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        count, nano = found.get(row["entry"], (0, 0))
        amount = next((row[word] for word in MONEY if word in row), 0)
        found[row["entry"]] = count + 1, nano + amount
    return found
