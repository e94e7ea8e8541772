"""`royalty payout`: money to everybody's wallet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import Run, command
from royalty.cli.output import table
from royalty.money import counted, format_nano, parse_tokens

if TYPE_CHECKING:
    from royalty.payouts import PayoutRun

payout = noun_app("Payouts: allocate what deals have accrued and pay the holders.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(payout, name="payout")


@payout.callback()
def _payout() -> None:
    """Payouts: allocate what deals have accrued and pay the holders."""


@command(payout, "run", sends=True)
def run_(
    run: Run,
    minimum: Annotated[
        str, typer.Option("--minimum", metavar="TOKENS", help="Pay nobody less than this.")
    ] = "0",
) -> None:
    """Allocate and pay all that is worth it, in as few transactions as fit; run it again at will.

    Who would get less than the minimum is carried to the next run. Exit 1 where the token refuses a
    transfer: that holder is skipped, named, and keeps the balance.
    """
    from royalty import payouts

    minimum_nano = parse_tokens(minimum, what="--minimum")
    done = payouts.run(run.royalty, minimum_nano=minimum_nano)
    run.emit(done.document(), lambda: _text(done), findings=bool(done.skipped))


def _text(done: PayoutRun) -> str:
    paid = (
        f"Paid {format_nano(done.paid_nano)} to {counted(done.holders, 'holder')} out of"
        f" {counted(done.deals, 'deal')} in {counted(len(done.transactions), 'transaction')}."
    )
    lines = [paid if done.transactions else "Nobody is paid: nothing is payable."]
    if done.carried:
        lines.append(
            f"Carried forward: {format_nano(done.carried_nano)} of"
            f" {counted(len(done.carried), 'holder')}."
        )
    return "\n".join(lines + [skipped_text(done)] * bool(done.skipped))


def skipped_text(done: PayoutRun) -> str:
    """Return the table of the holders whose transfer the token refused; '' where there is none."""
    if not done.skipped:
        return ""
    rows = [
        (entry["holder"], format_nano(entry["balance_nano"]), entry["reason"])
        for entry in done.skipped
    ]
    return "Skipped:\n" + table(("holder", "balance", "reason"), rows, right=[0, 1])
