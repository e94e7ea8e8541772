"""`royalty deploy`: the ledger on a chain."""

from __future__ import annotations

from typing import Annotated

import typer

from royalty.cli.options import Run, command
from royalty.cli.output import pairs

TOKEN = Annotated[
    str | None,
    typer.Option("--token", metavar="ADDRESS", help="The settlement token; locally a new TestUSD."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""

    @command(app, sends=True)
    def deploy(run: Run, token: TOKEN = None) -> None:
        """Make the ledger for a token; where it stands already, say where.

        Its address follows from its code (CREATE2). On a local chain a token of six decimals is made
        too, and a million of it given to each of dev0 to dev9.
        """
        from royalty.chain import deploy as deployment

        session = run.royalty
        named = session.address(token) if token else None
        known = session.deployment
        address, calls = deployment.plan_deployment(session.node, named, known)
        session.confirm(calls)
        made = deployment.deploy(session.node, session.account, address, calls, known)
        deployment.save(session.chain_dir, made)
        document = {
            "chain_id": made.chain_id,
            "royalty": made.royalty,
            "token": made.token,
            "block": made.block,
        }
        run.emit(document, pairs(document))
