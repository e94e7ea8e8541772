"""`royalty platform`: what a platform accepts, its funds, and the limit of its reporters."""

from __future__ import annotations

from typing import Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import PLATFORM, Run, command
from royalty.cli.output import pairs
from royalty.money import NANO_PER_MICRO, format_nano, parse_price
from royalty.usage import Kind

AMOUNT = Annotated[str, typer.Argument(help="Tokens, for example 100 or 0.25.")]

platform = noun_app("Platforms: the catalogues they accept, their funds and limits.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(platform, name="platform")


@command(platform, "accept")
def accept(
    run: Run,
    catalogue: Annotated[int, typer.Argument(help="The catalogue's number.")],
    max_view: Annotated[
        str | None, typer.Option("--max-view", metavar="P", help="Highest price; default today's.")
    ] = None,
    max_download: Annotated[
        str | None, typer.Option("--max-download", metavar="P", help="Highest price of a download.")
    ] = None,
    max_excerpt: Annotated[
        str | None, typer.Option("--max-excerpt", metavar="P", help="Highest price of a second.")
    ] = None,
    despite_rival: Annotated[
        bool,
        typer.Option("--despite-rival", help="Pay though another registered its works earlier."),
    ] = False,
    platform: PLATFORM = None,
) -> None:
    """Accept a catalogue up to prices: usage is paid only into what a platform has accepted.

    Kept in licences.csv of this folder's state; nothing is sent.
    """
    from royalty import platforms

    given = zip(Kind, (max_view, max_download, max_excerpt), strict=True)
    maximum = {
        kind: parse_price(text, what=f"--max-{kind.word}")
        for kind, text in given
        if text is not None
    }
    run.platform = platform
    address = run.royalty.platform
    licence = platforms.accept(
        run.royalty, address, catalogue, maximum=maximum, despite_rival=despite_rival
    )
    prices = {f"max_{kind.word}_nano": licence.maximum.price(kind) for kind in Kind}
    document = {
        "platform": address,
        "catalogue": catalogue,
        **prices,
        "despite_rival": licence.despite_rival,
    }
    shown = ", ".join(f"{kind.word} {format_nano(licence.maximum.price(kind))}" for kind in Kind)
    run.emit(document, f"Accepted catalogue {catalogue} up to {shown}.")


@command(platform, sends=True)
def deposit(run: Run, amount: AMOUNT, platform: PLATFORM = None) -> None:
    """Deposit tokens for a platform; approves exactly that much first."""
    from royalty import platforms
    from royalty.sending import parse_amount

    run.platform = platform
    session = run.royalty
    units = parse_amount(session, amount)
    transaction = platforms.deposit(session, session.platform, units)
    funds = platforms.funds(session, session.platform)
    nano = session.token.unit.to_nano(units)
    document = {**funds.document(), "deposited_nano": nano, "transaction": transaction}
    run.emit(
        document,
        lambda: f"Deposited {format_nano(nano)}; the funds are {format_nano(funds.funds_nano)}.",
    )


@command(platform)
def funds(
    run: Run,
    address: Annotated[
        str | None, typer.Argument(help="The platform; default the account.")
    ] = None,
) -> None:
    """Show a platform's funds, next batch, limit, and what its reporters spent today."""
    from royalty import platforms

    run.platform = address
    found = platforms.funds(run.royalty, run.royalty.platform)
    run.emit(
        found.document(),
        lambda: pairs(
            {
                "platform": found.platform,
                "funds": format_nano(found.funds_nano),
                "next batch": found.next_batch,
                "reporters' limit a day": format_nano(found.limit_nano),
                "spent of it today": format_nano(found.spent_today_nano),
            }
        ),
    )


@command(platform, sends=True)
def withdraw(
    run: Run,
    amount: AMOUNT,
    to: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="To whom; default the account.")
    ] = None,
) -> None:
    """Take tokens of the account's own funds back that no report has spent."""
    from royalty import platforms
    from royalty.sending import parse_amount

    session = run.royalty
    units = parse_amount(session, amount)
    transaction = platforms.withdraw(session, units, to)
    left = platforms.funds(session, session.account.address)
    nano = session.token.unit.to_nano(units)
    document = {**left.document(), "withdrawn_nano": nano, "transaction": transaction}
    run.emit(
        document,
        lambda: f"Withdrew {format_nano(nano)}; the funds are {format_nano(left.funds_nano)}.",
    )


@command(platform, sends=True)
def limit(
    run: Run,
    amount: Annotated[str, typer.Argument(help="Tokens a UTC day, for all reporters together.")],
) -> None:
    """Set what the account's reporters may spend in a UTC day together; it is 0 until set."""
    from royalty import platforms

    micro = platforms.parse_limit(amount)
    transaction = platforms.set_limit(run.royalty, micro)
    document = {
        "platform": run.royalty.account.address,
        "limit_micro": str(micro),
        "limit_nano": micro * NANO_PER_MICRO,
        "transaction": transaction,
    }
    run.emit(document, f"Reporters may spend {format_nano(micro * NANO_PER_MICRO)} tokens a day.")
