"""`royalty holder`: what is payable to a rights holder and why, and taking it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import Run, command
from royalty.cli.output import pairs, table
from royalty.money import format_nano
from royalty.splitsheet import format_share

if TYPE_CHECKING:
    from royalty.holders import Payable

HOLDER = Annotated[
    str | None, typer.Argument(metavar="ADDRESS", help="The holder; default the account.")
]

holder = noun_app("Rights holders: what is payable and why, and where their money goes.")
payee = noun_app("Where the account's money goes.")
holder.add_typer(payee, name="payee")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(holder, name="holder")


@command(holder)
def payable(run: Run, address: HOLDER = None) -> None:
    """Show what allocating everything and withdrawing would send now, deal by deal.

    A part is rounded down, the rest stays in the deal. A payment is rounded down to the token's
    smallest unit, the rest stays in the holder's balance.
    """
    found = run.royalty.holders.payable(address)
    run.emit(found.document(), lambda: _payable(found))


@command(holder, sends=True)
def withdraw(run: Run, address: HOLDER = None) -> None:
    """Allocate every deal of a holder and send it everything; anyone may, it goes to the holder.

    Exit 1 where the token refuses the transfer; the balance is kept.
    """
    from royalty.cli.payout import skipped_text
    from royalty.holders import withdraw as withdraw_all

    session = run.royalty
    named = session.address(address) if address else session.account.address
    done = withdraw_all(session, named)
    document = {"holder": named, "payee": session.ledger.payee(named), **done.document()}
    text = f"Sent {format_nano(done.paid_nano)} {session.token.symbol} to {document['payee']}."
    if not done.paid_nano:
        text = f"Nothing is payable to {named}."
    run.emit(document, skipped_text(done) or text, findings=bool(done.skipped))


@command(payee, "set", sends=True)
def set_(
    run: Run,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Who receives.")],
) -> None:
    """Name where the account's money goes from now on."""
    from royalty.holders import set_payee

    named = run.royalty.address(address)
    transaction = set_payee(run.royalty, named)
    document = {"holder": run.royalty.account.address, "payee": named, "transaction": transaction}
    run.emit(document, f"The money of {document['holder']} goes to {named}.")


@command(payee, sends=True)
def clear(run: Run) -> None:
    """Let the account's money go to itself again."""
    from royalty.holders import set_payee

    transaction = set_payee(run.royalty, None)
    own = run.royalty.account.address
    document = {"holder": own, "payee": own, "transaction": transaction}
    run.emit(document, f"The money of {own} goes to itself.")


def _payable(found: Payable) -> str:
    rows = [
        (
            f"{part.catalogue} v{part.version}",
            format_share(part.share_ppm),
            format_nano(part.accrued_nano),
            format_nano(part.part_nano),
        )
        for part in found.parts
    ]
    top = {
        "holder": found.holder,
        "payable": format_nano(found.payable_nano),
        "allocated": format_nano(found.allocated_nano),
    }
    if found.payee != found.holder:
        top["goes to"] = found.payee
    if not rows:
        return pairs(top)
    head = ("deal", "share", "accrued", "part")
    return pairs(top) + "\n\n" + table(head, rows, right=[0, 1, 2, 3])
