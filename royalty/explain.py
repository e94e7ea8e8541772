"""What happened to one usage of a log: rule by rule, then unit, deal, price, and whether it is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from royalty.checks import spikes_held
from royalty.days import format_day
from royalty.errors import InputError
from royalty.questions import Accepted, Asked, Logs, Question, read_question, require_over
from royalty.terms import Held, Item
from royalty.usage import Kind, WorkRef, units_of

if TYPE_CHECKING:
    from royalty.client import Royalty
    from royalty.logs.explaining import Story
    from royalty.recount import Progress


@dataclass(frozen=True, slots=True)
class Told:
    """The story of one row; `items` are its units with deal, price and whether they are held.

    `spike` is what is held of all units of its work, kind and day, as far more than usual.
    """

    story: Story
    items: tuple[Item, ...] = ()
    spike: Item | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON row; amounts are ints of nano-tokens. What is not qualified has no unit."""
        story = self.story
        found: dict[str, Any] = {
            "file": str(story.path),
            "line": story.line,
            "work_id": story.work,
            "reason": story.reason,
            "rules": [rule._asdict() for rule in story.rules],
            "units": units_of(self.items),
        }
        for item in self.items:
            found |= {
                "day": format_day(item.day),
                "work": str(item.work),
                "kind": item.kind.word,
                "version": item.version,
                "price_nano": item.price_nano,
                "amount_nano": item.amount_nano,
                "held": item.held,
            }
        if self.spike is not None:
            found["spike_hold_units"] = self.spike.units
        return found


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened to the rows with an id, by file and line; `rows_read` of `files` were looked at."""

    usage_id: str
    rows: tuple[Told, ...]
    files: int
    rows_read: int

    @property
    def findings(self) -> bool:
        """Whether the id is in no row, or what it comes to is held."""
        held = any(item.held for row in self.rows for item in row.items)
        return not self.rows or held or any(row.spike for row in self.rows)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "usage_id": self.usage_id,
            "found": bool(self.rows),
            "files": self.files,
            "rows_read": self.rows_read,
            "rows": [row.document() for row in self.rows],
        }


def explain(
    session: Royalty,
    usage_id: str,
    logs: Logs,
    *,
    partial: bool = False,
    progress: Progress | None = None,
    **asked: Unpack[Asked],
) -> Explanation:
    """Return what happened to each row with an id, rule by rule in order; sends nothing.

    `logs`, `partial` and `asked` as in `royalty.checks.check`. An id that is in no row has no rows here.
    Raises InputError for what is given and for a log without ids, ChainError where the node does not answer.

    >>> royalty.usage.explain("a1", "views.csv", day="2026-11-19").rows  # doctest: +SKIP
    """
    from royalty.logs.explaining import explain as explained

    question = read_question(logs, **asked)
    if not question.columns.has_ids:
        raise InputError(
            "this log has no ids; `royalty usage check --out DIR` lists its excluded rows by line"
        )
    if not partial:
        require_over(session, question.period)
    accepted = Accepted.read(session, session.confirmations)
    stories, sources = explained(
        question.sources,
        usage_id,
        question.period,
        accepted.matcher(session, question.works_map),
        question.policy,
        progress=progress,
    )
    spikes = _spikes(session, question, accepted) if any(one.unit for one in stories) else {}
    rows = []
    for story in stories:
        items = tuple(accepted.items(session, [story.unit] if story.unit else []))
        spike = next((spikes[key] for item in items if (key := _subject(item)) in spikes), None)
        rows.append(Told(story, items, spike))
    return Explanation(usage_id, tuple(rows), len(sources), sum(source.rows for source in sources))


def _spikes(
    session: Royalty, question: Question, accepted: Accepted
) -> dict[tuple[int, WorkRef, Kind], Item]:
    """Return what is held as spikes of a log, by day, work and kind; a spike is one of whole days."""
    from royalty.logs import count

    if question.policy.spike_multiple is None:
        return {}
    matcher = accepted.matcher(session, question.works_map)
    counted = count(question.sources, question.period, matcher, question.policy)
    items = spikes_held(session, question, accepted.items(session, counted.units))
    return {_subject(item): item for item in items if item.held is Held.SPIKE_HOLD}


def _subject(item: Item) -> tuple[int, WorkRef, Kind]:
    return item.day, item.work, item.kind
