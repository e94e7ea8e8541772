"""`royalty audit`: what anybody can check of the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import Run, command
from royalty.cli.output import pairs, table
from royalty.days import format_day
from royalty.money import counted, format_nano

if TYPE_CHECKING:
    from royalty.audit import Solvency, Waiting

SHOWN = 40


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    noun = noun_app("Check that the ledger holds what it owes.")
    app.add_typer(noun, name="audit")

    @noun.callback()
    def _noun() -> None:
        """Check that the ledger holds what it owes."""

    @command(noun)
    def solvency(run: Run) -> None:
        """Compare the tokens that the ledger holds with all that it owes, at one block.

        What it owes is platforms' funds, what tallies hold that nobody has settled, what deals have
        accrued and holders' balances; each figure is recomputed from events alone too. Unsettled
        money is listed by age. Ends with exit code 1 where the ledger holds too little, or its state
        and its events differ.
        """
        from royalty.audit import solvency as audit

        found = audit(run.royalty)
        run.emit(
            found.document(),
            lambda: "\n".join(_text(found, run.royalty.token.symbol)),
            findings=not found.ok,
        )


def _text(found: Solvency, symbol: str) -> Iterator[str]:
    from royalty.audit import sentence

    document = found.document()
    yield sentence(found, symbol)
    yield ""
    owed = {
        "held": "held_nano",
        f"owed to {counted(document['platforms'], 'platform')}": "funds_nano",
        f"unsettled in {counted(document['tallies'], 'tally', 'tallies')}": "unsettled_nano",
        f"accrued in {counted(document['deals'], 'deal')}": "accrued_nano",
        f"balances of {counted(document['holders'], 'holder')}": "balances_nano",
        "surplus": "surplus_nano",
    }
    yield pairs({name: f"{format_nano(document[key])} {symbol}" for name, key in owed.items()})
    yield f"(at block {found.block}; every figure recomputed from events alone)"
    if found.waiting:
        yield ""
        yield from _waiting(found.waiting)
    if found.differences:
        yield ""
        head = ("what", "of", "state", "events")
        rows = [
            (d.what, d.whom, format_nano(d.state_nano), format_nano(d.events_nano))
            for d in found.differences[:SHOWN]
        ]
        yield table(head, rows, right=(2, 3))


def _waiting(found: Sequence[Waiting]) -> Iterator[str]:
    """Yield the tallies that hold unsettled money, oldest first."""
    head = ("posted", "platform", "tally", "up to", "leaves", "unsettled")
    rows = [
        (
            f"{counted(one.age_days, 'day')} ago",
            one.platform,
            one.batch,
            format_day(one.day),
            f"{one.leaves:,}",
            format_nano(one.unsettled_nano),
        )
        for one in found[:SHOWN]
    ]
    yield table(head, rows, right=(2, 4, 5))
    if len(found) > SHOWN:
        yield f"... and {len(found) - SHOWN:,} more; --json has them all"
