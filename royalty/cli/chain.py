"""`royalty chain`: the local chain of this folder."""

from __future__ import annotations

from typing import Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import Run, command
from royalty.cli.output import pairs
from royalty.settings import LOCAL, Settings

PORT = Annotated[
    int | None, typer.Option("--port", metavar="N", help="Its port; default 8545, or a free one.")
]
ANVIL = Annotated[str | None, typer.Option("--anvil", metavar="PATH", help="The Anvil to run.")]

chain = noun_app("A local chain for this folder, where accounts and money are free.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(chain, name="chain")


@command(chain, chain=False)
def up(run: Run, port: PORT = None, anvil: ANVIL = None) -> None:
    """Start a local chain and leave it running; where it runs already, say where.

    Commands in this folder find it by themselves. What happens on it is gone once it ends.
    """
    from royalty.chain import anvil as local

    found = local.up(Settings.load(network=LOCAL, anvil=anvil), port=port)
    document = {"rpc": found.rpc, "chain_id": found.chain_id, "pid": found.pid}
    run.emit(
        document, f"The local chain runs at {found.rpc} (pid {found.pid}).\nNext: royalty deploy"
    )


@command(chain, chain=False)
def down(run: Run) -> None:
    """End the local chain of this folder; fine where none runs."""
    from royalty.chain import anvil as local

    ended = local.down(Settings.load(network=LOCAL))
    document = {"ended": ended is not None, "pid": ended.pid if ended else None}
    run.emit(
        document,
        f"Ended the local chain (pid {ended.pid})." if ended else "No local chain runs here.",
    )


@command(chain, chain=False)
def status(run: Run) -> None:
    """Show whether the local chain of this folder runs; exit 3 where it does not."""
    from royalty.chain import anvil as local
    from royalty.errors import ChainError

    found = local.status(Settings.load(network=LOCAL))
    at = found.chain
    document = {
        "running": found.running,
        "rpc": at.rpc if at else None,
        "chain_id": at.chain_id if at else None,
        "pid": at.pid if at else None,
        "head": found.head,
    }
    run.partial = document
    if not found.running or at is None:
        raise ChainError("no local chain: run `royalty chain up`")
    run.emit(
        document, pairs({"rpc": at.rpc, "chain": at.chain_id, "pid": at.pid, "block": found.head})
    )
