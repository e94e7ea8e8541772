"""Where a platform's journal and the chain stand to each other, and bringing them back in step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from royalty import delivery, posted
from royalty import journal as journals
from royalty.costs import Form
from royalty.days import format_day
from royalty.evidence import hex_of, sha256
from royalty.journal import Batch, DayUsage, State, Tally
from royalty.sent import Sent
from royalty.tallydata import file_name, read_rows, write_data
from royalty.usage import Line, group_lines, pack_usage, units_of, works_of
from royalty.ways import Way, journal_of

if TYPE_CHECKING:
    from royalty.chain.events import Event
    from royalty.client import Royalty


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch on chain that the journal has not, or has with other evidence."""

    batch: int
    day: int
    sender: str
    evidence: str
    transaction: str
    is_tally: bool = False

    def document(self) -> dict[str, Any]:
        """Return the JSON row; `day` is a tally's last."""
        return {
            "batch": self.batch,
            "as": (Form.TALLY if self.is_tally else Form.DIRECT).value,
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
        event.name == "TallyPosted",
    )


@dataclass(frozen=True, slots=True)
class Adoption:
    """A foreign batch taken into the account, and the numbers of the batches that became void for it."""

    batch: Sent
    voided: tuple[int, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return self.batch.document() | {"voided": list(self.voided)}


def adopt(
    session: Royalty,
    number: int,
    *,
    confirmations: int | None = None,
    data: str | Path | None = None,
) -> Adoption:
    """Take a batch of the chain that another machine reported into this journal's account.

    What the journal had under its number, and later batches that have not landed, become void: the
    next `report` counts their units again, less what the adopted batch has, and settles what is open of a
    tally. Sends nothing. `data` is a file or folder with the data of a tally, which only the other
    machine and whoever has a copy can say the content of.

    Raises InputError where the chain has no such batch, it is not foreign, or a tally's data is missing or
    does not lead to its root, ChainError where it is not at the confirmation depth yet.

    >>> royalty.usage.adopt(7).voided  # doctest: +SKIP
    """
    way = Way.of(session, confirmations)
    with way.patiently(session), journal_of(session) as journal:
        adopted, void = delivery.adopt(
            way.link(session), journal, number, lambda event: _contents(session, event, data)
        )
    return Adoption(Sent.of(adopted), tuple(batch.number for batch in void))


def _contents(
    session: Royalty, event: Event, data: str | Path | None
) -> tuple[Tally, tuple[DayUsage, ...]]:
    """Return what a foreign tally is of, by its data, and keep a copy of that; InputError."""
    number = int(event.args["batch"])
    tally = posted.find(session, number, platform=session.platform)
    found = posted.load(session, tally, data=data)
    content = found.path.read_bytes()
    digest = sha256(content)
    write_data(session.platform_dir() / posted.FOLDER / file_name(number, digest), content)
    by_day: dict[int, list[Line]] = {}
    for row in read_rows(found.path):
        line = Line(row.catalogue, row.version, row.kind, row.work, row.units)
        by_day.setdefault(row.day, []).append(line)
    lines = [line for day in by_day.values() for line in day]
    entry = Tally(
        min(by_day),
        tally.root,
        tally.leaves,
        digest,
        tally.uri,
        "",
        True,
        works_of(lines),
        units_of(lines),
    )
    days = [DayUsage(day, pack_usage(group_lines(rows)), "") for day, rows in by_day.items()]
    return entry, tuple(sorted(days, key=lambda one: one.day))
