"""`royalty account`: the keys on this machine."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from royalty.cli.app import noun_app
from royalty.cli.options import Run, command
from royalty.cli.output import pairs, table
from royalty.errors import ChainError, InputError
from royalty.money import format_nano, format_wei

NAME = Annotated[str, typer.Argument(help="The account's name: letters, digits, - and _.")]

account = noun_app("Keys on this machine, each in a keystore under a password.")


def register(app: typer.Typer) -> None:
    """Add the noun to the program."""
    app.add_typer(account, name="account")


@command(account, chain=False)
def new(run: Run, name: NAME) -> None:
    """Make a new key and keep it in a keystore; asks for a password, or takes ROYALTY_PASSWORD(_FILE)."""
    from royalty.chain import accounts

    made = accounts.new_account(name)
    _emit(run, made.name, made.address, made.path)


@command(account, "import", chain=False)
def import_(
    run: Run,
    name: NAME,
    file: Annotated[
        str | None,
        typer.Argument(help="A keystore, or a file that holds the key; - is stdin; else asks."),
    ] = None,
) -> None:
    """Keep the key of a keystore V3 file, or a key typed at the prompt; never on the command line."""
    from royalty.chain import accounts

    made = accounts.import_account(name, _source(file))
    _emit(run, made.name, made.address, made.path)


@command(account, "list", chain=False)
def list_(run: Run) -> None:
    """List the accounts of this machine, Anvil's own dev0 to dev9 where the network is the local chain."""
    from royalty.chain import accounts

    local = run.settings.network == "local"
    rows = accounts.list_accounts(local=local)
    document = {
        "accounts": [{"name": row.name, "address": row.address, "path": row.path} for row in rows]
    }
    shown = [(row.name, row.address) for row in rows]
    run.emit(
        document,
        lambda: (
            table(("name", "address"), shown) if shown else "No account yet: royalty account new"
        ),
    )


@command(account)
def show(
    run: Run,
    name: Annotated[
        str | None, typer.Argument(help="A name or address; default the account.")
    ] = None,
) -> None:
    """Show an account: its address, and on a chain that answers its coin and tokens."""
    from royalty.chain.accounts import resolve_address

    session = run.royalty
    local = run.settings.network == "local"
    name = name or run.settings.account or ("dev0" if local else None)
    if name is None:
        raise InputError("no account: name one, or set ROYALTY_ACCOUNT; see `royalty account list`")
    address = resolve_address(name, local=local)
    document: dict[str, object] = {
        "name": name,
        "address": address,
        "coin_wei": None,
        "tokens_nano": None,
    }
    shown: dict[str, object] = {"name": name, "address": address}
    try:
        coin = session.node.coin(address)
        document["coin_wei"], shown["coin"] = str(coin), format_wei(coin)
        held = session.token.unit.to_nano(session.ledger.token_balance(address))
        document["tokens_nano"] = held
        shown["tokens"] = f"{format_nano(held)} {session.token.symbol}"
    except ChainError:
        pass  # an account is there without a chain too
    run.emit(document, lambda: pairs(shown))


def _source(file: str | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise InputError(
                "there is no terminal to ask for the key at; name a file, or - for stdin"
            )
        return getpass.getpass("Key (64 hex digits, not shown): ")
    if file == "-":
        return sys.stdin.read(100_000)
    try:
        return Path(file).read_text("utf-8")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text") from None


def _emit(run: Run, name: str, address: str, path: str | None) -> None:
    document = {"name": name, "address": address, "path": path}
    run.emit(document, pairs(document))
