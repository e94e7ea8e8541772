"""Units that were reported and refused: leaves of tallies that turned out void, whose money came back.

They are due again. The chain alone says so, each time anew: a reorg can take it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from royalty.errors import InputError
from royalty.journal import Journal, Reported
from royalty.merkle import unpack_leaf

if TYPE_CHECKING:
    from royalty.client import Royalty


@dataclass(frozen=True, slots=True)
class Account:
    """What was reported, by the journal, less what turned out void."""

    journal: Journal
    void: Mapping[int, Reported]

    def reported(self, day: int, *, without: Collection[int] = ()) -> Reported:
        """Return the units of a day that are reported or on their way, `without` some batches' own."""
        units = self.journal.reported(day, without=without)
        for key, count in self.void.get(day, {}).items():
            units[key] = max(0, units.get(key, 0) - count)
        return {key: count for key, count in units.items() if count}


def account_of(session: Royalty, journal: Journal, confirmations: int) -> Account:
    """Return the account of a session's platform, with what is void at the confirmation depth."""
    from royalty import records

    numbers = {batch.number for batch in journal.tallies()}
    if not numbers:
        return Account(journal, {})
    block = max(0, session.node.head() - confirmations)
    void: dict[int, Reported] = {}
    for event in records.events(session, "LeafVoid", block=block, platform=session.platform):
        if int(event.args["batch"]) in numbers:
            _add(void, bytes(event.args["leaf"]))
    return Account(journal, void)


def _add(void: dict[int, Reported], packed: bytes) -> None:
    """Add the units of a leaf; one that cannot be read was never in the account."""
    try:
        leaf = unpack_leaf(packed)
    except InputError:
        return
    for group in leaf.groups:
        units = void.setdefault(group.day, {})
        for index, count in group.pairs:
            key = leaf.catalogue, leaf.version, group.kind, index
            units[key] = units.get(key, 0) + count
