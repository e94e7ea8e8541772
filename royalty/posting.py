"""Usage of many days as one tally: its leaves, its tree, its data, and what it costs to post and settle.

Pure but for the Parquet bytes; `royalty.division` asks the node what posting takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from royalty import tallydata
from royalty.batches import Tariffs
from royalty.evidence import sha256
from royalty.journal import DayUsage, Tally
from royalty.merkle import Claim, DayLine, Leaf, Tree, leaves_of, make_tree
from royalty.usage import Line, group_lines, pack_usage, units_of, works_of

if TYPE_CHECKING:
    from royalty.terms import Item


# Not frozen: the tree and the data are made when they are asked for, once.
@dataclass(eq=False)
class TallyDraft:
    """A tally that has no number yet: lines by day, packed leaves with their amounts, in nano-tokens."""

    lines_by_day: Mapping[int, Sequence[Line]]
    leaves: Sequence[Leaf]
    claims: Sequence[Claim]
    tariffs: Tariffs

    @property
    def since(self) -> int:
        """The first day of its usage."""
        return min(self.lines_by_day)

    @property
    def day(self) -> int:
        """The last day of its usage."""
        return max(self.lines_by_day)

    @property
    def total_nano(self) -> int:
        """What it costs, in nano-tokens."""
        return sum(claim.amount for claim in self.claims)

    @property
    def lines(self) -> Iterable[Line]:
        """All its lines, a work, kind and deal for each day."""
        return (line for lines in self.lines_by_day.values() for line in lines)

    @property
    def works(self) -> int:
        """How many works it is about."""
        return works_of(self.lines)

    @property
    def units(self) -> dict[str, int]:
        """Its units by kind, always all three."""
        return units_of(self.lines)

    @cached_property
    def tree(self) -> Tree:
        """The tree over its leaves; InputError where there are too many, or they cost too much."""
        return make_tree(claim.node for claim in self.claims)

    @cached_property
    def data(self) -> bytes:
        """Its data as the bytes of a Parquet file."""
        return tallydata.data_bytes(tallydata.rows_of(self.leaves, self.tariffs))

    def days(self, resend: Mapping[int, str]) -> tuple[DayUsage, ...]:
        """Return its days as the journal keeps them; `resend` says which row of an id counted on each."""
        return tuple(
            DayUsage(day, pack_usage(group_lines(lines)), resend[day])
            for day, lines in sorted(self.lines_by_day.items())
        )

    def entry(self, *, uri: str, target: str, settle: bool) -> Tally:
        """Return what the journal keeps of it besides its days."""
        return Tally(
            self.since,
            self.tree.root,
            len(self.claims),
            sha256(self.data),
            uri,
            target,
            settle,
            self.works,
            self.units,
        )


def tally_draft(due: Mapping[int, Sequence[Item]], tariffs: Tariffs) -> TallyDraft | None:
    """Return what is due of all days as one tally, None where nothing is."""
    lines = sorted(
        DayLine(item.work.catalogue, item.version, day, item.kind, item.work.index, item.units)
        for day, items in due.items()
        for item in items
    )
    if not lines:
        return None
    leaves = list(leaves_of(lines))
    claims = [
        Claim(leaf.pack(), leaf.cost(tariffs[leaf.catalogue, leaf.version])) for leaf in leaves
    ]
    by_day: dict[int, list[Line]] = {}
    for one in lines:
        line = Line(one.catalogue, one.version, one.kind, one.index, one.units)
        by_day.setdefault(one.day, []).append(line)
    return TallyDraft(by_day, leaves, claims, tariffs)
