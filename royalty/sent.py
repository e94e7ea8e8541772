"""A batch as a person or a program is shown it: sent, about to be sent, or only priced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from royalty.days import format_day
from royalty.evidence import hex_of
from royalty.journal import Batch, State
from royalty.usage import Kind, Line

if TYPE_CHECKING:
    from royalty.batches import Draft


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

    @classmethod
    def of(cls, batch: Batch) -> Sent:
        """Return a journal's batch as it is shown."""
        return cls(
            batch.number,
            batch.day,
            *_size(batch.lines),
            batch.total_nano,
            hex_of(batch.evidence),
            batch.transaction,
            batch.state.value,
        )

    @classmethod
    def planned(cls, number: int, draft: Draft) -> Sent:
        """Return what would be sent under a number."""
        size = _size(draft.lines)
        return cls(number, draft.day, *size, draft.total_nano, None, None, State.PLANNED.value)

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


def _size(lines: Iterable[Line]) -> tuple[int, dict[str, int]]:
    """Return how many works lines are about, and the units of each kind, always all three."""
    units = {kind.word: 0 for kind in Kind}
    works = set()
    for line in lines:
        units[line.kind.word] += line.units
        works.add((line.catalogue, line.index))
    return len(works), units
