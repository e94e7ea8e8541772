"""`royalty audit`: what anybody can check of the ledger, of evidence, and of single plays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import SEPARATOR, Run, command
from royalty.cli.output import clean, pairs, progress, table
from royalty.days import format_day
from royalty.money import counted, format_nano

if TYPE_CHECKING:
    from royalty.audit import Solvency, Waiting
    from royalty.verification import Verification

FOLDER = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="What `usage report --evidence` wrote.")
]
SOME_LOGS = Annotated[
    list[str] | None,
    typer.Argument(metavar="LOG...", help="The logs that were counted: files or globs."),
]
PLATFORM = Annotated[
    str | None,
    typer.Option("--platform", metavar="ADDRESS", help="Whose batches; default the only one."),
]
SINCE = Annotated[str | None, typer.Option("--since", metavar="DAY", help="From this UTC day on.")]
UNTIL = Annotated[str | None, typer.Option("--until", metavar="DAY", help="Up to this UTC day.")]

SHOWN = 40


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    noun = noun_app("Check the ledger, evidence and single plays.")
    app.add_typer(noun, name="audit")

    @noun.callback()
    def _noun() -> None:
        """Check the ledger, evidence and single plays."""

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

    @command(noun)
    def evidence(
        run: Run,
        folder: FOLDER,
        logs: SOME_LOGS = None,
        platform: PLATFORM = None,
        since: SINCE = None,
        until: UNTIL = None,
        separator: SEPARATOR = None,
    ) -> None:
        """Say whether evidence is what the batches of a platform committed to.

        For each batch: its manifest against the digest on chain, the documents that it names, its logs
        by SHA-256 and rows, its counts made again under its own rules, a tally's data against the
        root, and whether another batch carries the digest. Without logs these and the counts are not
        looked at. Ends with exit code 1 where anything does not hold.
        """
        from royalty.verification import evidence as verify

        with progress("counting again"):
            found = verify(
                run.royalty,
                folder,
                logs or None,
                platform=platform,
                since=since,
                until=until,
                separator=separator,
            )
        run.emit(
            found.document(),
            lambda: "\n".join(_evidence_text(found)),
            findings=bool(found.flaws),
        )


def _evidence_text(found: Verification) -> Iterator[str]:
    """Yield what the evidence is worth, batch by batch, then each flaw."""
    from royalty.verification import WHAT, sentence

    yield sentence(found)
    yield ""
    head = ("batch", "up to", "as", "logs", "counted again", "flaws")
    rows = [
        (
            one.batch.batch,
            format_day(one.batch.day),
            "report" if one.batch.tally is None else "tally",
            f"{one.at_hand} of {one.sources}" if found.logs_given else f"{one.sources}, not given",
            "no" if one.recounted is None else "yes",
            one.flaws or "",
        )
        for one in found.batches[:SHOWN]
    ]
    yield table(head, rows, right=(0, 5))
    if len(found.batches) > SHOWN:
        yield f"... and {len(found.batches) - SHOWN:,} more; --json has them all"
    for flaw in found.flaws[:SHOWN]:
        yield ""
        yield f"batch {flaw.batch}: {WHAT[flaw.what]} ({flaw.reason.value})"
        shown = {"of": flaw.name, "expected": flaw.expected, "found": flaw.found}
        for word, text in shown.items():
            if text is not None:
                yield f"  {word:<8}  {clean(text, 68)}"
    if len(found.flaws) > SHOWN:
        yield f"... and {len(found.flaws) - SHOWN:,} more; --json has them all"
    for path in found.unnamed:
        yield f"{clean(path, 50)} is named by no manifest"


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
