"""A batch as a person or a program is shown it: sent, about to be sent, or only priced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from royalty.batches import Draft
from royalty.days import format_day
from royalty.evidence import hex_of
from royalty.journal import Batch, State

if TYPE_CHECKING:
    from royalty.posting import TallyDraft


@dataclass(frozen=True, slots=True)
class Span:
    """What a tally is shown with besides: its first day of usage, and how many leaves it has."""

    since: int
    leaves: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One batch as `usage report` and `usage status` show it; evidence and transaction are None in a dry run."""

    batch: int
    day: int
    works: int
    units: Mapping[str, int]
    amount_nano: int
    evidence: str | None
    transaction: str | None
    state: str = "settled"
    tally: Span | None = None

    @classmethod
    def of(cls, batch: Batch) -> Sent:
        """Return a journal's batch as it is shown."""
        return cls(
            batch.number,
            batch.day,
            batch.works,
            batch.units,
            batch.total_nano,
            hex_of(batch.evidence),
            batch.transaction,
            batch.state.value,
            Span(batch.since, batch.tally.leaves) if batch.tally else None,
        )

    @classmethod
    def planned(cls, number: int, draft: Draft | TallyDraft) -> Sent:
        """Return what would be sent under a number."""
        tally = None if isinstance(draft, Draft) else Span(draft.since, len(draft.claims))
        return cls(
            number,
            draft.day,
            draft.works,
            draft.units,
            draft.total_nano,
            None,
            None,
            State.PLANNED.value,
            tally,
        )

    def document(self) -> dict[str, Any]:
        """Return the JSON row; a tally's has `as`, `since`, `until` and `leaves` instead of `day`."""
        return {
            "batch": self.batch,
            **self._days(),
            "works": self.works,
            "units": dict(self.units),
            "amount_nano": self.amount_nano,
            "evidence": self.evidence,
            "transaction": self.transaction,
        }

    def _days(self) -> dict[str, Any]:
        until = format_day(self.day)
        if self.tally is None:
            return {"day": until}
        since = format_day(self.tally.since)
        return {"as": "tally", "since": since, "until": until, "leaves": self.tally.leaves}
