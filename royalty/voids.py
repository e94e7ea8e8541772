"""Units that were reported and refused: leaves of tallies that turned out void, whose money came back.

They are due again. The chain alone says so, each time anew: a reorg can take it back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from royalty.journal import Journal, Reported
from royalty.tallybook import lines_of_leaves

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
    found = records.events(session, "LeafVoid", block=block, platform=session.platform)
    leaves = [bytes(event.args["leaf"]) for event in found if event.args["batch"] in numbers]
    void: dict[int, Reported] = {}
    for line in lines_of_leaves(leaves):  # one that cannot be read was never in the account
        void.setdefault(line.day, {})[line.catalogue, line.version, line.kind, line.index] = (
            line.units
        )
    return Account(journal, void)
