"""A tally's tree again, out of the log alone: whoever holds the log needs nobody's copy of the data.

What is counted is what a report counts; taken off is what the chain has of the same days under earlier
batches, since a tally holds the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from royalty.errors import InputError
from royalty.journal import Reported
from royalty.merkle import DayLine
from royalty.posted import PostedTally, find
from royalty.posting import TallyDraft, tally_draft
from royalty.questions import Accepted, Asked, Logs, read_question
from royalty.tallybook import lines_of_leaves
from royalty.tallydata import write_data
from royalty.terms import Item, difference
from royalty.usage import Line, Tariff, lines_of, unpack_usage

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.recount import Progress


MAX_PRICE = 2**40 - 1


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A tally beside what its log comes to; `written` is where that was kept, None where it was not."""

    tally: PostedTally
    root: bytes
    leaves: int
    total_nano: int
    written: Path | None = None

    @property
    def ok(self) -> bool:
        """Whether the log leads to the root, total and number of leaves on chain."""
        found = self.root, self.leaves, self.total_nano
        return found == (self.tally.root, self.tally.leaves, self.tally.total_nano)

    def document(self) -> dict[str, Any]:
        """Return the JSON document; amounts are ints of nano-tokens."""
        return {
            "platform": self.tally.platform,
            "batch": self.tally.batch,
            "ok": self.ok,
            "root": self.tally.root,
            "leaves": self.tally.leaves,
            "total_nano": self.tally.total_nano,
            "rebuilt_root": self.root,
            "rebuilt_leaves": self.leaves,
            "rebuilt_total_nano": self.total_nano,
            "data": None if self.written is None else str(self.written),
        }


def rebuild(
    session: Royalty,
    batch: int,
    logs: Logs,
    *,
    platform: str | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> Rebuilt:
    """Return a tally beside the tree that its log leads to over the days asked for.

    `out` is a file for the data, written only where it leads to the tally's root; `asked` as in
    `royalty.checks.check`. Units of earlier tallies' leaves that nobody has settled are not known here,
    and so not taken off. Raises InputError for what is given, ChainError where the node does not answer.
    """
    from royalty.logs import count

    question = read_question(logs, **asked)
    if question.policy.spike_multiple is not None:
        raise InputError(
            "a policy that holds spikes cannot rebuild a tally: what a person let go is in no log; use a"
            " copy of its data"
        )
    tally = find(session, batch, platform=platform)
    accepted = _accepted(session, tally)
    counted = count(
        question.sources,
        question.period,
        accepted.matcher(session, question.works_map),
        question.policy,
        memory=question.memory,
        progress=progress,
    )
    items: dict[int, list[Item]] = {day: [] for day in question.period}
    for item in accepted.items(session, counted.units):
        items[item.day].append(item)
    before = _reported_before(session, tally)
    due = {day: difference(day, found, before.get(day, {})).due for day, found in items.items()}
    draft = tally_draft(due, accepted.tariffs)
    if draft is None:
        raise InputError("the log has no usage of these days that earlier batches do not have")
    made = Rebuilt(tally, draft.tree.root, len(draft.claims), draft.total_nano)
    return replace(made, written=_written(draft, out)) if out is not None and made.ok else made


def _written(draft: TallyDraft, out: str | Path) -> Path:
    path = Path(out)
    try:
        write_data(path, draft.data)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


def _accepted(session: Royalty, tally: PostedTally) -> Accepted:
    """Return what the platform has accepted where this folder knows it; else every catalogue there is."""
    from royalty import catalogues
    from royalty.platforms import Licence, licences

    deals = tuple(catalogues.deals(session))
    anything = Licence(Tariff(MAX_PRICE, MAX_PRICE, MAX_PRICE), despite_rival=True)
    known = licences(session, tally.platform) or {deal.catalogue: anything for deal in deals}
    found = tuple(deal for deal in deals if deal.catalogue in known)
    states = session.ledger.catalogues_of(sorted({deal.catalogue for deal in found}))
    return Accepted(known, found, {state.catalogue: state.works for state in states})


def _reported_before(session: Royalty, tally: PostedTally) -> dict[int, Reported]:
    """Return by day what the platform's earlier batches have: reports, and leaves that were paid."""
    from royalty.records import events

    def earlier(name: str) -> list[Any]:
        found = events(session, name, platform=tally.platform)
        return [event.args for event in found if event.args["batch"] < tally.batch]

    lines: list[tuple[int, Line | DayLine]] = [
        (args["day"], line)
        for args in earlier("UsageReported")
        for line in lines_of(unpack_usage(args["usage"]))
    ]
    leaves = (args["leaf"] for args in earlier("LeafSettled"))
    lines += [(line.day, line) for line in lines_of_leaves(leaves)]
    before: dict[int, Reported] = {}
    for day, line in lines:
        reported = before.setdefault(day, {})
        key = line.catalogue, line.version, line.kind, line.index
        reported[key] = reported.get(key, 0) + line.units
    return before
