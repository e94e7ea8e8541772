"""Which excess on chain is usage that two batches report: ids in the logs of both, whatever the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from royalty.days import Period
from royalty.findings import EXCESS, Cell, Finding
from royalty.usage import WorkRef

if TYPE_CHECKING:
    from royalty.logs import Source, WorkTable
    from royalty.logs.repeats import Place, Repeat
    from royalty.proof import Batch


def repeated_cells(
    rows: Iterable[Finding],
    batches: Sequence[Batch],
    counted: Mapping[int, Collection[str]],
    logs: Sequence[Source],
    matcher: WorkTable,
) -> set[Cell]:
    """Return the cells with too much on chain whose ids another batch reports too.

    `counted` has the logs (SHA-256) that each batch's evidence, once checked, says that it counted.
    Reads the logs concerned again, and none where nothing is in excess.
    """
    excess = {
        Cell(WorkRef.parse(row.work), row.day, row.kind)
        for row in rows
        if row.reason in EXCESS and row.work and row.day is not None and row.kind is not None
    }
    holders = _holders(batches)
    suspects = {cell for cell in excess if any(counted.get(one) for one in holders.get(cell, ()))}
    if not suspects:
        return set()
    named = {digest for digests in counted.values() for digest in digests}
    days = Period(min(cell.day for cell in suspects), max(cell.day for cell in suspects))
    from royalty.logs.repeats import repeats

    found = repeats([source for source in logs if source.sha256 in named], days)
    return _reported_twice(found, suspects, holders, counted, matcher)


def _reported_twice(
    found: Iterable[Repeat],
    suspects: Collection[Cell],
    holders: Mapping[Cell, Collection[int]],
    counted: Mapping[int, Collection[str]],
    matcher: WorkTable,
) -> set[Cell]:
    """Return the suspects of which one batch counted a row, and another batch the same id."""

    def cell_of(place: Place) -> Cell | None:
        work = None if place.work in matcher.ambiguous else matcher.match(place.work)
        return None if work is None else Cell(work, place.day, place.kind)

    def reported(cell: Cell, place: Place) -> set[int]:
        return {one for one in holders.get(cell, ()) if place.file in counted.get(one, ())}

    twice = set()
    for again, first in found:
        cell, other = cell_of(again), cell_of(first)
        if cell in suspects and cell is not None and other is not None:
            one, two = reported(cell, again), reported(other, first)
            if one and two and len(one | two) > 1:
                twice.add(cell)
    return twice


def _holders(batches: Iterable[Batch]) -> dict[Cell, set[int]]:
    """Return the batches that report each cell."""
    holders: dict[Cell, set[int]] = defaultdict(set)
    for batch in batches:
        for line in batch.lines:
            holders[line.cell].add(batch.batch)
    return holders
