"""`royalty reporter`: keys that may report for a platform and do nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import PLATFORM, Run, command

REPORTER = Annotated[str, typer.Argument(metavar="ADDRESS", help="The reporter's key.")]

reporter = noun_app("Reporters: keys that may report for a platform, up to its limit a day.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(reporter, name="reporter")


@command(reporter, sends=True)
def add(run: Run, address: REPORTER) -> None:
    """Let a key report for the account; set the limit of a day with `platform limit`."""
    _set(run, address, True)


@command(reporter, sends=True)
def remove(run: Run, address: REPORTER) -> None:
    """No longer let a key report for the account."""
    _set(run, address, False)


@command(reporter, "list")
def list_(run: Run, platform: PLATFORM = None) -> None:
    """List the keys that may report for a platform."""
    from royalty import platforms

    run.platform = platform
    found = platforms.reporters(run.royalty, run.royalty.platform)
    document = {"platform": run.royalty.platform, "reporters": found}
    run.emit(document, "\n".join(found) if found else "No reporter: royalty reporter add ADDRESS")


def _set(run: Run, address: str, allowed: bool) -> None:
    from royalty import platforms

    session = run.royalty
    named = session.address(address)
    transaction = platforms.set_reporter(session, named, allowed)
    document = {
        "platform": session.account.address,
        "reporter": named,
        "allowed": allowed,
        "transaction": transaction,
    }
    verb = "may" if allowed else "may not"
    run.emit(document, f"{named} {verb} report for {session.account.address}.")
